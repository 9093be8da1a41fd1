//! The wire, byte for byte: one stream of an answer and one socket dialogue. A change shows in the snapshot, which
//! `INSTA_UPDATE=always` writes.

use std::time::Duration;

use cura_tests::provider::{Latch, answer};
use cura_tests::raw_socket::{self, RawSocket, TEXT};
use cura_tests::{Cura, ScriptedProvider, Step, redacted};
use serde_json::{Value, json};

/// Compares with the snapshot of this name.
pub(super) fn assert_snapshot(name: &str, wire: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, wire);
    });
}

/// One provider with an answer of one chunk, so that it always comes in one chunk, once the latch is open.
async fn cura(latch: &Latch) -> Cura {
    let latch = latch.clone();
    let provider = ScriptedProvider::start(move |_, _| {
        let mut steps = vec![Step::Wait(latch.clone())];
        steps.extend(answer(&["Hello 👋"], Duration::ZERO));
        steps
    })
    .await;
    Cura::with_provider(&provider).await
}

#[tokio::test]
async fn the_stream_of_an_answer() {
    let latch = Latch::default();
    latch.open();
    let cura = cura(&latch).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut wire = String::new();
    while let Some(frame) = stream.next_frame().await {
        // On a busy machine the answer may wait for a worker.
        if !frame.contains("event: queued") && !frame.starts_with(':') {
            wire.push_str(&redacted(&frame));
        }
    }
    assert_snapshot("answer_stream", &wire);
}

#[tokio::test]
async fn the_dialogue_on_a_socket() {
    let latch = Latch::default();
    let cura = cura(&latch).await;
    let user = cura.user().await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    let mut socket = RawSocket::of(&user, &conversation).await;
    let mut wire = String::new();
    for (command, last) in [
        (json!({ "type": "ping" }), "pong"),
        (
            json!({ "type": "message", "content": "Hi", "client_message_id": "a" }),
            "complete",
        ),
        (json!({ "type": "dance" }), "error"),
        (json!({ "type": "read", "message_id": 999_999 }), "error"),
    ] {
        let command = command.to_string();
        wire.push_str(&format!("> {command}\n"));
        socket.send(&raw_socket::text(&command)).await;
        loop {
            let Some((TEXT, event)) = socket.next().await else {
                panic!("no event follows {wire}");
            };
            let event = String::from_utf8(event).unwrap();
            let kind = serde_json::from_str::<Value>(&event).unwrap()["type"].clone();
            // Hints: they come when they come.
            if kind != "typing" && kind != "queued" {
                wire.push_str(&format!("< {}\n", redacted(&event)));
            }
            // Until here the conversation is busy, whenever its event is written.
            if kind == "start" {
                latch.open();
            }
            if kind == last {
                break;
            }
        }
    }
    assert_snapshot("socket_dialogue", &wire);
}
