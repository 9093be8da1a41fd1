//! `cura-admin jobs`: what an operator sees of jobs, retrying and cancelling them, and pausing queues.

mod acts;
mod answers;
mod killed;
mod lists;
mod pauses;
mod refusals;

use std::process::Output;

use cura_tests::provider::{Step, refusal};
use cura_tests::{Cura, TestDatabase};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::admin::{admin, text};

/// What no output may hold: words of messages, and addresses.
const SECRETS: [&str; 4] = ["hunter2", "user@", "ada@", "magnesium"];

fn run_with(variables: &[(&str, String)], arguments: &[&str]) -> Output {
    let arguments = [&["jobs"], arguments].concat();
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
        ("CURA_OPERATOR", "ada".to_owned()),
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

/// The id of the job of an answer.
async fn job_of(database: &TestDatabase, answer: &Value) -> String {
    sqlx::query_scalar("SELECT id FROM apalis.jobs WHERE job_type = 'generate-answer' AND idempotency_key = $1")
        .bind(answer.to_string())
        .fetch_one(database.pool())
        .await
        .unwrap()
}

/// What a provider says that does not take a request: the answer fails at once, and its job is dead.
fn refused() -> Vec<Step> {
    refusal("400 Bad Request", "", &json!({ "error": { "message": "hunter2" } }))
}
