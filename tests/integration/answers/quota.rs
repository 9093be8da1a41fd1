//! The daily quota: used up, reserved by running answers, and reset.

use std::time::Duration;

use cura_tests::provider::Latch;
use cura_tests::{Cura, ScriptedProvider};
use serde_json::json;

#[tokio::test]
async fn a_user_over_the_daily_quota_sees_when_it_resets() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("USER_DAILY_TOKENS", "15")
        .start()
        .await;
    let user = cura.user().await;
    for _ in 0..2 {
        let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await;
        assert_eq!(sent.status, 200, "as long as anything is left: {}", sent.body);
    }
    let refused = user.post("/chat/send", &json!({ "content": "Hi" })).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "quota_exceeded"));
    assert!(
        refused.body["resets_at"].as_str().unwrap().contains("T00:00:00"),
        "{}",
        refused.body
    );
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds));
    assert_eq!(refused.header("ratelimit-limit"), Some("15"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    assert_eq!(refused.header("ratelimit-reset"), refused.header("retry-after"));
    let other = cura.client().register("other@example.com").await;
    assert_eq!(other.post("/chat/send", &json!({ "content": "Hi" })).await.status, 200);
    assert_eq!(provider.requests().len(), 3);
    cura.check_invariants().await;
}

#[tokio::test]
async fn twenty_questions_at_once_do_not_get_around_the_quota() {
    // Final, an answer has nothing reserved any more, and another one may be asked for.
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&["Hello"], Duration::ZERO, &latch).await;
    let cura = Cura::builder()
        .servers(2)
        .with_provider(&provider)
        .with("USER_DAILY_TOKENS", "100")
        .start()
        .await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    let hi = json!({ "content": "Hi" });
    let sends = (0..20).map(|n| [&user, &there][n % 2].try_send_without_waiting(&hi));
    let replies = futures_util::future::join_all(sends).await;
    let taken = replies.iter().filter(|reply| reply.status == 202).count();
    assert_eq!(taken, 1, "the first reserves what is left");
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == 202 || reply.code() == "quota_exceeded")
    );
    latch.open();
    let first = replies.iter().find(|reply| reply.status == 202).unwrap();
    user.until_final(&first.body["assistant_message"]["id"]).await;
    let again = user.post("/chat/send", &json!({ "content": "Hi" })).await;
    assert_eq!(again.status, 200, "what it did not use is there again: {}", again.body);
    cura.check_invariants().await;
}
