//! What reaches the logs, at their finest level: neither what people say nor what lets them in.

use std::time::Duration;

use cura_tests::provider::{answer, refusal};
use cura_tests::{Cura, ScriptedProvider, Socket, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn no_words_and_no_tokens_of_a_socket_reach_a_log() {
    let provider = ScriptedProvider::saying(&["an answer of mine"], Duration::ZERO).await;
    let cura = Cura::builder()
        .answering(&provider)
        .with("LOG_LEVEL", "trace")
        .start()
        .await;
    let somebody = cura.somebody().await;
    let made = somebody.post("/conversations", &json!({})).await.body;
    let mut socket = Socket::of(&somebody, &made["id"], None).await;
    socket
        .say(&json!({ "type": "auth", "token": somebody.token.clone().unwrap() }))
        .await;
    socket
        .say(&json!({ "type": "message", "content": "a question of mine" }))
        .await;
    socket.until("complete").await;
    // What is logged last is read last.
    cura.client().get("/health/live").await;
    cura.servers[0].program.says("/health/live").await;
    cura.workers[0].says("TRACE").await;
    let said = cura.said();
    assert!(said.contains("TRACE"), "it says everything else");
    for secret in ["of mine", somebody.token.as_ref().unwrap(), "a_friend"] {
        assert!(!said.contains(secret), "{secret} reached a log");
    }
}

#[tokio::test]
async fn logs_hold_neither_words_nor_tokens_nor_addresses() {
    // A provider that repeats what it was told, where a worker has something to log.
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => refusal("500 Oh", "", &json!({ "error": { "message": "my secret words" } })),
        _ => answer(&["a secret answer"], Duration::ZERO),
    })
    .await;
    let cura = Cura::builder()
        .answering(&provider)
        .with("LOG_LEVEL", "trace")
        .start()
        .await;
    let somebody = cura.client().register("private@example.com").await;
    let sent = somebody.say(&Value::Null, "my secret words").await;
    assert_eq!(sent["assistant_message"]["content"], "a secret answer");
    somebody.get("/conversations?cursor=my-secret-cursor").await;
    somebody
        .get(&format!("/users/me?token={}", somebody.token.as_ref().unwrap()))
        .await;
    // What is logged last is read last.
    cura.client().get("/health/live").await;
    cura.servers[0].program.says("/health/live").await;
    let of_the_job = |line: &str| line.contains("job{queue=\"generate-answer\"") && line.contains("trying again");
    eventually("the worker's log is there", async || {
        cura.workers[0].said().lines().any(of_the_job).then_some(())
    })
    .await;
    let said = cura.said();
    assert!(said.contains("/chat/send"), "the access log is there: {said}");
    for secret in [
        "private@example.com",
        "my secret words",
        "a secret answer",
        "my-secret-cursor",
        somebody.token.as_ref().unwrap(),
        "a long password",
    ] {
        assert!(!said.contains(secret), "{secret} is in the logs");
    }
}
