//! `cura-admin backup` and `restore`.

mod archives;
mod killed;
mod making;
mod restoring;
mod scheduled;
mod shapes;

use std::path::Path;
use std::process::Output;

use cura_tests::{Client, Cura, TestDatabase, TestRedis};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::admin::{admin, text};

const PICTURE: &[u8] = include_bytes!("../../../fixtures/files/alpha.png");

/// What no output may hold: words and addresses of people, keys of objects, passwords.
const SECRETS: [&str; 6] = [
    "hunter2",
    "magnesium",
    "ann@",
    "bob@",
    "AGE-SECRET",
    "cura_tests_owner:",
];

fn run_with(variables: &[(&str, String)], arguments: &[&str]) -> Output {
    let output = admin(arguments, variables);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for secret in SECRETS {
        assert!(!said.contains(secret), "{arguments:?}: {said}");
    }
    output
}

/// As an operator does beside a server.
fn beside(cura: &Cura) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", cura.database.url()),
        ("REDIS_URL", cura.redis.url()),
        ("DATA_DIR", cura.data.path().display().to_string()),
        ("CURA_OPERATOR", "ada".to_owned()),
    ]
}

/// An empty place to restore into: a database whose owner is nobody special, with extensions that somebody else made, a Redis and a folder.
struct Place {
    database: TestDatabase,
    redis: TestRedis,
    data: TempDir,
}

/// The user who owns the database of a [`Place`].
const OWNER: &str = "cura_tests_owner";

impl Place {
    async fn empty() -> Self {
        let database = TestDatabase::empty().await;
        let make = format!(
            "DO $$ BEGIN
                 CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOCREATEDB PASSWORD 'hunter2';
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$"
        );
        sql(&database, &make).await;
        sql(
            &database,
            &format!("ALTER DATABASE {} OWNER TO {OWNER}", database.name()),
        )
        .await;
        for extension in ["pgcrypto", "hstore"] {
            sql(&database, &format!("CREATE EXTENSION {extension}")).await;
        }
        Self {
            database,
            redis: TestRedis::start(),
            data: tempfile::tempdir().unwrap(),
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let url = self.database.url();
        let (_, server) = url.split_once('@').expect("a user");
        vec![
            ("DATABASE_URL", format!("postgres://{OWNER}:hunter2@{server}")),
            ("REDIS_URL", self.redis.url()),
            ("DATA_DIR", self.data.path().display().to_string()),
            ("CURA_OPERATOR", "ada".to_owned()),
        ]
    }

    /// How many tables it has.
    async fn tables(&self) -> i64 {
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'apalis', 'cura_restore')";
        self.database.count(tables).await
    }
}

/// What a command that is done prints for programs.
fn json_of(variables: &[(&str, String)], arguments: &[&str]) -> Value {
    let output = run_with(variables, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes a backup of this name in a folder.
fn back_up(cura: &Cura, folder: &TempDir, name: &str) -> String {
    let file = folder.path().join(name).display().to_string();
    json_of(&beside(cura), &["backup", "--output", &file]);
    file
}

fn assert_fails(variables: &[(&str, String)], arguments: &[&str], exit: i32, code: &str) -> Value {
    super::admin_devices::assert_fails(|arguments| run_with(variables, arguments), arguments, exit, code)
}

async fn sql(database: &TestDatabase, statement: &str) {
    let statement = AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(database.pool()).await.unwrap();
}

/// The names in a folder.
fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Erases the account of this client, as its person does.
async fn erase(client: &Client) {
    let request = client.request(Method::DELETE, "/users/me");
    let sent = client
        .send(request.json(&json!({ "password": "a long password" })))
        .await;
    assert!(sent.status.is_success(), "{}", sent.body);
}
