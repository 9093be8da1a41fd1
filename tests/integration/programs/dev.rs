//! `cura-server dev`: everything in one command, with a data folder of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use cura_tests::client::text_after;
use cura_tests::{Client, Cura, Program, ScriptedProvider, Step, TestRedis, eventually};

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
    let key = user.get("/devices/config").await.body["web_push"]["public_key"].clone();
    assert_eq!(key.as_str().map(str::len), Some(87), "browsers can subscribe: {key}");
    let kept = std::fs::metadata(data.0.join("vapid_key")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
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
    let config = user.get("/devices/config").await.body;
    assert_eq!(config["web_push"]["public_key"], key, "they stay subscribed");
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
