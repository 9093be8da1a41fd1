//! Making accounts, their passwords, and admins.

use std::process::Output;
use std::thread;

use cura_tests::{Cura, TestDatabase};
use serde_json::{Value, json};

use super::super::admin::text;
use super::super::admin_devices::assert_fails;
use super::{
    PASSWORD, alone, beside, json_of, recorded, run, run_beside, run_with, run_with_stdin, sql, text_of, three_users,
};

const CREATE: [&str; 4] = ["users", "create", "--email", "Grace@Example.com"];

#[tokio::test]
async fn an_account_that_was_made_can_sign_in() {
    let cura = Cura::without_workers().await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let made = json_of(run, &[&CREATE[..], &["--name", " Grace ", "--admin"]].concat());
    let credentials = json!({ "email": "grace@example.com", "password": PASSWORD });
    let signed_in = cura.client().post("/auth/login", &credentials).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    assert_eq!(
        (&signed_in.body["user"]["id"], &signed_in.body["user"]["name"]),
        (&made["id"], &json!("Grace"))
    );
    let listed = json_of(run, &["users", "list", "--admin"]);
    assert_eq!(listed["items"][0]["id"], made["id"]);
    assert_eq!(
        recorded(&cura.database).await,
        [("users.create".to_owned(), Some(made["id"].to_string()), None)]
    );
}

#[tokio::test]
async fn the_rules_of_registering_hold() {
    let database = three_users().await;
    let run_on = |arguments: &[&str]| run(&database, arguments);
    assert_fails(
        run_on,
        &["users", "create", "--email", "ADA@example.com"],
        1,
        "email_taken",
    );
    for (arguments, word) in [
        (&["users", "create", "--email", "no address"][..], "e-mail address"),
        (&["users", "create"], "--email"),
        (
            &["users", "create", "--email", "x@example.com", "--name", "a\nb"],
            "--name",
        ),
        (
            &["users", "create", "--email", "x@example.com", "--password", "hunter22"],
            "--password",
        ),
    ] {
        let refused = assert_usage(run_on, arguments);
        assert!(refused.contains(word), "{refused}");
    }
    for weak in ["short", "password123", &"x".repeat(129)] {
        let mut variables = alone(database.url());
        variables.retain(|(name, _)| *name != "CURA_PASSWORD");
        variables.push(("CURA_PASSWORD", weak.to_owned()));
        let run_weak = |arguments: &[&str]| run_with(&variables, arguments);
        let said = assert_fails(run_weak, &CREATE, 1, "weak_password");
        assert!(!said.to_string().contains(weak), "{said}");
    }
    assert_eq!(database.count("SELECT count(*) FROM users").await, 3);
    let failed = ("users.create".to_owned(), None, Some("email_taken".to_owned()));
    assert_eq!(recorded(&database).await, [failed.clone(), failed]);
}

/// That a command was called wrongly; what clap says of it may quote what was typed.
fn assert_usage(run: impl Fn(&[&str]) -> Output, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    text(&output.stderr)
}

#[tokio::test]
async fn a_password_comes_from_stdin_or_the_environment_and_else_there_is_none() {
    let database = TestDatabase::create().await;
    let mut variables = alone(database.url());
    variables.retain(|(name, _)| *name != "CURA_PASSWORD");
    let nobody_to_ask = |arguments: &[&str]| run_with_stdin(&variables, arguments, b"");
    let said = assert_fails(nobody_to_ask, &CREATE, 1, "no_password");
    assert!(said["cure"].as_str().unwrap().contains("--password-stdin"), "{said}");
    let from_stdin = [&CREATE[..], &["--password-stdin", "--json"]].concat();
    assert_eq!(run_with_stdin(&variables, &from_stdin, b"").status.code(), Some(1));
    assert_eq!(
        run_with_stdin(&variables, &from_stdin, b"\xff\xfe\n").status.code(),
        Some(1)
    );
    let made = run_with_stdin(&variables, &from_stdin, "a long password\r\nand more\n".as_bytes());
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    // The flag comes before the variable.
    let other = ["users", "set-password", "1", "--password-stdin"];
    let set = run_with_stdin(&alone(database.url()), &other, "another long one".as_bytes());
    assert_eq!(set.status.code(), Some(0), "{}", text(&set.stderr));
    let hashes: Vec<String> = sqlx::query_scalar("SELECT password_hash FROM users")
        .fetch_all(database.pool())
        .await
        .unwrap();
    assert!(hashes[0].starts_with("$argon2id$"), "one hash");
}

#[tokio::test]
async fn of_two_who_make_the_same_account_one_does() {
    let database = TestDatabase::create().await;
    let codes = at_once(&database, [&CREATE, &CREATE]);
    assert_eq!(codes, [0, 1]);
    assert_eq!(database.count("SELECT count(*) FROM users").await, 1);
}

/// The exit codes of two commands that run at the same time, in ascending order.
fn at_once(database: &TestDatabase, commands: [&[&str]; 2]) -> [i32; 2] {
    let variables = alone(database.url());
    let mut codes = thread::scope(|scope| {
        let started = commands.map(|command| scope.spawn(|| run_with(&variables, command)));
        started.map(|run| run.join().unwrap().status.code().unwrap())
    });
    codes.sort_unstable();
    codes
}

#[tokio::test]
async fn a_new_password_ends_every_session_and_replaces_the_old_one() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let mut variables = beside(&cura);
    variables.retain(|(name, _)| *name != "CURA_PASSWORD");
    variables.push(("CURA_PASSWORD", "another long one".to_owned()));
    let set = json_of(
        |arguments: &[&str]| run_with(&variables, arguments),
        &["users", "set-password", "ann@example.com"],
    );
    assert_eq!(set["sessions_ended"], 1);
    let login = async |password: &str| {
        let credentials = json!({ "email": "ann@example.com", "password": password });
        cura.client().post("/auth/login", &credentials).await.status.as_u16()
    };
    assert_eq!((login(PASSWORD).await, login("another long one").await), (401, 200));
    cura_tests::eventually("the old session is refused", async || {
        (ann.get("/users/me").await.status == 401).then_some(())
    })
    .await;
    assert_fails(
        |arguments: &[&str]| run_beside(&cura, arguments),
        &["users", "set-password", "99"],
        4,
        "user_not_found",
    );
}

#[tokio::test]
async fn admins_are_made_and_unmade_and_the_last_one_stays() {
    let database = three_users().await;
    let run_on = |arguments: &[&str]| run(&database, arguments);
    assert_fails(run_on, &["users", "promote", "nobody@example.com"], 4, "user_not_found");
    assert_eq!(
        json_of(run_on, &["users", "promote", "ada@example.com"]),
        json!({ "id": 1, "changed": true })
    );
    assert_eq!(
        json_of(run_on, &["users", "promote", "1"]),
        json!({ "id": 1, "changed": false }),
        "once is enough"
    );
    let said = assert_fails(run_on, &["users", "demote", "1"], 3, "last_admin");
    assert!(said["cure"].as_str().unwrap().contains("promote"), "{said}");
    assert_eq!(json_of(run_on, &["users", "demote", "2"])["changed"], false, "no admin");
    json_of(run_on, &["users", "promote", "2"]);
    // Who cannot sign in is no admin who could help.
    sql(&database, "UPDATE users SET suspended_at = now() WHERE id = 2").await;
    assert_fails(run_on, &["users", "demote", "1"], 3, "last_admin");
    assert_eq!(json_of(run_on, &["users", "demote", "2"])["changed"], true);
    assert_fails(run_on, &["users", "demote", "1"], 3, "last_admin");
    assert!(text_of(run_on, &["users", "promote", "3"]).contains("an admin now"));
    assert!(text_of(run_on, &["users", "demote", "1"]).contains("no admin any more"));
}

#[tokio::test]
async fn of_two_who_are_demoted_at_once_one_stays() {
    let database = three_users().await;
    for _ in 0..5 {
        sql(&database, "UPDATE users SET is_admin = id < 3").await;
        let codes = at_once(&database, [&["users", "demote", "1"], &["users", "demote", "2"]]);
        assert_eq!(codes, [0, 3]);
        assert_eq!(database.count("SELECT count(*) FROM users WHERE is_admin").await, 1);
    }
}

#[tokio::test]
async fn nothing_is_done_to_an_account_that_is_being_erased() {
    let database = three_users().await;
    sql(
        &database,
        "UPDATE users SET email = 'erased:2', erased_at = now() WHERE id = 2",
    )
    .await;
    for command in [
        &["users", "suspend", "2", "--reason", "spam"][..],
        &["users", "restore", "2"],
        &["users", "set-password", "2"],
        &["users", "promote", "2"],
        &["users", "sign-out", "2"],
    ] {
        assert_fails(
            |arguments: &[&str]| run(&database, arguments),
            command,
            3,
            "being_erased",
        );
    }
    let failures: Vec<Value> = recorded(&database).await.iter().map(|(_, _, why)| json!(why)).collect();
    assert!(
        failures.len() == 10 && failures.iter().all(|why| why == "being_erased"),
        "{failures:?}"
    );
}
