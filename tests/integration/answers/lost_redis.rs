//! Redis is killed, or away from the start: answers lose no word.

use std::time::Duration;

use cura_tests::client::text_after;
use cura_tests::provider::{Latch, words};
use cura_tests::{Cura, ScriptedProvider, eventually};

#[tokio::test]
async fn redis_killed_in_the_middle_costs_no_word() {
    let words = words(100);
    let text = words.concat();
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&words, Duration::from_millis(20), &latch).await;
    let mut cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut seen = stream.until_word(&words[18]).await;
    cura.redis.kill();
    eventually("it is noticed", async || {
        (user.get("/health").await.body["status"] == "degraded").then_some(())
    })
    .await;
    cura.redis.restart();
    latch.open();
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), text);
    assert_eq!(seen.last().unwrap().data["message"]["content"], text);
    cura.check_invariants().await;
}

#[tokio::test]
async fn without_redis_the_answer_still_comes() {
    let provider = ScriptedProvider::answering(&["Here ", "I am"], Duration::from_millis(50)).await;
    let mut cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    cura.redis.kill();
    let seen = user.stream("Hi").await.rest().await;
    assert_eq!(text_after("", &seen), "Here I am");
    assert_eq!(seen.last().unwrap().name, "complete");
    cura.check_invariants().await;
}
