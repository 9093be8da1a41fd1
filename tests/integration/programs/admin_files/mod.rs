//! `cura-admin files`: what an operator sees of files, scanning them again, and deleting them.

mod acts;
mod lists;

use std::process::Output;

use cura_tests::{Client, Cura, Form, TestDatabase};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::admin::{admin, text};

/// What no output may hold: words of names, addresses, and what is in files.
const SECRETS: [&str; 6] = ["hunter2", "ada@", "bob@", "user@", "magnesium", "object_key"];

fn run_with(variables: &[(&str, String)], arguments: &[&str]) -> Output {
    let arguments = [&["files"], arguments].concat();
    let output = admin(&arguments, variables);
    let said = text(&output.stdout) + &text(&output.stderr);
    for secret in SECRETS {
        assert!(!said.contains(secret), "{arguments:?}: {said}");
    }
    output
}

/// On a database alone.
fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    run_with(&[("DATABASE_URL", database.url())], arguments)
}

/// As an operator does beside a server.
fn run_beside(cura: &Cura, arguments: &[&str]) -> Output {
    let variables = [
        ("DATABASE_URL", cura.database.url()),
        ("REDIS_URL", cura.redis.url()),
        ("DATA_DIR", cura.data.path().display().to_string()),
    ];
    run_with(&variables, arguments)
}

/// What a command that is done prints for programs.
fn json_of(run: impl Fn(&[&str]) -> Output, arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that is done prints for people.
fn text_of(run: impl Fn(&[&str]) -> Output, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

async fn sql(database: &TestDatabase, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(database.pool())
        .await
        .unwrap();
}

/// Uploads a file under a name that nobody else must see; gives it once it is scanned.
async fn scanned(user: &Client, end: &str, bytes: impl AsRef<[u8]>) -> Value {
    let reply = user.upload(Form::of(&format!("hunter2.{end}"), bytes)).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    user.until_scanned(&reply.body["id"]).await
}
