//! Anthropic's protocol.

use std::time::Duration;

use cura_domain::ModelRef;
use cura_domain::message::{FinishReason, Role, Usage};
use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{Ai, AnthropicConfig, Continuation, Prompt};
use cura_tests::completion::{KEY, anthropic, complete, continuing, prompt};
use cura_tests::provider::anthropic::{answer, begin, delta, error, event, finish};
use cura_tests::provider::{Request, refusal};
use cura_tests::{ScriptedProvider, Step};
use serde_json::{Value, json};

use super::provider_dialects::{Dialect, Refusal};

/// How Anthropic expresses an answer; see provider_dialects.rs for what is true of all.
pub(crate) const DIALECT: Dialect = Dialect {
    backend: |url, api_key, timeouts| {
        Ai::anthropic(AnthropicConfig {
            api_key,
            timeouts,
            ..anthropic(url)
        })
    },
    settings: || format!("{:?}", anthropic("http://127.0.0.1:1")),
    answer: |texts| answer(texts, Duration::ZERO),
    begin,
    piece: delta,
    ping: || event(&json!({ "type": "ping" })),
    errors: || {
        let kinds = [
            ("overloaded_error", "provider_unavailable"),
            ("api_error", "provider_unavailable"),
            ("rate_limit_error", "provider_rate_limited"),
            ("authentication_error", "provider_unauthorized"),
            ("invalid_request_error", "provider_refused"),
        ];
        kinds.map(|(kind, code)| (event(&error(kind, KEY)), code)).to_vec()
    },
    junk: &[
        "data: not json\n\n",
        "data: {\"no\": \"type\"}\n\n",
        "data: {\"type\": \"message_start\"}\n\n",
    ],
    endless: "data: {\"type\": \"",
    refusals,
};

fn refusals() -> Vec<Refusal> {
    let invalid = |message| error("invalid_request_error", message);
    let (lasting, passing) = (Refusal::lasting, Refusal::passing);
    vec![
        lasting(
            "401 Unauthorized",
            error("authentication_error", KEY),
            "provider_unauthorized",
        ),
        lasting(
            "403 Forbidden",
            error("permission_error", "Your API key does not have permission."),
            "provider_unauthorized",
        ),
        lasting(
            "403 Forbidden",
            error("permission_error", "Request blocked."),
            "provider_refused",
        ),
        lasting("402 Payment Required", json!({}), "provider_quota_exhausted"),
        lasting(
            "400 Bad Request",
            error("billing_error", ""),
            "provider_quota_exhausted",
        ),
        lasting(
            "404 Not Found",
            error("not_found_error", "model: x"),
            "provider_misconfigured",
        ),
        lasting("413 Too Large", error("request_too_large", ""), "context_too_long"),
        lasting(
            "400 Bad Request",
            invalid("prompt is too long: 2 > 1"),
            "context_too_long",
        ),
        lasting("400 Bad Request", invalid(KEY), "provider_refused"),
        passing(
            "429 Too Many",
            Some(7),
            error("rate_limit_error", ""),
            "provider_rate_limited",
        ),
        passing(
            "429 Too Many",
            None,
            error("rate_limit_error", ""),
            "provider_rate_limited",
        ),
        passing("500 Oh", None, error("api_error", ""), "provider_unavailable"),
        passing(
            "529 Overloaded",
            Some(2),
            error("overloaded_error", ""),
            "provider_unavailable",
        ),
        passing("529 Overloaded", None, json!("<html>"), "provider_unavailable"),
    ]
}

async fn scripted(steps: Vec<Step>) -> (ScriptedProvider, Ai) {
    let provider = ScriptedProvider::start(move |_, _: &Request| steps.clone()).await;
    let ai = Ai::anthropic(anthropic(&provider.url())).unwrap();
    (provider, ai)
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
    let completed = complete(&ai, prompt()).await;
    assert_eq!(completed.text, "Hello 👋");
    let usage = Usage {
        input_tokens: 7,
        output_tokens: 3,
        estimated: false,
    };
    let end = (FinishReason::Stop, Some(usage), Some("claude-scripted".to_owned()));
    assert_eq!(completed.end.unwrap(), end);
    assert_eq!(completed.model, Some(ModelRef::new("anthropic", "some-claude")));
    let asked = &provider.requests()[0];
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
async fn a_conversation_is_sent_in_the_form_the_api_requires() {
    let (provider, ai) = scripted(answer(&["x"], Duration::ZERO)).await;
    let say = |role, content: &str| PromptMessage::plain(role, content);
    let messages = vec![
        say(Role::System, "Be kind."),
        say(Role::Assistant, "Welcome."),
        say(Role::User, "a"),
        say(Role::User, "b"),
        say(Role::System, "Be brief."),
        say(Role::Assistant, "c"),
        say(Role::User, "d"),
    ];
    let prompt = Prompt::of_text(messages, Some(12));
    complete(&ai, prompt).await.end.unwrap();
    let body = &provider.requests()[0].body;
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
        assert_eq!(complete(&ai, prompt()).await.end.unwrap().0, reason, "{word}");
    }
}

#[tokio::test]
async fn nonsense_about_the_cost_spoils_no_answer() {
    for usage in [
        json!({ "output_tokens": 2.5 }),
        json!({ "output_tokens": "2" }),
        json!("free of charge"),
    ] {
        let end = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": usage });
        let more = event(&end) + &event(&json!({ "type": "message_stop" }));
        let (_provider, ai) = scripted(after_words(vec![Step::Write(more), Step::End])).await;
        let completed = complete(&ai, prompt()).await;
        assert_eq!(
            (completed.text.as_str(), completed.end.unwrap().0),
            ("I am ", FinishReason::Stop),
            "{usage}"
        );
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
    let completed = complete(&ai, prompt()).await;
    completed.end.unwrap();
    assert_eq!(completed.text, "I am well");
}

#[tokio::test]
async fn a_prefilled_answer_goes_on_where_it_ended() {
    let (provider, ai) = scripted(answer(&[" ", "well", " today"], Duration::ZERO)).await;
    assert!(ai.can_continue());
    let completed = complete(&ai, continuing("I am ")).await;
    completed.end.unwrap();
    assert_eq!(completed.text, "well today");
    let messages = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "I am" }]);
    assert_eq!(provider.requests()[0].body["messages"], messages);
}

#[tokio::test]
async fn a_model_that_refuses_a_prefill_is_asked_to_go_on() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
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
    let completed = complete(&ai, continuing("I am we")).await;
    completed.end.unwrap();
    assert_eq!(completed.text, "ll today", "the repeated beginning was cut off");
    let asked = provider.requests();
    assert_eq!(asked.len(), 2);
    let messages = asked[1].body["messages"].as_array().unwrap();
    assert_eq!(messages[1], json!({ "role": "assistant", "content": "I am we" }));
    assert_eq!(messages[2]["role"], "user");
}

#[tokio::test]
async fn a_model_that_cannot_continue_is_not_asked_to() {
    let provider = ScriptedProvider::start(|_, _: &Request| answer(&["x"], Duration::ZERO)).await;
    let ai = Ai::anthropic(AnthropicConfig {
        continuation: Continuation::Off,
        ..anthropic(&provider.url())
    })
    .unwrap();
    assert!(!ai.can_continue());
    assert_eq!(
        complete(&ai, continuing("I am ")).await.end.unwrap_err().code(),
        "provider_refused"
    );
    assert!(provider.requests().is_empty());
}
