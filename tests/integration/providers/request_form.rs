//! What servers disagree about: parameters, prefilled answers and lengths that one refuses are left out, and that is remembered.

use std::sync::Arc;
use std::time::Duration;

use cura_domain::UserId;
use cura_domain::message::Role;
use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{Ai, AnthropicConfig, Continuation, OpenAiConfig, Parameter, ParametersOff, Prompt};
use cura_tests::ScriptedProvider;
use cura_tests::completion::{anthropic, complete, complete_for, continuing, openai, prompt};
use cura_tests::provider::{self, Request, Step, refusal};
use serde_json::{Value, json};

/// A refusal with this in its body.
fn refused(status: &str, body: &Value) -> Vec<Step> {
    refusal(status, "", body)
}

fn ok() -> Vec<Step> {
    provider::answer(&["ok"], Duration::ZERO)
}

/// A conversation of so many messages of so many estimated tokens each, and a last one.
fn long_prompt(messages: usize, tokens: usize) -> Prompt {
    let message = |at: usize, content| PromptMessage {
        role: if at.is_multiple_of(2) {
            Role::User
        } else {
            Role::Assistant
        },
        content,
    };
    let past = (0..messages).map(|at| message(at, "word ".repeat(tokens)));
    Prompt {
        messages: past.chain([message(0, "and now?".to_owned())]).collect(),
        max_output_tokens: Some(400),
        written: String::new(),
    }
}

/// The words of a request.
fn words(asked: &Request) -> usize {
    let messages = asked.body["messages"].as_array().unwrap();
    let count = |message: &Value| message["content"].as_str().unwrap().split_whitespace().count();
    messages.iter().map(count).sum()
}

/// A server that takes so many words, and refuses more in this way.
async fn with_room_for(room: usize, refused: Vec<Step>) -> ScriptedProvider {
    ScriptedProvider::start(move |_, asked: &Request| if words(asked) > room { refused.clone() } else { ok() }).await
}

fn custom(provider: &ScriptedProvider) -> OpenAiConfig {
    openai(&provider.url())
}

#[tokio::test]
async fn a_parameter_that_one_request_shows_to_be_refused_is_left_out_of_all() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        if asked.body.get("stream_options").is_some() {
            let detail = json!([{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]);
            return refused("422 Unprocessable Entity", &json!({ "detail": detail }));
        }
        ok()
    })
    .await;
    let ai = Ai::openai(custom(&provider)).unwrap();
    for person in 0..3 {
        let completed = complete_for(UserId(person), &ai, prompt()).await;
        assert_eq!(completed.text, "ok");
    }
    let asked = provider.requests();
    assert_eq!(asked.len(), 4, "one refusal for all persons");
    assert!(asked[1..].iter().all(|asked| asked.body["stream"] == true));
}

#[tokio::test]
async fn the_longest_answer_has_the_name_that_the_server_wants() {
    for (name, wanted) in [("openai", "max_tokens"), ("custom", "max_completion_tokens")] {
        let provider = ScriptedProvider::start(move |_, asked: &Request| {
            if asked.body.get(wanted).is_none() {
                let other = if wanted == "max_tokens" {
                    "max_completion_tokens"
                } else {
                    "max_tokens"
                };
                let message = format!(
                    "Unsupported parameter: '{other}' is not supported with this model. Use '{wanted}' instead."
                );
                let error = json!({"message": message, "param": other, "code": "unsupported_parameter"});
                return refused("400 Bad Request", &json!({ "error": error }));
            }
            ok()
        })
        .await;
        let ai = Ai::openai(OpenAiConfig {
            provider_name: name,
            max_output_tokens: Some(512),
            ..custom(&provider)
        })
        .unwrap();
        assert_eq!(complete(&ai, prompt()).await.text, "ok", "{name}");
        assert_eq!(complete(&ai, prompt()).await.text, "ok", "{name}");
        let asked = provider.requests();
        assert_eq!(asked.len(), 3, "{name}");
        assert_eq!(asked[2].body[wanted], 512, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_asked_a_bounded_number_of_times() {
    for body in [
        json!({"error": {"message": "stream_options, max_tokens and max_completion_tokens are unknown"}}),
        json!({"error": {"message": "max_tokens is too large"}}),
        json!({"error": {"code": "context_length_exceeded"}}),
        json!({"error": "no"}),
    ] {
        let steps = refused("400 Bad Request", &body);
        let provider = ScriptedProvider::start(move |_, _: &Request| steps.clone()).await;
        let ai = Ai::openai(OpenAiConfig {
            max_output_tokens: Some(100_000),
            ..custom(&provider)
        })
        .unwrap();
        let completed = complete(
            &ai,
            Prompt {
                max_output_tokens: None,
                ..long_prompt(40, 500)
            },
        )
        .await;
        let code = completed.end.unwrap_err().code();
        assert!(["provider_refused", "context_too_long"].contains(&code), "{code}");
        assert!(provider.requests().len() <= 11, "{body}: {}", provider.requests().len());
    }
}

#[tokio::test]
async fn parameters_that_are_off_are_never_sent() {
    let provider = ScriptedProvider::start(|_, _: &Request| ok()).await;
    let off = [
        Parameter::StreamOptions,
        Parameter::MaxTokens,
        Parameter::MaxCompletionTokens,
    ];
    let ai = Ai::openai(OpenAiConfig {
        max_output_tokens: Some(512),
        parameters_off: off.into_iter().fold(ParametersOff::default(), ParametersOff::with),
        ..custom(&provider)
    })
    .unwrap();
    assert_eq!(complete(&ai, prompt()).await.text, "ok");
    let asked = provider.requests();
    for name in ["stream_options", "max_tokens", "max_completion_tokens"] {
        assert!(asked[0].body.get(name).is_none(), "{name}");
    }
    assert_eq!(asked[0].body["stream"], true);
}

#[tokio::test]
async fn what_a_person_says_of_a_parameter_turns_it_off_for_nobody() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        let said = asked.body["messages"][0]["content"].as_str().unwrap_or_default();
        if said.contains("stream_options") {
            return refused(
                "400 Bad Request",
                &json!({"error": {"message": format!("Blocked: {said}")}}),
            );
        }
        ok()
    })
    .await;
    let ai = Ai::openai(custom(&provider)).unwrap();
    let mut odd = prompt();
    odd.messages[0].content = "The parameter stream_options is not supported here".to_owned();
    assert_eq!(complete(&ai, odd).await.end.unwrap_err().code(), "provider_refused");
    assert_eq!(complete(&ai, prompt()).await.text, "ok");
    let asked = provider.requests();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].body.get("stream_options").is_some());
}

#[tokio::test]
async fn an_answer_limit_that_is_too_large_is_halved_until_it_fits() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        if asked.body["max_tokens"].as_u64() > Some(8192) {
            let message =
                "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for some-claude";
            return refused(
                "400 Bad Request",
                &provider::anthropic::error("invalid_request_error", message),
            );
        }
        provider::anthropic::answer(&["ok"], Duration::ZERO)
    })
    .await;
    let ai = Ai::anthropic(AnthropicConfig {
        max_output_tokens: 64_000,
        ..anthropic(&provider.url())
    })
    .unwrap();
    assert_eq!(complete(&ai, prompt()).await.text, "ok");
    assert_eq!(complete(&ai, prompt()).await.text, "ok");
    let limits = provider
        .requests()
        .iter()
        .map(|asked| asked.body["max_tokens"].as_u64().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(limits, [64_000, 32_000, 16_000, 8_000, 8_000]);
}

#[tokio::test]
async fn a_prompt_is_halved_until_it_fits_and_the_next_one_is_cut_from_the_start() {
    let stated = json!({"error": {"code": "context_length_exceeded"}});
    for (steps, others) in [
        (refused("400 Bad Request", &stated), 1),
        (refused("413 Too Large", &json!("<html></html>")), 1),
        // Nothing is known of these, until a second person meets them, too.
        (refused("400 Bad Request", &json!({"error": "Zu lang!"})), 3),
        (refused("422 Unprocessable Entity", &json!({})), 3),
    ] {
        let provider = with_room_for(3000, steps.clone()).await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        assert_eq!(complete_for(UserId(1), &ai, long_prompt(20, 500)).await.text, "ok");
        let first = provider.requests().len();
        assert_eq!(first, 3, "10,000 words, then half of them, then a quarter: {steps:?}");
        for (person, requests) in [(1, 1), (2, others), (3, 1)] {
            let before = provider.requests().len();
            assert_eq!(complete_for(UserId(person), &ai, long_prompt(20, 500)).await.text, "ok");
            assert_eq!(provider.requests().len(), before + requests, "{person}: {steps:?}");
        }
        let asked = provider.requests();
        let last = asked.last().unwrap();
        assert_eq!(
            last.body["messages"][0]["role"], "user",
            "no answer without its question"
        );
        assert!(words(last) > 1000, "{}", words(last));
        assert!(
            ai.max_prompt_tokens(None)
                .is_some_and(|tokens| (1000..3000).contains(&tokens))
        );
    }
}

#[tokio::test]
async fn a_prompt_whose_last_message_alone_is_too_long_goes_to_the_fallback() {
    let body = json!({ "error": { "code": "context_length_exceeded" } });
    let first = ScriptedProvider::start(move |_, _: &Request| refused("400 Bad Request", &body)).await;
    let fallback = ScriptedProvider::start(|_, _: &Request| ok()).await;
    let ai = Ai::openai(custom(&first))
        .unwrap()
        .with_fallback(Ai::openai(custom(&fallback)).unwrap());
    assert_eq!(complete(&ai, prompt()).await.text, "ok");
    assert_eq!((first.requests().len(), fallback.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_fallback_with_less_room_gets_a_shorter_prompt_of_its_own() {
    let away = refused("503 Service Unavailable", &json!({}));
    let first = ScriptedProvider::start(move |_, _: &Request| away.clone()).await;
    let fallback = with_room_for(3000, refused("400 Bad Request", &json!({"error": "Zu lang!"}))).await;
    let ai = Ai::openai(custom(&first))
        .unwrap()
        .with_fallback(Ai::openai(custom(&fallback)).unwrap());
    assert_eq!(complete(&ai, long_prompt(20, 500)).await.text, "ok");
    assert_eq!(first.requests().len(), 1);
    assert_eq!(ai.max_prompt_tokens(None), None, "nothing was learned of the first one");
}

#[tokio::test]
async fn one_persons_odd_message_shortens_nobody_elses_prompts() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        if asked.body.to_string().contains("forbidden words") {
            return refused("400 Bad Request", &json!({"error": "no"}));
        }
        ok()
    })
    .await;
    let ai = Ai::openai(custom(&provider)).unwrap();
    assert_eq!(complete_for(UserId(1), &ai, long_prompt(20, 500)).await.text, "ok");
    let mut odd = long_prompt(20, 450);
    odd.messages[2].content.push_str("forbidden words");
    assert_eq!(
        complete_for(UserId(2), &ai, odd).await.text,
        "ok",
        "without the part that was refused"
    );
    assert_eq!(complete_for(UserId(3), &ai, long_prompt(20, 500)).await.text, "ok");
    assert!(
        words(provider.requests().last().unwrap()) > 10_000,
        "longer prompts are known to be accepted"
    );
}

#[tokio::test]
async fn one_persons_refusal_without_a_reason_shortens_nobody_elses_prompts_though_none_was_accepted_before() {
    let provider = ScriptedProvider::start(|_, asked: &Request| {
        if asked.body.to_string().contains("forbidden words") {
            return refused("400 Bad Request", &json!({"error": "no"}));
        }
        ok()
    })
    .await;
    let ai = Ai::openai(custom(&provider)).unwrap();
    let mut odd = long_prompt(20, 450);
    odd.messages[2].content.push_str("forbidden words");
    assert_eq!(complete_for(UserId(1), &ai, odd).await.text, "ok");
    assert_eq!(complete_for(UserId(2), &ai, long_prompt(20, 500)).await.text, "ok");
    assert!(words(provider.requests().last().unwrap()) > 10_000);
}

#[tokio::test]
async fn what_moderation_refuses_is_not_sent_again_and_teaches_nothing() {
    for (status, error) in [
        (
            "400 Bad Request",
            json!({"code": "content_filter", "param": "prompt", "status": 400, "type": null,
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "innererror": {"code": "ResponsibleAIPolicyViolation"}}),
        ),
        (
            "400 Bad Request",
            json!({"message": "Content Exists Risk", "type": "invalid_request_error"}),
        ),
        ("200 OK", json!({"code": "data_inspection_failed", "message": "x"})),
    ] {
        let body = json!({ "error": error });
        let provider = ScriptedProvider::start(move |_, asked: &Request| {
            if asked.body.to_string().contains("forbidden words") {
                return refused(status, &body);
            }
            ok()
        })
        .await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        let mut odd = long_prompt(20, 450);
        odd.messages[2].content.push_str("forbidden words");
        let refused = complete_for(UserId(1), &ai, odd).await;
        assert_eq!(refused.end.unwrap_err().code(), "provider_refused", "{error}");
        assert_eq!(provider.requests().len(), 1, "{error}");
        assert_eq!(ai.max_prompt_tokens(Some(UserId(1))), None, "{error}");
    }
}

/// How a refusal may come once a request was accepted: as the whole body, or as the first event.
fn refused_within(error: &Value) -> [Vec<Step>; 2] {
    let body = json!({ "error": error });
    let event = vec![Step::Head, Step::Write(provider::event(&body)), Step::End];
    [refused("200 OK", &body), event]
}

#[tokio::test]
async fn a_prompt_that_is_refused_within_an_answer_is_sent_once_more_with_less_of_it() {
    for error in [
        json!({"message": "Bad things", "code": 400}),
        json!({"message": "Bad things", "code": "422"}),
        json!({"code": "context_length_exceeded"}),
    ] {
        for steps in refused_within(&error) {
            let provider = with_room_for(3000, steps).await;
            let ai = Ai::openai(custom(&provider)).unwrap();
            for (person, requests) in [(1, 2), (1, 3)] {
                let completed = complete_for(UserId(person), &ai, long_prompt(20, 500)).await;
                assert_eq!(completed.text, "ok", "{error}: {:?}", completed.end);
                assert_eq!(provider.requests().len(), requests, "{error}");
            }
            assert_eq!(ai.max_prompt_tokens(Some(UserId(2))), None, "{error}");
        }
    }
}

#[tokio::test]
async fn a_refusal_that_was_paid_for_twice_shortens_the_next_prompt() {
    for steps in refused_within(&json!({"message": "Bad things", "code": 400})) {
        let provider = with_room_for(3000, steps).await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        let completed = complete_for(UserId(1), &ai, long_prompt(80, 500)).await;
        assert_eq!(completed.end.unwrap_err().code(), "provider_refused");
        assert_eq!(provider.requests().len(), 2, "paid for once more, and no more");
        let next = complete_for(UserId(1), &ai, long_prompt(80, 500)).await;
        assert_eq!(next.text, "ok");
    }
}

#[tokio::test]
async fn a_parameter_that_is_refused_within_an_answer_is_left_out_of_all() {
    for steps in refused_within(&json!({"message": "x", "param": "stream_options", "code": 400})) {
        let provider = ScriptedProvider::start(move |_, asked: &Request| match asked.body.get("stream_options") {
            Some(_) => steps.clone(),
            None => ok(),
        })
        .await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        for person in 0..3 {
            assert_eq!(complete_for(UserId(person), &ai, prompt()).await.text, "ok");
        }
        assert_eq!(provider.requests().len(), 4, "one refusal for all persons");
    }
}

#[tokio::test]
async fn words_within_an_answer_that_a_person_may_have_said_turn_off_nothing() {
    for steps in refused_within(&json!({"message": "Blocked: stream_options is not supported", "code": 400})) {
        let provider = ScriptedProvider::start(move |_, _: &Request| steps.clone()).await;
        let ai = Ai::openai(custom(&provider)).unwrap();
        let completed = complete(&ai, prompt()).await;
        assert_eq!(completed.end.unwrap_err().code(), "provider_refused");
        assert_eq!(provider.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_long_message_that_is_refused_without_a_reason_is_called_too_long() {
    let provider = with_room_for(3000, refused("400 Bad Request", &json!({"error": "Zu lang!"}))).await;
    let ai = Ai::openai(custom(&provider)).unwrap();
    let mut long = prompt();
    long.messages[0].content = "word ".repeat(4000);
    assert_eq!(complete(&ai, long).await.end.unwrap_err().code(), "context_too_long");
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn a_short_prompt_that_is_refused_is_not_sent_again() {
    let provider = ScriptedProvider::start(|_, _: &Request| refused("400 Bad Request", &json!({"error": "no"}))).await;
    let ai = Ai::openai(custom(&provider)).unwrap();
    assert_eq!(
        complete(&ai, long_prompt(2, 100)).await.end.unwrap_err().code(),
        "provider_refused"
    );
    assert_eq!(provider.requests().len(), 1);
}

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
    let role = Role::System;
    let content = "Be kind.".to_owned();
    kind.messages.insert(0, PromptMessage { role, content });
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

#[tokio::test]
async fn many_at_once_learn_the_same() {
    let provider = with_room_for(3000, refused("400 Bad Request", &json!({"error": "Zu lang!"}))).await;
    let ai = Arc::new(Ai::openai(custom(&provider)).unwrap());
    let all = (0..20).map(|person| {
        let ai = Arc::clone(&ai);
        async move { complete_for(UserId(person), &ai, long_prompt(20, 500)).await.text }
    });
    let texts = futures_util::future::join_all(all).await;
    assert!(texts.iter().all(|text| text == "ok"));
    let before = provider.requests().len();
    assert!(before <= 60);
    assert_eq!(complete_for(UserId(99), &ai, long_prompt(20, 500)).await.text, "ok");
    assert_eq!(provider.requests().len(), before + 1);
}

#[tokio::test]
async fn azures_query_and_key_are_sent_with_every_request() {
    let provider = ScriptedProvider::start(|_, _: &Request| ok()).await;
    let url = format!(
        "{}/openai/deployments/d/chat/completions?api-version=2024-10-21",
        provider.url()
    );
    let ai = Ai::openai(openai(&url)).unwrap();
    assert_eq!(complete(&ai, prompt()).await.text, "ok");
    ai.probe().await.unwrap();
    let head = provider.requests()[0].head.clone();
    assert!(
        head.starts_with("POST /openai/deployments/d/chat/completions?api-version=2024-10-21 "),
        "{head}"
    );
    assert!(head.contains("api-key: sk-very-secret\r\n"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("authorization"), "{head}");
}
