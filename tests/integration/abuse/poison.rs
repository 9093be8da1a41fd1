//! One person's messages fail at the provider, by chance or on purpose: that is their matter and nobody else's. What holds for
//! everybody is found out by a request of our own.

use std::time::{Duration, Instant};

use cura_tests::provider::anthropic::{answer as anthropic_answer, error};
use cura_tests::provider::{Request, Step, answer, refusal};
use cura_tests::{Client, Cura, ScriptedProvider, eventually};
use serde_json::{Value, json};

/// Whether the request holds a message with this in it.
fn asks(request: &Request, words: &str) -> bool {
    request.body["messages"].to_string().contains(words)
}

/// The answer to "Hi" as it was stored.
async fn say_hi(person: &Client) -> Value {
    let sent = person.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    sent["assistant_message"].clone()
}

#[tokio::test]
async fn a_person_whose_every_message_fails_delays_nobody_else() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asks(asked, "poison") {
            return vec![Step::Head, Step::Write("data: rubbish\n\n".to_owned()), Step::End];
        }
        answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let (eve, ann) = (
        cura.client().register("eve@example.com").await,
        cura.client().register("ann@example.com").await,
    );
    let begun = Instant::now();
    let poisoned = async || provider.requests().iter().filter(|asked| asks(asked, "poison")).count();
    for round in 0..2 {
        for n in 0..6 {
            eve.ask(&format!("poison {round} {n}")).await;
        }
        // As many as it takes to hold her; what she sends later waits, longer and longer.
        eventually("they fail", async || (poisoned().await > 4).then_some(())).await;
        let message = say_hi(&ann).await;
        assert_eq!(message["content"], "All is well", "{message}");
        assert_eq!(message["metadata"]["attempts"], 1, "{message}");
    }
    let logs = cura.logs();
    assert!(!logs.contains("circuit breaker opened"), "{logs}");
    assert!(
        logs.contains("no provider can be asked for this person yet"),
        "she is held: {logs}"
    );
    let most = 1 + begun.elapsed().as_secs() / 10;
    assert!(
        provider.trials() as u64 <= most,
        "{} paid requests of our own",
        provider.trials()
    );
}

#[tokio::test]
async fn a_refusal_that_quotes_a_person_shuts_nobody_out() {
    let said = "My bank writes that my credit balance is too low, what shall I do?";
    let provider = ScriptedProvider::start(move |_, asked| {
        if asks(asked, said) {
            let body = error("invalid_request_error", &format!("Request blocked: {said}"));
            return refusal("400 Bad Request", "", &body);
        }
        anthropic_answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = of_anthropic(&provider).await;
    let (eve, ann) = (
        cura.client().register("eve@example.com").await,
        cura.client().register("ann@example.com").await,
    );
    for _ in 0..3 {
        let sent = eve.post("/chat/send", &json!({ "content": said })).await.body;
        assert_eq!(
            sent["assistant_message"]["metadata"]["error"], "provider_refused",
            "{sent}"
        );
        assert_eq!(say_hi(&ann).await["content"], "All is well");
    }
    let logs = cura.logs();
    assert!(
        !logs.contains("ERROR"),
        "there is nothing an operator has to do: {logs}"
    );
    assert_eq!(provider.trials(), 0);
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_account_without_credit_is_found_out_by_a_request_of_our_own() {
    let provider = ScriptedProvider::start(|_, _| {
        let message = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.";
        refusal("400 Bad Request", "", &error("invalid_request_error", message))
    })
    .await;
    let cura = of_anthropic(&provider).await;
    let ann = cura.user().await;
    assert_eq!(say_hi(&ann).await["metadata"]["error"], "provider_quota_exhausted");
    cura.workers[0].wait_for_log("ERROR").await;
    assert_eq!(say_hi(&ann).await["metadata"]["error"], "provider_quota_exhausted");
    assert_eq!(provider.requests().len(), 1, "it is left alone");
    assert!(provider.trials() > 1, "one refusal may be a glitch");
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_key_that_is_refused_once_between_good_answers_shuts_nobody_out() {
    let provider = ScriptedProvider::start(|number, asked| {
        if number == 0 && asks(asked, "Hi") {
            return refusal("401 Unauthorized", "", &json!({}));
        }
        answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let (eve, ann) = (
        cura.client().register("eve@example.com").await,
        cura.client().register("ann@example.com").await,
    );
    assert_eq!(say_hi(&eve).await["content"], "All is well");
    eventually("a request of our own is answered", async || {
        cura.logs().contains("answers our own").then_some(())
    })
    .await;
    for person in [&eve, &ann] {
        assert_eq!(say_hi(person).await["content"], "All is well");
    }
    assert!(!cura.logs().contains("ERROR"), "{}", cura.logs());
    assert_eq!(provider.trials(), 1);
    cura.check_invariants().await;
}

/// Whoever opens many accounts at one address can make two of them fail: that is tried, and found to be wrong.
#[tokio::test]
async fn many_persons_whose_messages_fail_delay_nobody_else_either() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asks(asked, "poison") {
            return refusal("500 Internal Server Error", "", &json!({}));
        }
        answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    for n in 0..8 {
        let eve = cura.client().register(&format!("eve{n}@example.com")).await;
        eve.ask("poison").await;
    }
    eventually("a request of our own is answered", async || {
        cura.logs().contains("answers our own").then_some(())
    })
    .await;
    assert_eq!(say_hi(&ann).await["content"], "All is well");
    let logs = cura.logs();
    assert!(!logs.contains("circuit breaker opened"), "{logs}");
}

async fn of_anthropic(provider: &ScriptedProvider) -> Cura {
    Cura::builder()
        .with_provider(provider)
        .with("AI_MODEL_PROVIDER", "anthropic")
        .start()
        .await
}
