//! Logs at trace level hold neither messages nor tokens nor email addresses.

use std::time::Duration;

use cura_tests::provider::{answer, refusal};
use cura_tests::{Cura, ScriptedProvider, Socket, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn no_words_and_no_tokens_of_a_socket_reach_a_log() {
    let provider = ScriptedProvider::answering(&["an answer of mine"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "trace")
        .start()
        .await;
    let user = cura.user().await;
    let made = user.post("/conversations", &json!({})).await.body;
    let mut socket = Socket::of(&user, &made["id"], None).await;
    socket
        .send(&json!({ "type": "auth", "token": user.token.clone().unwrap() }))
        .await;
    socket
        .send(&json!({ "type": "message", "content": "a question of mine" }))
        .await;
    socket.until("complete").await;
    // What is logged last is read last.
    cura.client().get("/health/live").await;
    cura.servers[0].program.wait_for_log("/health/live").await;
    cura.workers[0].wait_for_log("TRACE").await;
    let said = cura.logs();
    assert!(said.contains("TRACE"), "it says everything else");
    for secret in ["of mine", user.token.as_ref().unwrap(), "a_friend"] {
        assert!(!said.contains(secret), "{secret} reached a log");
    }
}

#[tokio::test]
async fn logs_hold_neither_words_nor_tokens_nor_addresses() {
    // A provider that repeats the prompt in an error, which the worker logs.
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => refusal("500 Oh", "", &json!({ "error": { "message": "my secret words" } })),
        _ => answer(&["a secret answer"], Duration::ZERO),
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "trace")
        .start()
        .await;
    let user = cura.client().register("private@example.com").await;
    let sent = user.send_message(&Value::Null, "my secret words").await;
    assert_eq!(sent["assistant_message"]["content"], "a secret answer");
    user.get("/conversations?cursor=my-secret-cursor").await;
    user.get(&format!("/users/me?token={}", user.token.as_ref().unwrap()))
        .await;
    // What is logged last is read last.
    cura.client().get("/health/live").await;
    cura.servers[0].program.wait_for_log("/health/live").await;
    let of_the_job =
        |line: &str| line.contains("job{queue=\"generate-answer\"") && line.contains("the provider failed; retrying");
    eventually("the worker's log is there", async || {
        cura.workers[0].logs().lines().any(of_the_job).then_some(())
    })
    .await;
    let said = cura.logs();
    assert!(said.contains("/chat/send"), "the access log is there: {said}");
    for secret in [
        "private@example.com",
        "my secret words",
        "a secret answer",
        "my-secret-cursor",
        user.token.as_ref().unwrap(),
        "a long password",
    ] {
        assert!(!said.contains(secret), "{secret} is in the logs");
    }
}
