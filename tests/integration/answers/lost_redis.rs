//! Redis is killed, or away from the start: answers lose no word.

use std::time::Duration;

use cura_tests::client::text_after;
use cura_tests::{Cura, ScriptedProvider, eventually, interrupted_answer};

#[tokio::test]
async fn redis_killed_in_the_middle_costs_no_word() {
    let mut answer = interrupted_answer().start().await;
    answer.cura.redis.kill();
    eventually("it is noticed", async || {
        (answer.user.get("/health").await.body["status"] == "degraded").then_some(())
    })
    .await;
    answer.cura.redis.restart();
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    assert_eq!(answer.last().data["message"]["content"], answer.text());
    answer.cura.check_invariants().await;
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
