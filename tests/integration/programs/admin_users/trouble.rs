//! Postgres away, and a user of the database who may not write.

use std::time::{Duration, Instant};

use super::super::admin_devices::assert_fails;
use super::{alone, json_of, run_with, sql, three_users};

/// Every command, with what it needs.
const COMMANDS: [&[&str]; 15] = [
    &["users", "create", "--email", "x@example.com"],
    &["users", "list"],
    &["users", "show", "1"],
    &["users", "suspend", "1", "--reason", "spam"],
    &["users", "restore", "1"],
    &["users", "set-password", "1"],
    &["users", "promote", "1"],
    &["users", "demote", "2"],
    &["users", "sign-out", "1"],
    &["users", "delete", "1", "--yes"],
    &["users", "verify-erased", "77"],
    &["switch", "uploads", "off", "--reason", "x"],
    &["announce", "--title", "x", "--text", "x", "--until", "1h"],
    &["announce", "list"],
    &["announce", "end", "1"],
];
/// How soon an operator is told that Postgres is away.
const TOLD_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test]
async fn with_postgres_away_every_command_says_so_and_what_to_do() {
    let variables = alone("postgres://ada:hunter2@127.0.0.1:1/none".to_owned());
    for command in COMMANDS {
        let begun = Instant::now();
        let run = |arguments: &[&str]| run_with(&variables, arguments);
        let said = assert_fails(run, command, 5, "database_away");
        assert!(said["cure"].is_string(), "{said}");
        // Twice: for people, and for programs.
        assert!(
            begun.elapsed() < 2 * TOLD_WITHIN,
            "{command:?} took {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn who_may_not_write_is_told_so_and_may_look() {
    let database = three_users().await;
    sql(&database, "UPDATE users SET is_admin = true WHERE id IN (2, 3)").await;
    sql(&database, "UPDATE users SET suspended_at = now() WHERE id = 3").await;
    let variables = alone(database.readers_url().await);
    let run = |arguments: &[&str]| run_with(&variables, arguments);
    for command in COMMANDS {
        if ["list", "show", "verify-erased"].contains(&command[1]) {
            json_of(run, command);
            continue;
        }
        let output = run(&[command, &["--json"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("\"not_allowed\""), "{command:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    json_of(run, &["switch"]);
    let changed = "SELECT count(*) FROM users WHERE updated_at > '2026-06-01' OR erased_at IS NOT NULL";
    assert_eq!(database.count(changed).await, 0);
    assert_eq!(database.count("SELECT count(*) FROM users").await, 3);
}
