//! `cura-admin users` and `switch`: who there is, what is done to accounts, and what is switched off without a deploy.

mod accounts;
mod erasing;
mod lists;
mod shapes;
mod suspending;
mod switches;
mod trouble;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use cura_tests::{Cura, TestDatabase, program};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::admin::{admin, text};

/// What no output may hold: hashes, passwords, words of people, names of devices and keys.
const SECRETS: [&str; 7] = [
    "$argon2",
    "password_hash",
    "hunter2",
    "magnesium",
    "correct horse",
    "object_key",
    "ada's phone",
];

/// A password that is taken.
const PASSWORD: &str = "a long password";

pub(super) fn run_with(variables: &[(&str, String)], arguments: &[&str]) -> Output {
    let output = admin(arguments, variables);
    let said = text(&output.stdout) + &text(&output.stderr);
    for secret in SECRETS {
        assert!(!said.contains(secret), "{arguments:?}: {said}");
    }
    // Addresses are data: never part of an error or of what is said.
    assert!(!text(&output.stderr).contains('@'), "{arguments:?}: {said}");
    output
}

/// On a database alone, with the cheapest hashes and a password.
pub(super) fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    run_with(&alone(database.url()), arguments)
}

pub(super) fn alone(url: String) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", url),
        ("PASSWORD_HASH_MEMORY_KIB", "8".to_owned()),
        ("PASSWORD_HASH_PASSES", "1".to_owned()),
        ("CURA_PASSWORD", PASSWORD.to_owned()),
        ("CURA_OPERATOR", "ada on call".to_owned()),
    ]
}

/// What an operator's command is given beside a server.
fn beside(cura: &Cura) -> Vec<(&'static str, String)> {
    let mut variables = alone(cura.database.url());
    variables.push(("REDIS_URL", cura.redis.url()));
    variables.push(("DATA_DIR", cura.data.path().display().to_string()));
    variables
}

pub(super) fn run_beside(cura: &Cura, arguments: &[&str]) -> Output {
    run_with(&beside(cura), arguments)
}

/// What a command that is done prints for programs.
pub(super) fn json_of(run: impl Fn(&[&str]) -> Output, arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that is done prints for people.
pub(super) fn text_of(run: impl Fn(&[&str]) -> Output, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command prints that is given something on stdin.
fn run_with_stdin(variables: &[(&str, String)], arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(program::path("cura-admin"));
    command.args(arguments).env_clear().current_dir("/tmp");
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have ended before it has read all.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

pub(super) async fn sql(database: &TestDatabase, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(database.pool())
        .await
        .unwrap();
}

/// What was recorded, oldest first: the act, what it was done to, and what it failed for.
pub(super) async fn recorded(database: &TestDatabase) -> Vec<(String, Option<String>, Option<String>)> {
    sqlx::query_as("SELECT action, target, failure FROM operator_actions ORDER BY id")
        .fetch_all(database.pool())
        .await
        .unwrap()
}

/// Ada (1), Bob (2) and Eve (3), who has never been seen.
pub(super) async fn three_users() -> TestDatabase {
    let database = TestDatabase::create().await;
    sql(
        &database,
        "INSERT INTO users (email, password_hash, name, created_at, updated_at, last_seen)
         VALUES ('ada@example.com', '$argon2id$x', 'Ada', '2026-01-01', '2026-01-01', '2026-02-01'),
                ('bob@example.com', '$argon2id$y', NULL, '2026-01-02', '2026-01-02', '2026-02-02'),
                ('eve@example.org', '$argon2id$z', NULL, '2026-01-03', '2026-01-03', NULL)",
    )
    .await;
    database
}
