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

#[tokio::test]
async fn redis_and_the_worker_killed_at_once_cost_what_was_not_saved_and_not_the_answer() {
    let mut answer = interrupted_answer().start().await;
    answer.until_checkpointed().await;
    let saved = saved_text(&answer.cura).await;
    // What comes now is in Redis only, until the next save.
    let last_but_one = answer.words[98].clone();
    while !answer.text_seen().contains(&last_but_one) {
        answer.read_until("chunk").await;
    }
    answer.cura.redis.kill();
    answer.cura.workers[0].kill();
    let kept = saved_text(&answer.cura).await;
    assert!(
        kept.starts_with(&saved) && answer.text().starts_with(&kept),
        "{saved}: {kept}"
    );
    answer.cura.redis.restart();
    answer.cura.add_worker().await;
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text(), "continuous, or cut back explicitly");
    assert_eq!(answer.last().data["message"]["content"], answer.text());
    assert_eq!(answer.last().data["message"]["metadata"]["attempts"], 2);
    let requests = answer.provider.requests();
    let prompt = requests[1].body["messages"].as_array().unwrap();
    let continued = &prompt[prompt.len() - 2];
    assert_eq!(continued["content"], kept, "the model goes on where the last save ends");
    answer.cura.check_invariants().await;
}

/// What Postgres has of the answer that is being written.
async fn saved_text(cura: &Cura) -> String {
    sqlx::query_scalar("SELECT content FROM messages WHERE status = 'sending'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap()
}
