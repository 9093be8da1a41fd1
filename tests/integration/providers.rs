//! AI services: the dialect as it is really spoken, and everything that goes wrong with it.

use std::time::{Duration, Instant};

use cura_domain::message::{FinishReason, Usage};
use cura_providers::Secret;
use cura_providers::ai::{Ai, AiError, OpenAiConfig};
use cura_tests::asking::{self, Heard, KEY, openai as config, prompt};
use cura_tests::provider::{Asked, answer, chunk, event, refusal};
use cura_tests::{ScriptedProvider, Step};
use futures_util::StreamExt;
use serde_json::json;

/// The text, and how it ended.
async fn ask(ai: &Ai) -> (String, Result<(FinishReason, Option<Usage>, Option<String>), AiError>) {
    let Heard { text, end, .. } = asking::ask(ai, prompt()).await;
    (text, end)
}

async fn scripted(steps: Vec<Step>) -> (ScriptedProvider, Ai) {
    let provider = ScriptedProvider::start(move |_, _: &Asked| steps.clone()).await;
    let ai = Ai::openai(config(&provider.url())).unwrap();
    (provider, ai)
}

async fn fails(steps: Vec<Step>) -> (String, AiError) {
    let (_provider, ai) = scripted(steps).await;
    let (text, end) = ask(&ai).await;
    let error = end.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY));
    (text, error)
}

/// A body in these TCP writes.
fn writes(parts: Vec<Vec<u8>>) -> Vec<Step> {
    let mut steps = vec![Step::Head];
    for part in parts {
        let mut framed = format!("{:x}\r\n", part.len()).into_bytes();
        framed.extend(part);
        framed.extend(b"\r\n");
        steps.push(Step::Raw(framed));
    }
    steps.push(Step::End);
    steps
}

/// The whole body of a good answer.
fn body(tokens: &[&str]) -> String {
    let texts = answer(tokens, Duration::ZERO)
        .into_iter()
        .filter_map(|step| match step {
            Step::Write(text) => Some(text),
            _ => None,
        });
    texts.collect()
}

#[tokio::test]
async fn a_good_answer_has_its_text_reason_usage_and_model() {
    let (provider, ai) = scripted(answer(&["Hel", "lo", " 👋"], Duration::from_millis(1))).await;
    let (text, end) = ask(&ai).await;
    assert_eq!(text, "Hello 👋");
    let (reason, usage, model) = end.unwrap();
    assert_eq!(reason, FinishReason::Stop);
    assert_eq!(
        usage,
        Some(Usage {
            input_tokens: 7,
            output_tokens: 3,
            estimated: false
        })
    );
    assert_eq!(model.as_deref(), Some("scripted"));
    let asked = &provider.asked()[0];
    assert!(asked.head.starts_with("POST /v1/chat/completions "), "{}", asked.head);
    assert!(asked.head.contains(&format!("Bearer {KEY}")));
    assert_eq!(asked.body["model"], "some-model");
    assert_eq!(asked.body["stream"], true);
    assert_eq!(asked.body["stream_options"], json!({ "include_usage": true }));
    assert_eq!(asked.body["messages"], json!([{ "role": "user", "content": "Hi" }]));
}

#[tokio::test]
async fn the_base_url_is_what_the_path_is_added_to() {
    let provider = ScriptedProvider::saying(&["x"], Duration::ZERO).await;
    for (suffix, path) in [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/api/openai/", "/api/openai/chat/completions"),
    ] {
        let ai = Ai::openai(config(&format!("{}{suffix}", provider.url()))).unwrap();
        ask(&ai).await.1.unwrap();
        let head = provider.asked().last().unwrap().head.clone();
        assert!(head.starts_with(&format!("POST {path} ")), "{suffix}: {head}");
    }
    for bad in ["", "not a url", "ftp://host", "http://"] {
        assert_eq!(
            Ai::openai(config(bad)).unwrap_err().code(),
            "provider_misconfigured",
            "{bad}"
        );
    }
}

#[tokio::test]
async fn how_the_bytes_are_cut_changes_nothing() {
    let whole = body(&["wörld", " 👋", " ok"]).into_bytes();
    let one_by_one: Vec<Vec<u8>> = whole.iter().map(|byte| vec![*byte]).collect();
    let by_seven: Vec<Vec<u8>> = whole.chunks(7).map(<[u8]>::to_vec).collect();
    let with_crlf = String::from_utf8(whole.clone())
        .unwrap()
        .replace('\n', "\r\n")
        .into_bytes();
    let with_comments = format!(
        ": hello\n\n: still there\n\nevent: message\nid: 1\n{}",
        body(&["wörld", " 👋", " ok"])
    )
    .into_bytes();
    for parts in [one_by_one, by_seven, vec![whole], vec![with_crlf], vec![with_comments]] {
        let (_provider, ai) = scripted(writes(parts)).await;
        let (text, end) = ask(&ai).await;
        assert_eq!(text, "wörld 👋 ok");
        end.unwrap();
    }
}

#[tokio::test]
async fn dialects_differ_and_are_understood() {
    let finish_reason =
        |reason: &str| event(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }));
    let bare = event(&json!({ "choices": [{ "index": 0, "delta": { "content": "x" } }] }));
    // No role chunk, no usage, no model, no [DONE]: the reason is enough.
    let (_provider, ai) = scripted(vec![
        Step::Head,
        Step::Write(bare.clone()),
        Step::Write(finish_reason("stop")),
        Step::End,
    ])
    .await;
    let (text, end) = ask(&ai).await;
    assert_eq!((text.as_str(), end.unwrap()), ("x", (FinishReason::Stop, None, None)));
    for (word, reason) in [
        ("length", FinishReason::Length),
        ("content_filter", FinishReason::ContentFilter),
    ] {
        let (_provider, ai) = scripted(vec![
            Step::Head,
            Step::Write(bare.clone()),
            Step::Write(finish_reason(word)),
            Step::End,
        ])
        .await;
        assert_eq!(ask(&ai).await.1.unwrap().0, reason);
    }
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_a_failure_and_keeps_its_text() {
    for end in [
        vec![Step::Cut],
        vec![Step::End],
        vec![Step::Raw(b"ff\r\nhalf a chunk".to_vec()), Step::Cut],
    ] {
        let mut steps = vec![Step::Head, Step::Write(chunk("I am "))];
        steps.extend(end.clone());
        let (text, error) = fails(steps).await;
        assert_eq!(text, "I am ", "{end:?}");
        assert_eq!(
            (error.code(), error.retryable(), error.before_first_byte()),
            ("provider_unavailable", true, false),
            "{end:?}"
        );
    }
}

#[tokio::test]
async fn nothing_before_the_first_byte_is_told_apart() {
    let (_, error) = fails(vec![Step::Cut]).await;
    assert_eq!(
        (error.code(), error.retryable(), error.before_first_byte()),
        ("provider_unavailable", true, true)
    );
    let gone = Ai::openai(config(&format!("http://127.0.0.1:{}", cura_tests::redis::free_port()))).unwrap();
    let error = ask(&gone).await.1.unwrap_err();
    assert_eq!(
        (error.code(), error.before_first_byte()),
        ("provider_unavailable", true)
    );
    assert!(gone.probe().await.is_err());
}

#[tokio::test]
async fn who_hangs_is_given_up_in_time() {
    for steps in [
        vec![Step::Hang],
        vec![Step::Head, Step::Hang],
        vec![Step::Head, Step::Write(chunk("I am ")), Step::Hang],
    ] {
        let begun = Instant::now();
        let (_, error) = fails(steps.clone()).await;
        assert_eq!(
            (error.code(), error.retryable()),
            ("provider_timeout", true),
            "{steps:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    // Comments keep a connection open; they are no answer.
    let mut comments = vec![Step::Head, Step::Write(chunk("I am "))];
    for _ in 0..30 {
        comments.push(Step::Write(": still thinking\n\n".to_owned()));
        comments.push(Step::Pause(Duration::from_millis(100)));
    }
    comments.push(Step::Hang);
    assert_eq!(fails(comments).await.1.code(), "provider_timeout");
}

#[tokio::test]
async fn refusals_say_whether_to_come_back_and_when() {
    let error =
        |code: &str| json!({ "error": { "message": "no, because of sk-very-secret", "type": code, "code": code } });
    for (status, headers, body, code, retryable, after) in [
        (
            "401 Unauthorized",
            "",
            error("invalid_api_key"),
            "provider_unauthorized",
            false,
            None,
        ),
        ("403 Forbidden", "", json!({}), "provider_unauthorized", false, None),
        (
            "404 Not Found",
            "",
            json!("no such model"),
            "provider_refused",
            false,
            None,
        ),
        (
            "429 Too Many Requests",
            "Retry-After: 7\r\n",
            error("rate_limit_exceeded"),
            "provider_rate_limited",
            true,
            Some(7),
        ),
        (
            "429 Too Many Requests",
            "",
            error("insufficient_quota"),
            "provider_quota_exhausted",
            false,
            None,
        ),
        (
            "500 Internal Server Error",
            "",
            json!({}),
            "provider_unavailable",
            true,
            None,
        ),
        (
            "503 Service Unavailable",
            "Retry-After: 2\r\n",
            json!({}),
            "provider_unavailable",
            true,
            Some(2),
        ),
        (
            "400 Bad Request",
            "",
            error("context_length_exceeded"),
            "context_too_long",
            false,
            None,
        ),
        (
            "400 Bad Request",
            "",
            error("invalid_request_error"),
            "provider_refused",
            false,
            None,
        ),
        (
            "302 Found",
            "Location: http://127.0.0.1:1/\r\n",
            json!({}),
            "provider_misconfigured",
            false,
            None,
        ),
    ] {
        let (_, error) = fails(refusal(status, headers, &body)).await;
        assert_eq!((error.code(), error.retryable()), (code, retryable), "{status} {body}");
        assert_eq!(error.retry_after(), after.map(Duration::from_secs), "{status}");
        assert!(error.before_first_byte());
    }
}

#[tokio::test]
async fn an_error_inside_the_stream_is_an_error() {
    let inside = event(&json!({ "error": { "message": "overloaded", "type": "rate_limit_error" } }));
    let (text, error) = fails(vec![
        Step::Head,
        Step::Write(chunk("I am ")),
        Step::Write(inside),
        Step::End,
    ])
    .await;
    assert_eq!(
        (text.as_str(), error.code(), error.before_first_byte()),
        ("I am ", "provider_rate_limited", false)
    );
}

#[tokio::test]
async fn what_is_no_answer_is_a_protocol_error() {
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>no</html>".to_vec();
    assert_eq!(fails(vec![Step::Raw(page)]).await.1.code(), "provider_protocol");
    let absurd = |text: &str| vec![Step::Head, Step::Write(text.to_owned()), Step::End];
    assert_eq!(
        fails(absurd("data: {\"choices\": 7}\n\n")).await.1.code(),
        "provider_protocol"
    );
    assert_eq!(fails(absurd("data: not json\n\n")).await.1.code(), "provider_protocol");
}

#[tokio::test]
async fn an_event_without_end_does_not_fill_the_memory() {
    let mut steps = vec![
        Step::Head,
        Step::Write("data: {\"choices\": [{\"delta\": {\"content\": \"".to_owned()),
    ];
    steps.extend((0..100).map(|_| Step::Write("x".repeat(16 * 1024))));
    steps.push(Step::Hang);
    assert_eq!(fails(steps).await.1.code(), "provider_protocol");
}

#[tokio::test]
async fn a_dropped_stream_closes_the_connection() {
    let mut steps = vec![Step::Head, Step::Write(chunk("I am "))];
    steps.extend((0..10_000).flat_map(|_| [Step::Write(chunk("still ")), Step::Pause(Duration::from_millis(2))]));
    let (provider, ai) = scripted(steps).await;
    let mut stream = ai.ask(prompt()).await.unwrap().pieces;
    stream.next().await.unwrap().unwrap();
    assert_eq!(provider.open_connections(), 1);
    drop(stream);
    provider.until_left_alone().await;
}

#[tokio::test]
async fn a_provider_without_a_key_gets_no_authorization() {
    let provider = ScriptedProvider::saying(&["x"], Duration::ZERO).await;
    let ai = Ai::openai(OpenAiConfig {
        api_key: None,
        ..config(&provider.url())
    })
    .unwrap();
    ask(&ai).await.1.unwrap();
    assert!(!provider.asked()[0].head.to_ascii_lowercase().contains("authorization"));
    ai.probe().await.unwrap();
}

#[test]
fn the_key_is_never_shown() {
    let settings = config("http://127.0.0.1:1");
    let ai = Ai::openai(settings.clone()).unwrap();
    assert!(!format!("{settings:?} {ai:?}").contains(KEY));
    let broken = OpenAiConfig {
        api_key: Some(Secret::from("sk\nbroken")),
        ..settings
    };
    let error = Ai::openai(broken).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("broken"));
}

#[tokio::test]
async fn the_demo_voice_says_that_it_is_one() {
    let (text, end) = ask(&Ai::demo()).await;
    assert!(text.contains("demo") && text.contains("AI_MODEL_URL"), "{text}");
    assert_eq!(end.unwrap().0, FinishReason::Stop);
    assert_eq!(Ai::demo().provider(), "demo");
    Ai::demo().probe().await.unwrap();
}
