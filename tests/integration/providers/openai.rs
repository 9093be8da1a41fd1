//! OpenAI's protocol, in its many variants.

use std::time::Duration;

use cura_domain::message::{FinishReason, Usage};
use cura_providers::ai::{Ai, AiError, OpenAiConfig};
use cura_tests::completion::{self, Completed, KEY, openai as config, prompt};
use cura_tests::provider::{Request, answer, chunk, event, finish};
use cura_tests::{ScriptedProvider, Step};
use serde_json::json;

use super::provider_dialects::{Dialect, Refusal};

/// How OpenAI and compatible services express an answer; see provider_dialects.rs for what is true of all.
pub(crate) const DIALECT: Dialect = Dialect {
    backend: |url, api_key, timeouts| {
        Ai::openai(OpenAiConfig {
            api_key,
            timeouts,
            ..config(url)
        })
    },
    settings: || format!("{:?}", config("http://127.0.0.1:1")),
    answer: |texts| answer(texts, Duration::ZERO),
    begin: || vec![Step::Head],
    piece: chunk,
    ping: || ": still thinking\n\n".to_owned(),
    errors: || {
        let overloaded = json!({ "error": { "message": "overloaded", "type": "rate_limit_error" } });
        let broke = json!({ "error": { "message": "Insufficient credits", "code": 402 } });
        let lost = json!({ "error": { "message": "no such model", "code": 404 } });
        vec![
            (event(&overloaded), "provider_rate_limited"),
            (event(&broke), "provider_quota_exhausted"),
            (event(&lost), "provider_misconfigured"),
        ]
    },
    junk: &["data: not json\n\n", "data: {\"choices\": 7}\n\n"],
    endless: "data: {\"choices\": [{\"delta\": {\"content\": \"",
    refusals,
};

fn refusals() -> Vec<Refusal> {
    let error = |code| json!({ "error": { "message": format!("no, because of {KEY}"), "type": code, "code": code } });
    let (lasting, passing) = (Refusal::lasting, Refusal::passing);
    vec![
        lasting("401 Unauthorized", error("invalid_api_key"), "provider_unauthorized"),
        lasting("403 Forbidden", error("missing_scope"), "provider_unauthorized"),
        lasting("403 Forbidden", json!({}), "provider_refused"),
        lasting("404 Not Found", json!("no such model"), "provider_misconfigured"),
        lasting("405 Method Not Allowed", json!({}), "provider_misconfigured"),
        lasting("402 Payment Required", json!({}), "provider_quota_exhausted"),
        lasting(
            "429 Too Many Requests",
            error("insufficient_quota"),
            "provider_quota_exhausted",
        ),
        lasting("400 Bad Request", error("context_length_exceeded"), "context_too_long"),
        lasting("400 Bad Request", error("invalid_request_error"), "provider_refused"),
        passing(
            "429 Too Many Requests",
            Some(7),
            error("rate_limit_exceeded"),
            "provider_rate_limited",
        ),
        passing("500 Internal Server Error", None, json!({}), "provider_unavailable"),
        passing("503 Service Unavailable", Some(2), json!({}), "provider_unavailable"),
    ]
}

/// The text, and how it ended.
async fn complete(ai: &Ai) -> (String, Result<(FinishReason, Option<Usage>, Option<String>), AiError>) {
    let Completed { text, end, .. } = completion::complete(ai, prompt()).await;
    (text, end)
}

async fn scripted(steps: Vec<Step>) -> (ScriptedProvider, Ai) {
    let provider = ScriptedProvider::start(move |_, _: &Request| steps.clone()).await;
    let ai = Ai::openai(config(&provider.url())).unwrap();
    (provider, ai)
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
    let (text, end) = complete(&ai).await;
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
    let asked = &provider.requests()[0];
    assert!(asked.head.starts_with("POST /v1/chat/completions "), "{}", asked.head);
    assert!(asked.head.contains(&format!("Bearer {KEY}")));
    assert_eq!(asked.body["model"], "some-model");
    assert_eq!(asked.body["stream"], true);
    assert_eq!(asked.body["stream_options"], json!({ "include_usage": true }));
    assert_eq!(asked.body["messages"], json!([{ "role": "user", "content": "Hi" }]));
}

#[tokio::test]
async fn the_base_url_is_what_the_path_is_added_to() {
    let provider = ScriptedProvider::answering(&["x"], Duration::ZERO).await;
    for (suffix, path) in [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/api/openai/", "/api/openai/chat/completions"),
    ] {
        let ai = Ai::openai(config(&format!("{}{suffix}", provider.url()))).unwrap();
        complete(&ai).await.1.unwrap();
        let head = provider.requests().last().unwrap().head.clone();
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
        let (text, end) = complete(&ai).await;
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
    let (text, end) = complete(&ai).await;
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
        assert_eq!(complete(&ai).await.1.unwrap().0, reason);
    }
}

/// Pieces of text, each as the inside of a JSON string.
fn raw_chunks(texts: &[&str]) -> Vec<Step> {
    let piece = |text: &&str| {
        Step::Write(format!(
            "data: {{\"choices\": [{{\"index\": 0, \"delta\": {{\"content\": \"{text}\"}}}}]}}\n\n"
        ))
    };
    let mut steps = vec![Step::Head];
    steps.extend(texts.iter().map(piece));
    steps.extend(finish(0));
    steps
}

#[tokio::test]
async fn a_character_in_two_pieces_is_put_together() {
    for (pieces, whole) in [
        ([r"Hi \ud83d", r"\udc4b!"], "Hi 👋!"),
        ([r"Hi \ud83d", "you"], "Hi \u{fffd}you"),
        ([r"Hi \udc4b", r"\ud83d"], "Hi \u{fffd}"),
    ] {
        let (_provider, ai) = scripted(raw_chunks(&pieces)).await;
        let (text, end) = complete(&ai).await;
        assert_eq!((&*text, end.unwrap().0), (whole, FinishReason::Stop), "{pieces:?}");
    }
}

#[tokio::test]
async fn nonsense_about_the_cost_spoils_no_answer() {
    for usage in [
        json!({ "prompt_tokens": 3.5, "completion_tokens": 2 }),
        json!({ "prompt_tokens": "3", "completion_tokens": 2 }),
        json!({ "prompt_tokens": -3, "completion_tokens": 2 }),
        json!({ "prompt_tokens": 3, "completion_tokens": 1e12 }),
        json!({ "prompt_tokens": 3 }),
        json!("free of charge"),
        json!([7]),
    ] {
        let stop = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage });
        let steps = vec![
            Step::Head,
            Step::Write(chunk("x") + &event(&stop) + "data: [DONE]\n\n"),
            Step::End,
        ];
        let (_provider, ai) = scripted(steps).await;
        let (text, end) = complete(&ai).await;
        let (reason, stated, _) = end.unwrap();
        assert_eq!((&*text, reason, stated), ("x", FinishReason::Stop, None), "{usage}");
    }
}
