//! What reaches the logs, at their finest level: neither what people say nor what lets them in.

use std::time::Duration;

use cura_tests::{Cura, ScriptedProvider, Socket};
use serde_json::json;

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
    let said = cura.said();
    assert!(said.contains("TRACE"), "it says everything else");
    for secret in ["of mine", somebody.token.as_ref().unwrap(), "a_friend"] {
        assert!(!said.contains(secret), "{secret} reached a log");
    }
}
