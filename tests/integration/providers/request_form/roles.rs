//! Messages that a server refuses for whose words they are: a prefilled answer, the system's.

use std::time::Duration;

use cura_domain::message::Role;
use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{Ai, Continuation, OpenAiConfig};
use cura_tests::ScriptedProvider;
use cura_tests::completion::{anthropic, complete, continuing, prompt};
use cura_tests::provider::{self, Request, Step};
use serde_json::json;

use super::{custom, long_prompt, ok, refused};

/// A Claude that thinks before it speaks, and refuses prefilled answers with this message.
async fn thinking_claude(message: &'static str, pieces: &'static [&'static str]) -> ScriptedProvider {
    use provider::anthropic::{begin, delta, error, event, finish};
    ScriptedProvider::start(move |_, asked: &Request| {
        let last = asked.body["messages"].as_array().and_then(|messages| messages.last());
        if last.is_some_and(|last| last["role"] == "assistant") {
            return refused("400 Bad Request", &error("invalid_request_error", message));
        }
        let mut steps = begin();
        let start =
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}});
        steps.push(Step::Write(event(&start)));
        for thought in ["I should ", "continue: I am we"] {
            let thinking = json!({"type": "thinking_delta", "thinking": thought});
            steps.push(Step::Write(event(
                &json!({"type": "content_block_delta", "index": 0, "delta": thinking}),
            )));
        }
        let signature = json!({"type": "signature_delta", "signature": "x"});
        steps.push(Step::Write(event(
            &json!({"type": "content_block_delta", "index": 0, "delta": signature}),
        )));
        steps.push(Step::Write(event(&json!({"type": "content_block_stop", "index": 0}))));
        steps.extend(pieces.iter().map(|piece| Step::Write(delta(piece))));
        steps.extend(finish("end_turn", 2));
        steps
    })
    .await
}

#[tokio::test]
async fn a_prefilled_answer_that_is_refused_is_tried_once_and_the_other_way_works_with_thoughts() {
    for message in ["This model does not support assistant message prefill.", "no"] {
        let provider = thinking_claude(message, &["I a", "m well", " today"]).await;
        let ai = Ai::anthropic(anthropic(&provider.url())).unwrap();
        for _ in 0..3 {
            let completed = complete(&ai, continuing("I am we")).await;
            completed.end.unwrap();
            assert_eq!(completed.text, "ll today", "the repeated beginning was cut off");
        }
        assert_eq!(provider.requests().len(), 4, "one refusal in all");
        assert_eq!(complete(&ai, prompt()).await.text, "I am well today");
    }
}

#[tokio::test]
async fn a_message_that_is_refused_either_way_does_not_end_prefilling() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        if asked.body.to_string().contains("forbidden words") {
            return refused(
                "400 Bad Request",
                &provider::anthropic::error("invalid_request_error", "no"),
            );
        }
        provider::anthropic::answer(&[" well"], Duration::ZERO)
    })
    .await;
    let ai = Ai::anthropic(anthropic(&provider.url())).unwrap();
    let mut odd = long_prompt(8, 500);
    odd.messages[2].content.push_str("forbidden words");
    odd.written = "I am".to_owned();
    assert_eq!(complete(&ai, odd).await.text, " well");
    complete(&ai, continuing("I am")).await.end.unwrap();
    let asked = provider.requests();
    let last = asked.last().unwrap().body["messages"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last, json!({"role": "assistant", "content": "I am"}));
}

#[tokio::test]
async fn a_model_whose_template_has_no_system_gets_it_as_the_persons_words() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        if asked.body["messages"][0]["role"] == "system" {
            return refused(
                "400 Bad Request",
                &json!({"object": "error", "message": "System role not supported"}),
            );
        }
        ok()
    })
    .await;
    let ai = Ai::openai(custom(&provider)).unwrap();
    let mut kind = prompt();
    kind.messages.insert(0, PromptMessage::plain(Role::System, "Be kind."));
    for _ in 0..2 {
        assert_eq!(complete(&ai, kind.clone()).await.text, "ok");
    }
    let asked = provider.requests();
    assert_eq!(asked.len(), 3);
    assert_eq!(
        asked[2].body["messages"],
        json!([{"role": "user", "content": "Be kind.\n\nHi"}])
    );
}

#[tokio::test]
async fn a_local_model_that_thinks_refuses_a_prefilled_answer_too() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        let last = asked.body["messages"].as_array().and_then(|messages| messages.last());
        if last.is_some_and(|last| last["role"] == "assistant") {
            let message = "Assistant response prefill is incompatible with enable_thinking.";
            return refused(
                "500 Internal Server Error",
                &json!({"error": {"code": 500, "message": message}}),
            );
        }
        provider::answer(&["I am", " well"], Duration::ZERO)
    })
    .await;
    let ai = Ai::openai(OpenAiConfig {
        continuation: Continuation::Prefill,
        ..custom(&provider)
    })
    .unwrap();
    for _ in 0..2 {
        assert_eq!(complete(&ai, continuing("I am")).await.text, " well");
    }
    assert_eq!(provider.requests().len(), 3);
}
