//! The stream of one answer, from the request to the last byte, for every reader at every position.

use std::time::Duration;

use cura_tests::client::{names, text_after};
use cura_tests::provider::{Latch, Step, answer, chunk, finish};
use cura_tests::{Cura, Event, ScriptedProvider, interrupted_answer};
use reqwest::Method;
use serde_json::json;

const TOKENS: [&str; 6] = ["Hel", "lo ", "wörld", " 👋", " and", " good night"];
const TEXT: &str = "Hello wörld 👋 and good night";

async fn cura(apart: Duration) -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::answering(&TOKENS, apart).await;
    let cura = Cura::with_provider(&provider).await;
    (cura, provider)
}

fn answer_of(events: &[Event]) -> i64 {
    events[0].data["message_id"].as_i64().unwrap()
}

/// The names of these events. On a busy machine an answer may wait for its worker, hence without `queued`.
fn names_without_queued(events: &[Event]) -> Vec<&str> {
    let mut names = names(events);
    names.retain(|name| *name != "queued");
    names
}

#[tokio::test]
async fn an_answer_streams_from_ack_to_complete() {
    let (cura, provider) = cura(Duration::from_millis(5)).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let seen = stream.rest().await;
    let names = names_without_queued(&seen);
    assert_eq!(&names[..2], ["ack", "start"]);
    assert_eq!(*names.last().unwrap(), "complete");
    assert!(
        names[2..names.len() - 1].iter().all(|name| *name == "chunk"),
        "{names:?}"
    );
    assert_eq!(text_after("", &seen), TEXT);
    let message = &seen.last().unwrap().data["message"];
    assert_eq!(message["content"], TEXT);
    assert_eq!(message["status"], "sent");
    assert_eq!(message["role"], "assistant");
    let metadata = &message["metadata"];
    assert_eq!(metadata["model"], "scripted");
    assert_eq!(metadata["finish_reason"], "stop");
    assert_eq!(
        metadata["usage"],
        json!({ "input_tokens": 7, "output_tokens": 6, "total_tokens": 13, "estimated": false })
    );
    assert_eq!(metadata["attempts"], 1);
    assert!(metadata["ttft_ms"].is_i64() && metadata["latency_ms"].is_i64());
    let asked = provider.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].body["stream_options"]["include_usage"], true);
    assert_eq!(
        asked[0].body["messages"].as_array().unwrap().last().unwrap()["content"],
        "Hi"
    );
}

#[tokio::test]
async fn a_stream_has_the_headers_that_keep_proxies_from_holding_it_back() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let mut stream = cura.user().await.stream("Hi").await;
    let header = |name: &str| stream.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-cache, no-transform");
    assert_eq!(header("x-accel-buffering"), "no");
    assert!(stream.headers.get("content-encoding").is_none());
    stream.next().await.unwrap();
    assert!(stream.comments > 0, "a comment comes from the first second on");
}

#[tokio::test]
async fn resuming_after_any_event_replays_exactly_what_was_missed() {
    let (cura, _provider) = cura(Duration::from_millis(5)).await;
    let user = cura.user().await;
    let seen = user.stream("Hi").await.rest().await;
    let answer = answer_of(&seen);
    // With the id of the end there is nothing to come back for: `stream_ends`.
    for (at, event) in seen.iter().enumerate().take(seen.len() - 1) {
        let before = text_after("", &seen[..=at]);
        let rest = user.resume(answer, Some(&event.id)).await.rest().await;
        assert_eq!(text_after(&before, &rest), TEXT, "after {event:?}");
        assert_eq!(rest.last().unwrap().name, "complete");
        assert_eq!(rest.iter().filter(|event| event.name == "complete").count(), 1);
    }
    let whole = user.resume(answer, None).await.rest().await;
    assert_eq!(text_after("", &whole), TEXT);
}

#[tokio::test]
async fn after_in_the_query_is_for_clients_without_headers_and_the_header_wins() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let seen = user.stream("Hi").await.rest().await;
    let path = format!("/chat/messages/{}/stream?after=1.6", answer_of(&seen));
    let by_query = user
        .events(user.request(Method::GET, &path))
        .await
        .unwrap()
        .rest()
        .await;
    assert_eq!(text_after(&TEXT[..6], &by_query), TEXT);
    let both = user.request(Method::GET, &path).header("Last-Event-ID", "1.0");
    assert_eq!(text_after("", &user.events(both).await.unwrap().rest().await), TEXT);
}

#[tokio::test]
async fn two_readers_on_two_servers_see_the_same_answer() {
    let provider = ScriptedProvider::answering(&TOKENS, Duration::from_millis(20)).await;
    let cura = Cura::builder().servers(2).with_provider(&provider).start().await;
    let first = cura.user().await;
    let second = first.at(&cura.servers[1].base);
    let mut here = first.stream("Hi").await;
    let ack = here.next().await.unwrap();
    let mut there = second.resume(ack.data["message_id"].as_i64().unwrap(), None).await;
    let (here, there) = tokio::join!(here.rest(), there.rest());
    assert_eq!(text_after("", &here), TEXT);
    assert_eq!(text_after("", &there), TEXT);
    assert_eq!(provider.requests().len(), 1, "watching does not generate");
}

#[tokio::test]
async fn closing_the_connection_does_not_stop_the_answer() {
    let (cura, _provider) = cura(Duration::from_millis(30)).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let answer = stream.next().await.unwrap().data["message_id"].clone();
    drop(stream);
    let done = user.until_final(&answer).await;
    assert_eq!((&done["status"], &done["content"]), (&json!("sent"), &json!(TEXT)));
}

#[tokio::test]
async fn a_reader_that_stalls_gets_everything_in_fewer_chunks() {
    let tokens: Vec<String> = (0..400).map(|n| format!("{n}-{} ", "x".repeat(2500))).collect();
    let provider = ScriptedProvider::answering(&tokens, Duration::from_millis(1)).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let answer = stream.next().await.unwrap().data["message_id"].clone();
    // Read nothing until the answer is done: what does not fit into the sockets has to wait somewhere.
    assert_eq!(user.until_final(&answer).await["status"], "sent");
    let seen = stream.rest().await;
    assert_eq!(text_after("", &seen), tokens.concat());
    let chunks = seen.iter().filter(|event| event.name == "chunk").count();
    assert!(chunks < 400, "{chunks} chunks are not merged");
}

#[tokio::test]
async fn what_the_provider_splits_inside_a_character_arrives_whole() {
    let body: Vec<u8> = answer(&["wörld 👋"], Duration::ZERO)
        .into_iter()
        .filter_map(|step| if let Step::Write(text) = step { Some(text) } else { None })
        .collect::<String>()
        .into_bytes();
    let provider = ScriptedProvider::start(move |_, _| {
        let mut steps = vec![Step::Head];
        for byte in &body {
            let mut framed = b"1\r\n".to_vec();
            framed.push(*byte);
            framed.extend(b"\r\n");
            steps.push(Step::Raw(framed));
        }
        steps.push(Step::End);
        steps
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let seen = cura.user().await.stream("Hi").await.rest().await;
    assert_eq!(text_after("", &seen), "wörld 👋");
}

#[tokio::test]
async fn the_model_is_given_the_conversation_so_far() {
    let provider = ScriptedProvider::start(|number, _| {
        let mut steps = vec![Step::Head, Step::Write(chunk(&format!("answer {number}")))];
        steps.extend(finish(1));
        steps
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let seen = user.stream("first").await.rest().await;
    let conversation = seen[0].data["conversation_id"].as_i64().unwrap();
    let path = format!("/chat/stream/{conversation}");
    let request = user.request(Method::POST, &path).json(&json!({ "content": "second" }));
    user.events(request).await.unwrap().rest().await;
    let asked = provider.requests();
    let said: Vec<&str> = asked[1].body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect();
    assert_eq!(&said[said.len() - 3..], ["first", "answer 0", "second"]);
}

#[tokio::test]
async fn resuming_from_the_start_of_a_new_attempt_still_resets_what_it_rewrote() {
    let latch = Latch::default();
    let first = latch.clone();
    let provider = ScriptedProvider::start(move |number, _| {
        let mut steps = vec![Step::Head, Step::Write(chunk(&format!("attempt {number} says this")))];
        if number == 0 {
            steps.extend([Step::Wait(first.clone()), Step::Cut]);
        } else {
            steps.extend(finish(1));
        }
        steps
    })
    .await;
    let mut answer = interrupted_answer()
        .by(provider)
        .with("AI_CONTINUATION", "off")
        .start()
        .await;
    latch.open();
    answer.read_rest().await;
    let (user, seen) = (&answer.user, &answer.seen);
    assert_eq!(
        names_without_queued(seen),
        ["ack", "start", "chunk", "start", "reset", "chunk", "complete"]
    );
    for (at, event) in seen.iter().enumerate().take(seen.len() - 1) {
        let before = text_after("", &seen[..=at]);
        let rest = user.resume(answer_of(seen), Some(&event.id)).await.rest().await;
        assert_eq!(
            text_after(&before, &rest),
            "attempt 1 says this",
            "after {event:?}: {rest:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_takes_long_to_begin_begins_once() {
    let provider = ScriptedProvider::start(|_, _| {
        let mut steps = vec![Step::Pause(Duration::from_secs(4))];
        steps.extend(answer(&["Hello"], Duration::ZERO));
        steps
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let seen = cura.user().await.stream("Hi").await.rest().await;
    assert_eq!(names_without_queued(&seen), ["ack", "start", "chunk", "complete"]);
}

#[tokio::test]
async fn what_cannot_be_stored_does_not_spoil_an_answer() {
    let provider = ScriptedProvider::answering(&["Hel\u{0}lo", "\u{0}", " there"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let seen = cura.user().await.stream("Hi").await.rest().await;
    assert_eq!(seen.last().unwrap().name, "complete");
    assert_eq!(text_after("", &seen), "Hello there");
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn only_answers_can_be_streamed() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let seen = user.stream("Hi").await.rest().await;
    let path = format!("/chat/messages/{}/stream", seen[0].data["user_message_id"]);
    let reply = user.get(&path).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (404, "answer_not_found"));
}
