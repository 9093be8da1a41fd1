//! Erasing an account, and looking for what is left of it.

use std::time::Duration;

use cura_tests::provider::Latch;
use cura_tests::{Cura, Form, Program, ScriptedProvider, eventually};
use serde_json::{Value, json};

use super::super::admin::text;
use super::super::admin_devices::assert_fails;
use super::{beside, json_of, recorded, run, run_beside, run_with, sql, text_of, three_users};
use crate::files::samples;

const DELETE: [&str; 4] = ["users", "delete", "ann@example.com", "--yes"];

/// That something is left of a user; gives what.
fn leftovers(cura: &Cura, id: &str) -> Value {
    let output = run_beside(cura, &["users", "verify-erased", id, "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn an_account_is_erased_to_the_last_row_and_what_was_left_is_named_before() {
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&["magnesium"], Duration::ZERO, &latch).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    let file = ann.upload(Form::of("hunter2.png", samples::PNG)).await.body["id"].clone();
    ann.until_scanned(&file).await;
    let running = ann.ask("Hi").await;
    cura_tests::eventually("her answer is shown", async || {
        let begun = "SELECT count(*) FROM messages WHERE running AND attempt > 0";
        (cura.database.count(begun).await == 1).then_some(())
    })
    .await;
    let left = leftovers(&cura, "1");
    let tables: Vec<&str> = left["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["table"].as_str().unwrap())
        .collect();
    for table in [
        "users",
        "sessions",
        "messages",
        "conversations",
        "files",
        "file_pictures",
    ] {
        assert!(tables.contains(&table), "{table}: {left}");
    }
    assert!(left["files_in_folder"].as_u64().unwrap() >= 2, "{left}");
    assert_eq!(left["jobs"][0]["queue"], "generate-answer", "{left}");
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert_fails(run, &["users", "delete", "ann@example.com"], 1, "not_confirmed");
    let deleted = json_of(run, &[&DELETE[..], &["--wait"]].concat());
    assert_eq!(deleted, json!({ "id": 1, "state": "erased" }));
    assert_eq!(ann.get("/users/me").await.status, 401);
    assert_eq!(
        cura.database.count("SELECT count(*) FROM messages").await,
        0,
        "{running}"
    );
    assert_eq!(bob.get("/users/me").await.status, 200);
    // What was watched expires by itself.
    eventually("nothing is left", async || {
        let output = run_beside(&cura, &["users", "verify-erased", "1", "--json"]);
        let left: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(left["tables"], json!([]), "{left}");
        assert_eq!(left["redis"]["texts_without_message"], 0, "{left}");
        (output.status.code() == Some(0)).then_some(())
    })
    .await;
    assert!(text_of(run, &["users", "verify-erased", "1"]).starts_with("nothing is left of user 1"));
    assert_fails(run, &["users", "delete", "1", "--yes"], 4, "user_not_found");
    latch.open();
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_text_and_a_watcher_and_a_file_that_were_left_behind_are_found() {
    let cura = Cura::start().await;
    let ann = cura.client().register("ann@example.com").await;
    json_of(
        |arguments: &[&str]| run_beside(&cura, arguments),
        &[&DELETE[..], &["--wait"]].concat(),
    );
    drop(ann);
    cura.redis.must("SET cura:answer:{4711}:text magnesium EX 100");
    cura.redis.must("HSET cura:answer:{4712}:state fence 1");
    cura.redis.must("ZADD cura:user:{1}:present 1 x");
    cura.redis.must("SET cura:limit:chat:u:1 1 EX 100");
    cura.redis.must("SET cura:limit:chat:u:11 1 EX 100");
    let folder = cura.data.path().join("files/1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("left.png"), "x").unwrap();
    sql(
        &cura.database,
        "INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
         VALUES ('1/00000000-0000-4000-8000-000000000000.png', 1, 1, now() + interval '1 hour', now())",
    )
    .await;
    let left = leftovers(&cura, "1");
    assert_eq!(
        left,
        json!({
            "id": 1, "is_erased": false, "tables": [], "objects_to_delete": 1, "files_in_folder": 1, "jobs": [],
            "redis": { "keys": 2, "keys_expire_within": null, "texts_without_message": 1 }, "unchecked": [],
        })
    );
    // A text says nothing about who wrote it.
    assert_eq!(leftovers(&cura, "77")["redis"]["texts_without_message"], 1);
    cura.redis
        .must("DEL cura:answer:{4711}:text cura:user:{1}:present cura:limit:chat:u:1");
    std::fs::remove_file(folder.join("left.png")).unwrap();
    sql(&cura.database, "DELETE FROM object_deletions").await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert_eq!(json_of(run, &["users", "verify-erased", "1"])["is_erased"], true);
}

#[tokio::test]
async fn without_redis_nobody_can_say_that_nothing_is_left() {
    let mut cura = Cura::without_workers().await;
    cura.redis.kill();
    let output = run_beside(&cura, &["users", "verify-erased", "77", "--json"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let left: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&left["is_erased"], &left["unchecked"]),
        (&json!(true), &json!(["redis"]))
    );
    // Behind what the log says of Redis.
    let said = text(&output.stderr);
    let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(said["error"]["code"], "redis_away");
    // Without REDIS_URL there is none to look through.
    let variables: Vec<_> = beside(&cura)
        .into_iter()
        .filter(|(name, _)| *name != "REDIS_URL")
        .collect();
    let alone = |arguments: &[&str]| run_with(&variables, arguments);
    assert_eq!(json_of(alone, &["users", "verify-erased", "77"])["redis"], Value::Null);
}

#[tokio::test]
async fn what_was_killed_goes_on_and_a_discarded_erasure_is_taken_up_again() {
    let mut cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    ann.send_without_waiting(&json!({ "content": "Hi" })).await;
    // It waits for a worker that is not there.
    let mut waiting = Program::start("cura-admin", &[&DELETE[..], &["--wait"]].concat(), &beside(&cura));
    eventually("the erasure has begun", async || {
        (cura
            .database
            .count("SELECT count(*) FROM users WHERE erased_at IS NOT NULL")
            .await
            == 1)
            .then_some(())
    })
    .await;
    waiting.kill();
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert_eq!(
        json_of(run, &["users", "delete", "1", "--yes"]),
        json!({ "id": 1, "state": "erasing" })
    );
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'erase-user'";
    assert_eq!(cura.database.count(jobs).await, 1, "one is enough");
    assert_fails(
        run,
        &["users", "delete", "ann@example.com", "--yes"],
        4,
        "user_not_found",
    );
    sql(
        &cura.database,
        "UPDATE apalis.jobs SET status = 'Killed', done_at = now(), last_result = '{\"Err\": \"the disk was full\"}'
         WHERE job_type = 'erase-user'",
    )
    .await;
    json_of(run, &["users", "delete", "1", "--yes"]);
    let ready = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'erase-user' AND status = 'Pending'";
    assert_eq!(cura.database.count(ready).await, 1, "it was discarded");
    cura.add_worker().await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    eventually("it is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
    assert_fails(run, &["users", "delete", "1", "--yes"], 4, "user_not_found");
}

#[tokio::test]
async fn who_waits_for_an_erasure_that_is_discarded_learns_why() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let mut waiting = Program::start(
        "cura-admin",
        &[&DELETE[..], &["--wait", "--json"]].concat(),
        &beside(&cura),
    );
    eventually("the job is discarded", async || {
        let discarded = sqlx::query(
            "UPDATE apalis.jobs SET status = 'Killed', done_at = now(), last_result = '{\"Err\": \"the disk was full\"}'
             WHERE job_type = 'erase-user'",
        );
        (discarded.execute(cura.database.pool()).await.unwrap().rows_affected() == 1).then_some(())
    })
    .await;
    assert_eq!(waiting.ended().await, Some(1));
    let said = waiting.logs();
    assert!(
        said.contains("erasure_discarded") && said.contains("the disk was full"),
        "{said}"
    );
}

/// `kill -9` while the command is stopped in each statement of its act: either nothing has happened, or the erasure has begun with its job.
#[tokio::test]
async fn killed_at_any_statement_a_deletion_is_whole_or_nothing() {
    for table in ["users", "sessions", "apalis.jobs", "operator_actions"] {
        let cura = Cura::without_workers().await;
        cura.client().register("ann@example.com").await;
        // The command waits for a lock of this table.
        let mut holder = cura.database.pool().begin().await.unwrap();
        let lock = sqlx::AssertSqlSafe(format!("LOCK TABLE {table} IN EXCLUSIVE MODE"));
        sqlx::query(lock).execute(&mut *holder).await.unwrap();
        let mut killed = Program::start("cura-admin", &DELETE, &beside(&cura));
        eventually("it waits for the lock", async || {
            let waits = "SELECT count(*) FROM pg_stat_activity
                         WHERE application_name = 'cura-admin' AND wait_event_type = 'Lock' AND datname = current_database()";
            (cura.database.count(waits).await >= 1).then_some(())
        })
        .await;
        killed.kill();
        holder.rollback().await.unwrap();
        eventually("its transaction has ended", async || {
            let open = "SELECT count(*) FROM pg_stat_activity
                        WHERE application_name = 'cura-admin' AND datname = current_database()";
            (cura.database.count(open).await == 0).then_some(())
        })
        .await;
        let begun = cura
            .database
            .count("SELECT count(*) FROM users WHERE erased_at IS NOT NULL")
            .await;
        let jobs = cura
            .database
            .count("SELECT count(*) FROM apalis.jobs WHERE job_type = 'erase-user'")
            .await;
        let acts = cura.database.count("SELECT count(*) FROM operator_actions").await;
        assert_eq!((jobs, acts), (begun, begun), "killed at {table}");
        json_of(
            |arguments: &[&str]| run_beside(&cura, arguments),
            &["users", "delete", "1", "--yes"],
        );
        let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'erase-user' AND status = 'Pending'";
        assert_eq!(cura.database.count(jobs).await, 1);
    }
}

#[tokio::test]
async fn of_two_who_delete_an_account_both_find_it_erased() {
    let cura = Cura::start().await;
    cura.client().register("ann@example.com").await;
    let variables = beside(&cura);
    let delete = [&DELETE[..], &["--wait"]].concat();
    let mut both = [
        Program::start("cura-admin", &delete, &variables),
        Program::start("cura-admin", &["users", "delete", "1", "--yes", "--wait"], &variables),
    ];
    for program in &mut both {
        let code = program.ended().await;
        // The one that came later may find nobody.
        assert!(matches!(code, Some(0 | 4)), "{code:?}: {}", program.logs());
    }
    assert_eq!(cura.database.count("SELECT count(*) FROM users").await, 0);
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_id_that_nobody_had_has_left_nothing_and_no_address_is_an_id() {
    let database = three_users().await;
    let folder = tempfile::tempdir().unwrap();
    let mut variables = super::alone(database.url());
    variables.push(("DATA_DIR", folder.path().display().to_string()));
    let elsewhere = |arguments: &[&str]| run_with(&variables, arguments);
    let left = json_of(elsewhere, &["users", "verify-erased", "77"]);
    assert_eq!(
        (&left["is_erased"], &left["unchecked"], &left["files_in_folder"]),
        (&json!(true), &json!(["file_store"]), &Value::Null),
        "a folder that is elsewhere is not looked at, and says so"
    );
    assert_eq!(run(&database, &["users", "verify-erased", "0"]).status.code(), Some(2));
    assert_eq!(
        run(&database, &["users", "verify-erased", "ada"]).status.code(),
        Some(2)
    );
    assert!(recorded(&database).await.is_empty(), "looking changes nothing");
}
