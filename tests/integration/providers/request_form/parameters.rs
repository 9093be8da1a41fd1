//! Parameters that a server refuses are left out, or have another name.

use std::time::Duration;

use cura_domain::UserId;
use cura_providers::ai::{Ai, AnthropicConfig, OpenAiConfig, Parameter, ParametersOff, Prompt};
use cura_tests::ScriptedProvider;
use cura_tests::completion::{anthropic, complete, complete_for, openai, prompt};
use cura_tests::provider::{self, Request};
use serde_json::json;

use super::{custom, long_prompt, ok, refused};

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
