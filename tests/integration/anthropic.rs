//! Anthropic's dialect: as it is spoken, and everything that goes wrong with it.

use std::time::{Duration, Instant};

use cura_domain::message::{FinishReason, Role, Usage};
use cura_domain::prompt::PromptMessage;
use cura_providers::Secret;
use cura_providers::ai::{Ai, AiError, AnthropicConfig, Continuation, Prompt};
use cura_tests::asking::{KEY, anthropic, ask, going_on, prompt};
use cura_tests::provider::anthropic::{answer, begin, delta, error, event, finish};
use cura_tests::provider::{Asked, refusal};
use cura_tests::{ScriptedProvider, Step};
use futures_util::StreamExt;
use serde_json::{Value, json};

async fn scripted(steps: Vec<Step>) -> (ScriptedProvider, Ai) {
    let provider = ScriptedProvider::start(move |_, _: &Asked| steps.clone()).await;
    let ai = Ai::anthropic(anthropic(&provider.url())).unwrap();
    (provider, ai)
}

async fn fails(steps: Vec<Step>) -> (String, AiError) {
    let (_provider, ai) = scripted(steps).await;
    let heard = ask(&ai, prompt()).await;
    (heard.text, heard.end.unwrap_err())
}

/// The beginning of an answer, these words, then `more`.
fn after_words(more: Vec<Step>) -> Vec<Step> {
    let mut steps = begin();
    steps.push(Step::Write(delta("I am ")));
    steps.extend(more);
    steps
}

#[tokio::test]
async fn a_good_answer_has_its_text_reason_usage_and_model() {
    let (provider, ai) = scripted(answer(&["Hel", "lo", " 👋"], Duration::from_millis(1))).await;
    let heard = ask(&ai, prompt()).await;
    assert_eq!(heard.text, "Hello 👋");
    let usage = Usage {
        input_tokens: 7,
        output_tokens: 3,
        estimated: false,
    };
    let end = (FinishReason::Stop, Some(usage), Some("claude-scripted".to_owned()));
    assert_eq!(heard.end.unwrap(), end);
    assert_eq!(heard.by, Some(("anthropic", "some-claude".to_owned())));
    let asked = &provider.asked()[0];
    let head = asked.head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/messages "), "{head}");
    assert!(head.contains("anthropic-version: 2023-06-01\r\n"), "{head}");
    assert!(head.contains(&format!("x-api-key: {KEY}\r\n")), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    assert_eq!(
        asked.body,
        json!({ "model": "some-claude", "max_tokens": 4096, "messages": messages, "stream": true })
    );
}

#[tokio::test]
async fn a_conversation_is_told_the_way_the_interface_wants_it() {
    let (provider, ai) = scripted(answer(&["x"], Duration::ZERO)).await;
    let say = |role, content: &str| PromptMessage {
        role,
        content: content.to_owned(),
    };
    let messages = vec![
        say(Role::System, "Be kind."),
        say(Role::Assistant, "Welcome."),
        say(Role::User, "a"),
        say(Role::User, "b"),
        say(Role::System, "Be brief."),
        say(Role::Assistant, "c"),
        say(Role::User, "d"),
    ];
    let prompt = Prompt {
        messages,
        max_output_tokens: Some(12),
        written: String::new(),
    };
    ask(&ai, prompt).await.end.unwrap();
    let body = &provider.asked()[0].body;
    assert_eq!(body["system"], "Be kind.\n\nBe brief.");
    assert_eq!(body["max_tokens"], 12);
    let roles: Vec<_> = body["messages"].as_array().unwrap().iter().collect();
    assert_eq!(roles[0]["role"], "user");
    assert_eq!(
        roles[1..],
        [
            &json!({ "role": "assistant", "content": "Welcome." }),
            &json!({ "role": "user", "content": "a\n\nb" }),
            &json!({ "role": "assistant", "content": "c" }),
            &json!({ "role": "user", "content": "d" }),
        ]
    );
}

#[tokio::test]
async fn every_reason_to_stop_is_understood() {
    for (word, reason) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("pause_turn", FinishReason::Stop),
        ("tool_use", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("refusal", FinishReason::ContentFilter),
    ] {
        let (_provider, ai) = scripted(after_words(finish(word, 2))).await;
        assert_eq!(ask(&ai, prompt()).await.end.unwrap().0, reason, "{word}");
    }
}

#[tokio::test]
async fn what_is_not_for_reading_is_left_out() {
    let block_delta = |delta: Value| {
        Step::Write(event(
            &json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        ))
    };
    let mut more = vec![
        block_delta(json!({ "type": "thinking_delta", "thinking": "hm" })),
        block_delta(json!({ "type": "signature_delta", "signature": "xyz" })),
        block_delta(json!({ "type": "input_json_delta", "partial_json": "{" })),
        Step::Write(event(&json!({ "type": "something_new", "message": 7, "delta": [] }))),
        Step::Write(": a comment\n\n".to_owned()),
        Step::Write(delta("w\u{0}ell")),
    ];
    more.extend(finish("end_turn", 2));
    let (_provider, ai) = scripted(after_words(more)).await;
    let heard = ask(&ai, prompt()).await;
    heard.end.unwrap();
    assert_eq!(heard.text, "I am well");
}

#[tokio::test]
async fn refusals_say_whether_to_come_back_and_when() {
    for (status, headers, body, code, retryable, after) in [
        (
            "401 Unauthorized",
            "",
            error("authentication_error", KEY),
            "provider_unauthorized",
            false,
            None,
        ),
        (
            "403 Forbidden",
            "",
            error("permission_error", ""),
            "provider_unauthorized",
            false,
            None,
        ),
        (
            "402 Payment Required",
            "",
            json!({}),
            "provider_quota_exhausted",
            false,
            None,
        ),
        (
            "400 Bad Request",
            "",
            error("billing_error", ""),
            "provider_quota_exhausted",
            false,
            None,
        ),
        (
            "404 Not Found",
            "",
            error("not_found_error", "model: x"),
            "provider_refused",
            false,
            None,
        ),
        (
            "413 Too Large",
            "",
            error("request_too_large", ""),
            "context_too_long",
            false,
            None,
        ),
        (
            "400 Bad Request",
            "",
            error("invalid_request_error", "prompt is too long: 2 > 1"),
            "context_too_long",
            false,
            None,
        ),
        (
            "400 Bad Request",
            "",
            error("invalid_request_error", KEY),
            "provider_refused",
            false,
            None,
        ),
        (
            "429 Too Many",
            "Retry-After: 7\r\n",
            error("rate_limit_error", ""),
            "provider_rate_limited",
            true,
            Some(7),
        ),
        (
            "429 Too Many",
            "",
            error("rate_limit_error", ""),
            "provider_rate_limited",
            true,
            None,
        ),
        ("500 Oh", "", error("api_error", ""), "provider_unavailable", true, None),
        (
            "529 Overloaded",
            "Retry-After: 2\r\n",
            error("overloaded_error", ""),
            "provider_unavailable",
            true,
            Some(2),
        ),
        (
            "529 Overloaded",
            "",
            json!("<html>"),
            "provider_unavailable",
            true,
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
        assert!(!format!("{error} {error:?}").contains(KEY));
    }
}

#[tokio::test]
async fn an_error_within_an_answer_keeps_its_text() {
    for (kind, code) in [
        ("overloaded_error", "provider_unavailable"),
        ("api_error", "provider_unavailable"),
        ("rate_limit_error", "provider_rate_limited"),
        ("authentication_error", "provider_unauthorized"),
        ("invalid_request_error", "provider_refused"),
    ] {
        let (text, error) = fails(after_words(vec![Step::Write(event(&error(kind, KEY))), Step::End])).await;
        assert_eq!((text.as_str(), error.code()), ("I am ", code), "{kind}");
    }
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_a_failure_and_keeps_its_text() {
    for end in [
        vec![Step::Cut],
        vec![Step::End],
        vec![Step::Raw(b"ff\r\nhalf a chunk".to_vec()), Step::Cut],
    ] {
        let (text, error) = fails(after_words(end.clone())).await;
        assert_eq!(
            (text.as_str(), error.code(), error.retryable()),
            ("I am ", "provider_unavailable", true),
            "{end:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_protocol_error() {
    for junk in [
        "data: not json\n\n",
        "data: {\"no\": \"type\"}\n\n",
        "data: {\"type\": \"message_start\"}\n\n",
    ] {
        let (text, error) = fails(after_words(vec![Step::Write(junk.to_owned()), Step::End])).await;
        assert_eq!((text.as_str(), error.code()), ("I am ", "provider_protocol"), "{junk}");
    }
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>no</html>".to_vec();
    assert_eq!(fails(vec![Step::Raw(page)]).await.1.code(), "provider_protocol");
}

#[tokio::test]
async fn a_line_of_ten_megabytes_does_not_fill_the_memory() {
    let mut more = vec![Step::Write("data: {\"type\": \"".to_owned())];
    more.extend((0..640).map(|_| Step::Write("x".repeat(16 * 1024))));
    more.push(Step::Hang);
    assert_eq!(fails(after_words(more)).await.1.code(), "provider_protocol");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = ScriptedProvider::start(|_, _: &Asked| answer(&["x"], Duration::ZERO)).await;
    let location = format!("Location: {}/v1/messages\r\n", elsewhere.url());
    let (_, error) = fails(refusal("307 Temporary Redirect", &location, &json!({}))).await;
    assert_eq!(error.code(), "provider_misconfigured");
    assert!(elsewhere.asked().is_empty(), "the key went elsewhere");
}

#[tokio::test]
async fn who_hangs_is_given_up_in_time() {
    let mut pings = Vec::new();
    for _ in 0..30 {
        pings.push(Step::Write(event(&json!({ "type": "ping" }))));
        pings.push(Step::Pause(Duration::from_millis(100)));
    }
    pings.push(Step::Hang);
    for (steps, text) in [
        (vec![Step::Hang], ""),
        (vec![Step::Head, Step::Hang], ""),
        (after_words(vec![Step::Hang]), "I am "),
        // Pings keep a connection open; they are no answer.
        (after_words(pings), "I am "),
    ] {
        let begun = Instant::now();
        let (heard, error) = fails(steps).await;
        assert_eq!(
            (&*heard, error.code(), error.retryable()),
            (text, "provider_timeout", true)
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_dropped_stream_closes_the_connection() {
    let more = (0..10_000).flat_map(|_| [Step::Write(delta("still ")), Step::Pause(Duration::from_millis(2))]);
    let (provider, ai) = scripted(after_words(more.collect())).await;
    let mut pieces = ai.ask(prompt()).await.unwrap().pieces;
    pieces.next().await.unwrap().unwrap();
    assert_eq!(provider.open_connections(), 1);
    drop(pieces);
    provider.until_left_alone().await;
}

#[tokio::test]
async fn a_prefilled_answer_goes_on_where_it_ended() {
    let (provider, ai) = scripted(answer(&[" ", "well", " today"], Duration::ZERO)).await;
    assert!(ai.can_continue());
    let heard = ask(&ai, going_on("I am ")).await;
    heard.end.unwrap();
    assert_eq!(heard.text, "well today");
    let messages = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "I am" }]);
    assert_eq!(provider.asked()[0].body["messages"], messages);
}

#[tokio::test]
async fn a_model_that_refuses_a_prefill_is_asked_to_go_on() {
    let provider = ScriptedProvider::start(|_, asked: &Asked| {
        let last = asked.body["messages"].as_array().and_then(|messages| messages.last());
        if last.is_some_and(|last| last["role"] == "assistant") {
            let body = error(
                "invalid_request_error",
                "This model does not support assistant message prefill.",
            );
            return refusal("400 Bad Request", "", &body);
        }
        answer(&["I a", "m well", " today"], Duration::ZERO)
    })
    .await;
    let ai = Ai::anthropic(anthropic(&provider.url())).unwrap();
    let heard = ask(&ai, going_on("I am we")).await;
    heard.end.unwrap();
    assert_eq!(heard.text, "ll today", "it began all over again, and nobody saw it");
    let asked = provider.asked();
    assert_eq!(asked.len(), 2);
    let messages = asked[1].body["messages"].as_array().unwrap();
    assert_eq!(messages[1], json!({ "role": "assistant", "content": "I am we" }));
    assert_eq!(messages[2]["role"], "user");
}

#[tokio::test]
async fn who_cannot_go_on_is_not_asked_to() {
    let provider = ScriptedProvider::start(|_, _: &Asked| answer(&["x"], Duration::ZERO)).await;
    let ai = Ai::anthropic(AnthropicConfig {
        continuation: Continuation::Off,
        ..anthropic(&provider.url())
    })
    .unwrap();
    assert!(!ai.can_continue());
    assert_eq!(
        ask(&ai, going_on("I am ")).await.end.unwrap_err().code(),
        "provider_refused"
    );
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn a_gateway_that_holds_the_key_is_sent_none() {
    let (provider, _) = scripted(answer(&["x"], Duration::ZERO)).await;
    let ai = Ai::anthropic(AnthropicConfig {
        api_key: None,
        ..anthropic(&provider.url())
    })
    .unwrap();
    ask(&ai, prompt()).await.end.unwrap();
    assert!(!provider.asked()[0].head.to_ascii_lowercase().contains("x-api-key"));
    ai.probe().await.unwrap();
}

#[test]
fn the_key_is_never_shown() {
    let settings = anthropic("http://127.0.0.1:1");
    let ai = Ai::anthropic(settings.clone()).unwrap();
    assert!(!format!("{settings:?} {ai:?}").contains(KEY));
    let broken = AnthropicConfig {
        api_key: Some(Secret::from("sk\nbroken")),
        ..settings
    };
    let error = Ai::anthropic(broken).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("broken"));
}
