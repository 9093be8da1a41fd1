//! A kept connection that the server closes just as the next request goes out costs nobody anything.

use std::time::Duration;

use cura_providers::ai::Ai;
use cura_tests::completion::{anthropic, complete, openai, prompt};
use cura_tests::provider::anthropic::answer as anthropic_answer;
use cura_tests::provider::{answer, refusal};
use cura_tests::{ScriptedProvider, Step, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers, except to requests of these numbers, for which it closes the connection without a word.
async fn closing(
    numbers: impl Fn(usize) -> bool + Send + Sync + 'static,
    speaks_anthropic: bool,
) -> (ScriptedProvider, Ai) {
    let provider = ScriptedProvider::start(move |number, _| match number {
        number if numbers(number) => vec![Step::Cut],
        _ if speaks_anthropic => anthropic_answer(&["Hello"], Duration::ZERO),
        _ => answer(&["Hello"], Duration::ZERO),
    })
    .await;
    let ai = if speaks_anthropic {
        Ai::anthropic(anthropic(&provider.url())).unwrap()
    } else {
        Ai::openai(openai(&provider.url())).unwrap()
    };
    (provider, ai)
}

/// Leaves a connection behind that is kept for the next request.
async fn keep_a_connection(ai: &Ai) {
    ai.probe().await.unwrap();
}

#[tokio::test]
async fn a_request_on_a_kept_connection_that_is_closed_goes_out_again_on_a_new_one() {
    for speaks_anthropic in [false, true] {
        let (provider, ai) = closing(|number| number == 0, speaks_anthropic).await;
        keep_a_connection(&ai).await;
        let completed = complete(&ai, prompt()).await;
        assert_eq!(completed.text, "Hello", "{:?}", completed.end);
        completed.end.unwrap();
        assert_eq!(provider.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_kept_connection_that_has_timed_out_as_the_request_goes_out_is_left_for_a_new_one() {
    let timed_out = refusal("408 Request Timeout", "connection: close\r\n", &json!({}));
    let provider = ScriptedProvider::start(move |number, _| match number {
        0 | 2 => timed_out.clone(),
        _ => answer(&["Hello"], Duration::ZERO),
    })
    .await;
    let ai = Ai::openai(openai(&provider.url())).unwrap();
    keep_a_connection(&ai).await;
    assert_eq!(complete(&ai, prompt()).await.text, "Hello");
    assert_eq!(provider.requests().len(), 2);
    let on_a_new_one = complete(&ai, prompt()).await;
    assert_eq!(on_a_new_one.end.unwrap_err().code(), "provider_unavailable");
    assert_eq!(provider.requests().len(), 3);
}

#[tokio::test]
async fn it_goes_out_again_once_and_on_a_new_connection_never() {
    for speaks_anthropic in [false, true] {
        let (provider, ai) = closing(|_| true, speaks_anthropic).await;
        keep_a_connection(&ai).await;
        for asked in [2, 3] {
            let error = complete(&ai, prompt()).await.end.unwrap_err();
            assert_eq!(error.code(), "provider_unavailable");
            assert_eq!(
                provider.requests().len(),
                asked,
                "once more, and never where none was kept"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    for steps in [
        vec![Step::Head, Step::Cut],
        refusal("500 Internal Server Error", "", &json!({})),
    ] {
        let provider = ScriptedProvider::start(move |_, _| steps.clone()).await;
        let ai = Ai::openai(openai(&provider.url())).unwrap();
        keep_a_connection(&ai).await;
        complete(&ai, prompt()).await.end.unwrap_err();
        assert_eq!(provider.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_probe_survives_a_kept_connection_that_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    let connections = tokio::spawn(async move {
        // Each connection has one answer, says nothing of it, and is closed when the next request comes.
        for connection in 0.. {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut read = [0; 4096];
            assert!(socket.read(&mut read).await.unwrap() > 0);
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            socket.write_all(response).await.unwrap();
            if connection == 2 {
                return;
            }
            let _ = socket.read(&mut read).await;
        }
    });
    let ai = Ai::openai(openai(&url)).unwrap();
    eventually("three connections have been used", async || {
        ai.probe().await.unwrap();
        connections.is_finished().then_some(())
    })
    .await;
}
