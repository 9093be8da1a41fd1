//! The programs as operators and developers run them: settings, migrations, exit codes, logs.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cura_tests::client::text_after;
use cura_tests::{Client, Cura, Program, ScriptedProvider, Step, TestDatabase, TestRedis, eventually, program};
use serde_json::Value;

fn admin(arguments: &[&str], variables: &[(&str, String)]) -> Output {
    let mut command = Command::new(program::path("cura-admin"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (*name, value)));
    command.current_dir("/tmp").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A data folder the server's user can reach, gone at the end.
struct DataDir(PathBuf);

impl DataDir {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/cura-test-data-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("DATA_DIR", self.0.display().to_string()), ("PORT", "0".to_owned())]
    }

    async fn wait_until_stopped(&self) {
        let pid = self.0.join("postgres/data/postmaster.pid");
        eventually("the private Postgres is stopped", async || {
            (!pid.exists()).then_some(())
        })
        .await;
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn address(program: &Program) -> String {
    format!("http://{}", program.wait_for_log("API      http://").await.trim())
}

#[tokio::test]
async fn dev_needs_nothing_answers_and_keeps_what_was_said() {
    let data = DataDir::new("dev");
    let mut first = Program::start("cura-server", &["dev"], &data.variables());
    let base = address(&first).await;
    for promised in ["/docs", "curl -N", "the demo (set AI_MODEL_URL"] {
        assert!(first.wait_for_log(promised).await.len() < 500);
    }
    let user = Client::new(&base).register("dev@example.com").await;
    eventually("it is healthy, with the demo provider", async || {
        let health = user.get("/health").await.body;
        (health["status"] == "healthy" && health["ai_service"]["provider"] == "demo").then_some(())
    })
    .await;
    let seen = user.stream("Hello").await.rest().await;
    let answer = text_after("", &seen);
    assert!(answer.contains("demo"), "it says that it is a demo: {answer}");
    first.signal("INT");
    assert_eq!(first.ended().await, Some(0));
    data.wait_until_stopped().await;
    let mut second = Program::start("cura-server", &["dev"], &data.variables());
    let user = user.at(&address(&second).await);
    let messages = user
        .get(&format!("/conversations/{}/messages", seen[0].data["conversation_id"]))
        .await;
    assert_eq!(
        messages.body["items"][0]["content"].as_str(),
        Some(answer.as_str()),
        "still signed in, still there"
    );
    second.kill();
    let third = Program::start("cura-server", &["dev"], &data.variables());
    let user = user.at(&address(&third).await);
    assert_eq!(user.get("/users/me").await.status, 200);
    drop(third);
    data.wait_until_stopped().await;
}

#[tokio::test]
async fn two_of_dev_on_one_folder_need_a_redis_to_meet() {
    let data = DataDir::new("two");
    let first = Program::start("cura-server", &["dev"], &data.variables());
    address(&first).await;
    let mut second = Program::start("cura-server", &["dev"], &data.variables());
    assert_eq!(second.ended().await, Some(1));
    assert!(second.logs().contains("REDIS_URL"), "{}", second.logs());
    let redis = TestRedis::start();
    let mut variables = data.variables();
    variables.push(("REDIS_URL", redis.url()));
    let third = Program::start("cura-server", &["dev"], &variables);
    address(&third).await;
}

#[tokio::test]
async fn a_second_signal_forces_the_end() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Hang]).await;
    let mut cura = Cura::with_provider(&provider).await;
    cura.user().await.stream("Hi").await.until("start").await;
    cura.workers[0].signal("TERM");
    cura.workers[0].wait_for_log("a second signal forces it").await;
    cura.workers[0].signal("TERM");
    assert_eq!(cura.workers[0].ended().await, Some(130));
}

#[tokio::test]
async fn migrations_go_up_down_and_tell_how_they_stand() {
    let database = TestDatabase::empty().await;
    let variables = [("DATABASE_URL", database.url())];
    let status = |code| {
        let output = admin(&["migrate", "status", "--json"], &variables);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let before = status(3);
    let all = before["migrations"].as_array().unwrap().len();
    assert_eq!(before["pending"], all);
    assert_eq!(admin(&["migrate", "up"], &variables).status.code(), Some(0));
    assert_eq!(status(0)["pending"], 0);
    assert_eq!(
        admin(&["migrate", "up"], &variables).status.code(),
        Some(0),
        "again changes nothing"
    );
    let refused = admin(&["migrate", "down"], &variables);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--yes"));
    let down = admin(&["migrate", "down", "--steps", "99", "--yes", "--json"], &variables);
    assert_eq!(down.status.code(), Some(0), "{}", text(&down.stderr));
    let taken_back = serde_json::from_slice::<Value>(&down.stdout).unwrap();
    assert!(taken_back["reverted"].as_array().unwrap().len() >= 3, "{taken_back}");
    assert_eq!(status(3)["pending"], taken_back["reverted"].as_array().unwrap().len());
    assert_eq!(admin(&["migrate", "up"], &variables).status.code(), Some(0));
    assert_eq!(status(0)["pending"], 0);
    for line in text(&admin(&["migrate", "status"], &variables).stdout).lines() {
        assert!(line.starts_with("applied"), "{line}");
    }
}

#[tokio::test]
async fn a_migration_may_take_its_time() {
    let database = TestDatabase::empty().await;
    let migrating = cura_store::Database::connect_for_migrations(&database.url(), "test").unwrap();
    for limit in [
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
    ] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(limit)
            .fetch_one(migrating.pool())
            .await
            .unwrap();
        assert_eq!(value, "0", "{limit}");
    }
}

#[test]
fn secrets_are_random_and_the_document_is_the_committed_one() {
    let secret = || text(&admin(&["secret"], &[]).stdout).trim().to_owned();
    assert!(secret().len() == 64 && secret() != secret());
    let printed: Value = serde_json::from_slice(&admin(&["openapi"], &[]).stdout).unwrap();
    let committed = include_str!("../../../openapi/openapi.json");
    assert_eq!(
        printed,
        serde_json::from_str::<Value>(committed).unwrap(),
        "run `make generate`"
    );
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    assert_eq!(admin(&["migrate", "sideways"], &[]).status.code(), Some(2));
    assert_eq!(admin(&[], &[]).status.code(), Some(2));
}

/// What a program that must not start says, and how long it takes.
async fn refuses(program: &str, variables: &[(&str, String)]) -> String {
    let begun = Instant::now();
    let mut program = Program::start(program, &[], variables);
    let code = program.ended().await;
    // A program waits three seconds for the database; one that retried would not end at all.
    assert!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
    assert_eq!(code, Some(1));
    let said = program.logs();
    // On a busy machine a connection that was long in coming is warned of.
    let slow = |line: &&str| line.contains("time to acquire exceeded slow threshold");
    let lines: Vec<&str> = said.lines().filter(|line| !slow(line)).collect();
    assert!(lines.len() == 1 && lines[0].contains("error: "), "{said}");
    lines[0].to_owned()
}

#[tokio::test]
async fn production_refuses_to_start_on_sand() {
    let good = [
        ("ENVIRONMENT", "production".to_owned()),
        ("SECRET_KEY", "k".repeat(64)),
        ("DATABASE_URL", "postgres://cura:hunter2@127.0.0.1:1/cura".to_owned()),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1".to_owned()),
        ("AI_MODEL_URL", "http://127.0.0.1:1".to_owned()),
        ("ALLOWED_ORIGINS", "[]".to_owned()),
    ];
    for (name, value) in [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", ""),
        ("AI_MODEL_URL", ""),
        ("ALLOWED_ORIGINS", r#"["*"]"#),
        ("DATABASE_URL", "postgres://cura:hunter2@127.0.0.1:1/cura"),
    ] {
        let mut variables = good.to_vec();
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value.to_owned()));
        for program in ["cura-server", "cura-worker"] {
            let said = refuses(program, &variables).await;
            assert!(said.starts_with(&format!("error: {name} ")), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_database_without_migrations_or_a_redis_that_is_away_is_named() {
    let (database, mut redis) = (TestDatabase::empty().await, TestRedis::start());
    let variables = [
        ("DATABASE_URL", database.url()),
        ("REDIS_URL", redis.url()),
        ("PORT", "0".to_owned()),
    ];
    assert!(
        refuses("cura-server", &variables)
            .await
            .contains("cura-admin migrate up")
    );
    let ready = TestDatabase::create().await;
    redis.kill();
    let variables = [
        ("DATABASE_URL", ready.url()),
        ("REDIS_URL", redis.url()),
        ("PORT", "0".to_owned()),
    ];
    assert!(
        refuses("cura-worker", &variables)
            .await
            .starts_with("error: REDIS_URL ")
    );
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let cura = Cura::without_workers().await;
    let port = cura.servers[0].base.rsplit(':').next().unwrap().to_owned();
    let variables = [
        ("DATABASE_URL", cura.database.url()),
        ("REDIS_URL", cura.redis.url()),
        ("PORT", port),
    ];
    assert!(refuses("cura-server", &variables).await.starts_with("error: PORT "));
}

#[tokio::test]
async fn logs_are_json_outside_development() {
    let cura = Cura::builder()
        .workers(0)
        .with("ENVIRONMENT", "staging")
        .with("SECRET_KEY", "0123456789abcdef0123456789abcdef")
        .start()
        .await;
    cura.client().get("/health/live").await;
    // The answer may be here before the line is read.
    cura.servers[0].program.wait_for_log("/health/live").await;
    let said = cura.logs();
    let access = said.lines().find(|line| line.contains("/health/live")).unwrap();
    let line: Value = serde_json::from_str(access).unwrap();
    assert_eq!(
        (&line["route"], &line["status"], &line["method"]),
        (&"/health/live".into(), &200.into(), &"GET".into())
    );
    assert!(
        line["span"]["request_id"].is_string() || line["request_id"].is_string(),
        "{line}"
    );
}
