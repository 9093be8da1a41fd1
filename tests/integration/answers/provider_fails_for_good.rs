//! Failures of an AI provider that do not pass: the answer ends with an error code, which says nothing of the provider.

use cura_tests::provider::{Step, chunk, refusal};
use cura_tests::{Cura, ScriptedProvider};
use serde_json::json;

use super::provider_recovers::{cut_after, outcome};

/// The code of the `error` event an answer of this provider ends with, whether it is retryable, and the number of requests.
async fn fails(provider: ScriptedProvider, settings: &[(&'static str, &str)]) -> (String, bool, usize) {
    let mut builder = Cura::builder().with_provider(&provider);
    for (name, value) in settings {
        builder = builder.with(name, *value);
    }
    let cura = builder.start().await;
    let user = cura.user().await;
    let seen = user.stream("Hi").await.rest().await;
    let last = seen.last().unwrap().clone();
    assert_eq!(last.name, "error", "{seen:?}");
    let message = user
        .get(&format!("/chat/messages/{}", seen[0].data["message_id"]))
        .await
        .body;
    assert_eq!(
        (&message["status"], &message["metadata"]["error"]),
        (&json!("error"), &last.data["code"])
    );
    let conversation = user
        .get(&format!("/conversations/{}", seen[0].data["conversation_id"]))
        .await
        .body;
    assert_eq!(conversation["busy"], false, "one can go on");
    cura.check_invariants().await;
    (
        last.data["code"].as_str().unwrap().to_owned(),
        last.data["retryable"].as_bool().unwrap(),
        provider.requests().len(),
    )
}

#[tokio::test]
async fn a_provider_that_refuses_our_key_is_an_error() {
    let body = json!({ "error": { "message": "Incorrect API key provided: sk-secret", "code": "invalid_api_key" } });
    let provider = ScriptedProvider::start(move |_, _| refusal("401 Unauthorized", "", &body)).await;
    assert_eq!(
        fails(provider, &[]).await,
        ("provider_unauthorized".to_owned(), false, 1)
    );
}

#[tokio::test]
async fn a_provider_that_dies_every_time_is_an_error_in_the_end() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Write(chunk("I am ")), Step::Cut]).await;
    let (code, retryable, asked) = fails(provider, &[]).await;
    assert_eq!((code.as_str(), retryable), ("provider_unavailable", true));
    assert!(asked > 1, "it was tried again");
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Hang]).await;
    let (code, retryable, asked) = fails(provider, &[("AI_FIRST_BYTE_TIMEOUT_SECONDS", "1")]).await;
    assert_eq!((code.as_str(), retryable), ("provider_timeout", true));
    assert_eq!(asked, 2, "it may have been paid for");
}

#[tokio::test]
async fn a_provider_that_wants_an_hour_is_not_waited_for() {
    let body = json!({ "error": { "message": "slow down", "type": "requests" } });
    let provider =
        ScriptedProvider::start(move |_, _| refusal("429 Too Many Requests", "Retry-After: 3600\r\n", &body)).await;
    assert_eq!(
        fails(provider, &[]).await,
        ("provider_rate_limited".to_owned(), true, 1)
    );
}

#[tokio::test]
async fn what_does_not_pass_is_an_error_and_says_nothing_of_the_provider() {
    for (steps, code) in [
        (
            refusal(
                "401 Unauthorized",
                "",
                &json!({ "error": { "message": "sk-secret is wrong" } }),
            ),
            "provider_unauthorized",
        ),
        (
            refusal("400 Bad Request", "", &json!({ "error": { "message": "a secret" } })),
            "provider_refused",
        ),
        (
            refusal(
                "400 Bad Request",
                "",
                &json!({ "error": { "code": "context_length_exceeded" } }),
            ),
            "context_too_long",
        ),
        (
            refusal("302 Found", "Location: http://127.0.0.1:1/\r\n", &json!({})),
            "provider_misconfigured",
        ),
    ] {
        let provider = ScriptedProvider::start(move |_, _| steps.clone()).await;
        let (message, _, asked) = outcome(provider, &[]).await;
        assert_eq!(message["metadata"]["error"], code);
        assert!(!message.to_string().contains("secret"), "{message}");
        assert!(asked <= 2, "{code}: {asked}");
    }
}

#[tokio::test]
async fn a_service_that_never_comes_back_is_an_error_with_what_was_said() {
    let provider = ScriptedProvider::start(|_, _| {
        let mut steps = cut_after(&["All ", "is "]);
        steps.push(Step::Cut);
        steps
    })
    .await;
    let (message, text, asked) = outcome(provider, &[]).await;
    assert_eq!((&message["status"], text.as_str()), (&json!("error"), "All is "));
    assert_eq!(asked, 3, "one further request without new text");
}
