//! One answer, from the request to the last byte.

use std::time::Duration;

use cura_tests::client::text_after;
use cura_tests::{Cura, ScriptedProvider};

#[tokio::test]
async fn an_answer_streams_from_ack_to_complete() {
    let provider = ScriptedProvider::saying(&["Hel", "lo ", "wörld", " 👋"], Duration::from_millis(5)).await;
    let cura = Cura::builder().with("AI_MODEL_URL", provider.url()).start().await;
    let somebody = cura.somebody().await;
    let mut events = somebody.stream("Hi").await;
    let seen = events.rest().await;
    let names: Vec<&str> = seen.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(&names[..2], ["ack", "start"]);
    assert_eq!(*names.last().unwrap(), "complete");
    assert!(
        names[2..names.len() - 1].iter().all(|name| *name == "chunk"),
        "{names:?}"
    );
    assert_eq!(text_after("", &seen), "Hello wörld 👋");
    let message = &seen.last().unwrap().data["message"];
    assert_eq!(message["content"], "Hello wörld 👋");
    assert_eq!(message["status"], "sent");
    assert_eq!(message["metadata"]["usage"]["output_tokens"], 4);
}
