//! Nothing a provider sends makes an answer pay it more than once more without new text.

use std::time::Duration;

use cura_tests::provider::{Step, answer, chunk, event, refusal};
use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::json;

/// What a provider may do with a request that it has accepted, without a word of an answer, and what it is called.
fn in_vain() -> Vec<(Vec<Step>, &'static str)> {
    let error = event(&json!({ "error": { "type": "server_error", "message": "x" } }));
    let too_long = event(&json!({ "error": { "code": "context_length_exceeded", "message": "x" } }));
    let thoughts = event(&json!({ "choices": [{ "index": 0, "delta": { "reasoning_content": "Hm" } }] }));
    vec![
        (vec![Step::Head, Step::Cut], "provider_unavailable"),
        (vec![Step::Head, Step::End], "provider_unavailable"),
        (vec![Step::Head, Step::Write(error), Step::End], "provider_unavailable"),
        (vec![Step::Head, Step::Write(too_long), Step::End], "context_too_long"),
        (
            vec![Step::Head, Step::Write(thoughts), Step::Cut],
            "provider_unavailable",
        ),
        (
            vec![Step::Head, Step::Write(chunk(" \n")), Step::Cut],
            "provider_unavailable",
        ),
    ]
}

#[tokio::test]
async fn a_provider_that_takes_requests_in_vain_gets_one_further() {
    for (steps, code) in in_vain() {
        let of_first = steps.clone();
        let first = ScriptedProvider::start(move |_, _| of_first.clone()).await;
        let cura = Cura::with_provider(&first).await;
        let sent = cura
            .user()
            .await
            .post("/chat/send", &json!({ "content": "Hi" }))
            .await
            .body;
        assert_eq!(
            sent["assistant_message"]["metadata"]["error"], code,
            "{steps:?}: {sent}"
        );
        // What is too long and cannot be cut is not sent again.
        let requests = if code == "context_too_long" { 1 } else { 2 };
        assert_eq!(first.requests().len(), requests, "{steps:?}");
        cura.check_invariants().await;
    }
}

#[tokio::test]
async fn a_fallback_that_takes_requests_in_vain_gets_one_further_too() {
    let first = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Cut]).await;
    let fallback = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Cut]).await;
    let cura = Cura::builder()
        .with_provider(&first)
        .with("AI_FALLBACK_URL", fallback.url())
        .with("AI_FALLBACK_PROVIDER", "custom")
        .start()
        .await;
    let sent = cura
        .user()
        .await
        .post("/chat/send", &json!({ "content": "Hi" }))
        .await
        .body;
    assert_eq!(
        sent["assistant_message"]["metadata"]["error"], "provider_unavailable",
        "{sent}"
    );
    assert_eq!((first.requests().len(), fallback.requests().len()), (2, 2));
    cura.check_invariants().await;
}

#[tokio::test]
async fn new_text_begins_the_count_anew_and_refusals_do_not_count() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => vec![Step::Head, Step::Cut],
        1 => vec![Step::Head, Step::Write(chunk("All ")), Step::Cut],
        2 => vec![Step::Head, Step::Cut],
        _ => answer(&["is ", "well"], Duration::ZERO),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let sent = cura
        .user()
        .await
        .post("/chat/send", &json!({ "content": "Hi" }))
        .await
        .body;
    assert_eq!(sent["assistant_message"]["content"], "All is well", "{sent}");
    cura.check_invariants().await;
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => vec![Step::Head, Step::Cut],
        1 | 2 => refusal("503 Service Unavailable", "", &json!({})),
        _ => answer(&["All ", "is ", "well"], Duration::ZERO),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let sent = cura
        .user()
        .await
        .post("/chat/send", &json!({ "content": "Hi" }))
        .await
        .body;
    assert_eq!(sent["assistant_message"]["content"], "All is well", "{sent}");
    cura.check_invariants().await;
}

#[tokio::test]
async fn the_count_goes_on_with_another_worker() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Cut]).await;
    let mut cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let answer = user.ask("Hi").await;
    eventually("the first attempt has failed", async || {
        let counted = "SELECT count(*) FROM messages WHERE calls_without_text = '{1}'";
        (cura.database.count(counted).await == 1).then_some(())
    })
    .await;
    cura.workers[0].kill();
    cura.add_worker().await;
    assert_eq!(
        user.until_final(&answer).await["metadata"]["error"],
        "provider_unavailable"
    );
    // One of them may have been the killed worker's second, which nobody counts but us.
    assert!(provider.requests().len() <= 3, "{}", provider.requests().len());
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_title_that_is_taken_in_vain_is_asked_for_once_more() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => answer(&["All ", "is ", "well"], Duration::ZERO),
        _ => vec![Step::Head, Step::Write(chunk("My")), Step::Cut],
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "true")
        .start()
        .await;
    let user = cura.user().await;
    user.post("/chat/send", &json!({ "content": "Hi" })).await;
    eventually("the title is given up", async || {
        let dead = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'title-conversation' AND status = 'Killed'";
        (cura.database.count(dead).await == 1).then_some(())
    })
    .await;
    assert_eq!(provider.requests().len(), 3);
    cura.check_invariants().await;
}
