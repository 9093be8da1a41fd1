//! A provider that fails for many: who else is affected, and what operators see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cura_tests::provider::{Step, answer, refusal};
use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::json;

#[tokio::test]
async fn messages_that_always_fail_delay_no_other_user() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body["messages"].to_string().contains("poison") {
            return vec![Step::Head, Step::Write("data: rubbish\n\n".to_owned()), Step::End];
        }
        answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let poison = async |n: usize| {
        let poisoned = cura.client().register(&format!("poison{n}@example.com")).await;
        let sent = poisoned.post("/chat/send", &json!({ "content": "poison" })).await;
        assert_eq!(sent.body["assistant_message"]["metadata"]["error"], "provider_protocol");
    };
    let healthy = async {
        for failed in [3, 6] {
            eventually("they fail", async || {
                let asked = provider.requests().into_iter();
                let poison = asked.filter(|asked| asked.body["messages"].to_string().contains("poison"));
                (poison.count() >= failed).then_some(())
            })
            .await;
            let begun = Instant::now();
            let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
            assert_eq!(sent["assistant_message"]["content"], "All is well", "{sent}");
            assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        }
    };
    tokio::join!(poison(0), poison(1), poison(2), healthy);
    assert!(!cura.logs().contains("circuit breaker opened"), "{}", cura.logs());
    cura.check_invariants().await;
}

#[tokio::test]
async fn waiting_for_a_provider_is_no_attempt_also_when_it_comes_back() {
    let works = Arc::new(AtomicBool::new(false));
    let provider = {
        let works = Arc::clone(&works);
        ScriptedProvider::start(move |_, _| {
            if !works.load(Ordering::SeqCst) {
                return refusal("500 Internal Server Error", "", &json!({}));
            }
            let mut steps = vec![Step::Head, Step::Pause(Duration::from_millis(300))];
            steps.extend(answer(&["All ", "is ", "well"], Duration::ZERO).split_off(1));
            steps
        })
        .await
    };
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("USER_RUNNING_ANSWERS", "0")
        .start()
        .await;
    let mut asking = Vec::new();
    for n in 0..12 {
        if n == 5 {
            eventually("the circuit breaker opens", async || {
                cura.logs().contains("circuit breaker opened").then_some(())
            })
            .await;
            works.store(true, Ordering::SeqCst);
        }
        let user = cura.client().register(&format!("user{n}@example.com")).await;
        let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await;
        asking.push((user, sent.body["assistant_message"]["id"].clone()));
    }
    for (n, (user, answer)) in asking.iter().enumerate() {
        let message = user.until_final(answer).await;
        assert_eq!(message["content"], "All is well");
        if n >= 5 {
            assert_eq!(message["metadata"]["attempts"], 1, "it was asked for once: {message}");
        }
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_message_the_provider_forbids_is_refused_and_no_other() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body["messages"].to_string().contains("flag me") {
            let flagged = json!({ "error": { "code": 403, "message": "Your input was flagged" } });
            return refusal("403 Forbidden", "", &flagged);
        }
        answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.post("/chat/send", &json!({ "content": "flag me" })).await.body;
    assert_eq!(sent["assistant_message"]["metadata"]["error"], "provider_refused");
    let other = cura.client().register("other@example.com").await;
    let sent = other.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    assert_eq!(sent["assistant_message"]["content"], "All is well", "{sent}");
    assert!(
        !cura.logs().contains("ERROR"),
        "there is nothing an operator has to do: {}",
        cura.logs()
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_key_that_is_refused_is_an_alert_once_and_then_errors_at_once() {
    let provider = ScriptedProvider::start(|_, _| refusal("401 Unauthorized", "", &json!({}))).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    for n in 0..5 {
        let begun = Instant::now();
        let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
        assert_eq!(sent["assistant_message"]["metadata"]["error"], "provider_unauthorized");
        let most = if n == 0 { 40 } else { 8 };
        assert!(begun.elapsed() < Duration::from_secs(most), "{:?}", begun.elapsed());
        cura.workers[0].wait_for_log("ERROR").await;
    }
    let alerts = cura.logs().lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(alerts, 1, "{}", cura.logs());
    assert_eq!(provider.requests().len(), 1, "no further request uses the wrong key");
    assert!(provider.trials() > 1, "ours confirmed it");
    cura.check_invariants().await;
}
