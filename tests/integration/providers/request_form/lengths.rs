//! Prompts that are too long for a server are cut, for whom that was found out.

use std::sync::Arc;

use cura_domain::UserId;
use cura_providers::ai::Ai;
use cura_tests::ScriptedProvider;
use cura_tests::completion::{complete, complete_for, prompt};
use cura_tests::provider::Request;
use serde_json::json;

use super::{custom, long_prompt, ok, refused, with_room_for, words};

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
