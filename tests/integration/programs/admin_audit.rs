//! `cura-admin audit`: every act leaves a row that names who did it, and nobody can change it.

use std::process::Output;

use cura_tests::TestDatabase;
use serde_json::{Value, json};

use super::admin::{admin, text};
use super::admin_devices::assert_fails;

fn run_as(operator: &str, database: &TestDatabase, arguments: &[&str]) -> Output {
    let variables = [("DATABASE_URL", database.url()), ("CURA_OPERATOR", operator.to_owned())];
    admin(arguments, &variables)
}

fn listed(database: &TestDatabase, filters: &[&str]) -> Vec<Value> {
    let arguments = [&["audit", "list", "--json"], filters].concat();
    let output = run_as("", database, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page: Value = serde_json::from_slice(&output.stdout).unwrap();
    page["items"].as_array().unwrap().clone()
}

/// Ada (1) has a device that is gone (1) and a clean file (1).
async fn with_things() -> TestDatabase {
    let database = TestDatabase::create().await;
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at) VALUES ('ada@example.com', 'x', now(), now())",
        "INSERT INTO sessions (user_id, current_token, created_at, last_used_at, expires_at)
         VALUES (1, '\\x01', now(), now(), now() + interval '7 days')",
        "INSERT INTO devices (user_id, session_id, platform, kind, address_hash, address, is_active, removed_at, last_active, created_at)
         VALUES (1, 1, 'android', 'fcm', '\\x01', 'secret-token', true, now() - interval '11 minutes', now(), now())",
    ] {
        sqlx::query(fill).execute(database.pool()).await.unwrap();
    }
    database
}

#[tokio::test]
async fn what_was_done_and_what_failed_names_who_did_it() {
    let database = with_things().await;
    let pruned = run_as("ada on call", &database, &["devices", "prune", "--yes"]);
    assert_eq!(pruned.status.code(), Some(0), "{}", text(&pruned.stderr));
    let refused = run_as("bob", &database, &["files", "delete", "7", "--yes"]);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
    // Nothing was left to prune, and nothing was confirmed: neither changes anything.
    assert_eq!(
        run_as("bob", &database, &["devices", "prune", "--yes"]).status.code(),
        Some(0)
    );
    assert_eq!(run_as("bob", &database, &["devices", "prune"]).status.code(), Some(1));

    let mut all = listed(&database, &[]);
    for action in &mut all {
        assert!(action["at"].as_str().unwrap().ends_with('Z'), "{action}");
        action["at"] = Value::Null;
    }
    let expected = [
        json!({ "id": 2, "at": null, "operator": "bob", "via": "command", "action": "files.delete", "target": "7",
                "arguments": {}, "failure": "file_not_found" }),
        json!({ "id": 1, "at": null, "operator": "ada on call", "via": "command", "action": "devices.prune", "target": null,
                "arguments": { "which": "gone", "devices": 1 }, "failure": null }),
    ];
    assert_eq!(all, expected);
    let ids = |filters: &[&str]| -> Vec<i64> {
        listed(&database, filters)
            .iter()
            .map(|action| action["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ids(&["--operator", "bob"]), [2]);
    assert_eq!(ids(&["--action", "devices"]), [1]);
    assert_eq!(ids(&["--action", "files.delete"]), [2]);
    assert!(ids(&["--action", "file"]).is_empty());
    assert_eq!(ids(&["--target", "7"]), [2]);
    assert_eq!(ids(&["--failed"]), [2]);
    assert_eq!(ids(&["--since", "2020-01-01"]), [2, 1]);
    assert!(ids(&["--since", "2999-01-01"]).is_empty());
    assert_eq!(ids(&["--limit", "1"]), [2]);
    assert_eq!(ids(&["--cursor", "2"]), [1]);
    assert_fails(
        |arguments| run_as("", &database, arguments),
        &["audit", "list", "--cursor", "x"],
        2,
        "usage",
    );
    let read = text(&run_as("", &database, &["audit", "list"]).stdout);
    assert!(
        read.contains("failed: file_not_found") && read.contains("ada on call"),
        "{read}"
    );
}

#[tokio::test]
async fn without_a_name_the_system_s_user_and_host_are_recorded() {
    let database = with_things().await;
    let pruned = run_as("", &database, &["devices", "prune", "--yes"]);
    assert_eq!(pruned.status.code(), Some(0), "{}", text(&pruned.stderr));
    let operator = listed(&database, &[])[0]["operator"].as_str().unwrap().to_owned();
    let (user, host) = operator.split_once('@').unwrap();
    assert!(!user.is_empty() && !host.is_empty() && user != "unknown", "{operator}");
}

#[tokio::test]
async fn the_record_cannot_be_changed_nor_deleted_before_its_time() {
    let database = with_things().await;
    assert_eq!(
        run_as("ada", &database, &["devices", "prune", "--yes"]).status.code(),
        Some(0)
    );
    sqlx::query(
        "INSERT INTO operator_actions (at, operator, via, action, arguments)
         VALUES (now() - interval '401 days', 'ada', 'command', 'old', '{}')",
    )
    .execute(database.pool())
    .await
    .unwrap();
    for forbidden in [
        "UPDATE operator_actions SET operator = 'bob'",
        "UPDATE operator_actions SET operator = 'bob' WHERE action = 'old'",
        "DELETE FROM operator_actions",
        "TRUNCATE operator_actions",
    ] {
        let refused = sqlx::query(forbidden).execute(database.pool()).await.unwrap_err();
        assert!(refused.to_string().contains("400 days"), "{forbidden}: {refused}");
    }
    let pruned = sqlx::query("DELETE FROM operator_actions WHERE at < now() - interval '400 days'")
        .execute(database.pool())
        .await
        .unwrap();
    assert_eq!((pruned.rows_affected(), listed(&database, &[]).len()), (1, 1));
}

#[tokio::test]
async fn who_may_not_write_is_told_so_and_nothing_happens() {
    let database = with_things().await;
    let reader = database.readers_url().await;
    let refused = |arguments: &[&str]| admin(arguments, &[("DATABASE_URL", reader.clone())]);
    assert_fails(refused, &["devices", "prune", "--yes"], 1, "not_allowed");
    assert!(listed(&database, &[]).is_empty());
    assert_eq!(
        refused(&["devices", "list"]).status.code(),
        Some(0),
        "reading is allowed"
    );
}
