//! Cancelling an answer: at once, for good, with the text that was streamed, and without a needless call of the provider.

use std::time::{Duration, Instant};

use cura_tests::provider::Step;
use cura_tests::{Cura, InterruptedAnswer, ScriptedProvider, interrupted_answer};
use serde_json::json;

/// Checks that the worker ended its one attempt, and not the server that waited for it.
async fn check_that_the_worker_stopped(cura: &Cura) {
    for (attempts, count) in [
        ("SELECT count(*) FROM answer_attempts WHERE outcome = 'cancelled'", 1),
        ("SELECT count(*) FROM answer_attempts", 1),
    ] {
        assert_eq!(cura.database.count(attempts).await, count, "{attempts}");
    }
}

/// An answer that stalls after three words.
async fn stalled() -> InterruptedAnswer {
    interrupted_answer()
        .stalling_after(&["One ", "two ", "three"])
        .start()
        .await
}

#[tokio::test]
async fn a_running_answer_is_stopped_by_its_worker_and_keeps_what_was_streamed() {
    let mut answer = stalled().await;
    let stopped = answer.cancel().await;
    check_that_the_worker_stopped(&answer.cura).await;
    assert_eq!(stopped.status, 200, "{}", stopped.body);
    assert_eq!(stopped.body["status"], "sent");
    assert_eq!(stopped.body["content"], "One two three");
    assert_eq!(stopped.body["metadata"]["finish_reason"], "cancelled");
    assert_eq!(stopped.body["metadata"]["usage"]["estimated"], true);
    answer.provider.wait_for_disconnect().await;
    answer.read_rest().await;
    let end = answer.last();
    assert_eq!((end.name.as_str(), &end.data["message"]), ("complete", &stopped.body));
    let again = answer.cancel().await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &stopped.body));
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_queued_answer_that_is_stopped_never_reaches_the_provider() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let mut cura = Cura::builder().workers(0).with_provider(&provider).start().await;
    let user = cura.user().await;
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await;
    let mut stream = user
        .resume(sent.body["assistant_message"]["id"].as_i64().unwrap(), None)
        .await;
    let stopped = user.cancel(&sent.body["assistant_message"]["id"]).await;
    assert_eq!((stopped.status.as_u16(), &stopped.body["content"]), (200, &json!("")));
    assert_eq!(stopped.body["metadata"]["finish_reason"], "cancelled");
    assert_eq!(stream.rest().await.last().unwrap().name, "complete");
    let other = user.send_without_waiting(&json!({ "content": "Ho" })).await;
    cura.add_worker().await;
    let answered = user.until_final(&other.body["assistant_message"]["id"]).await;
    assert_eq!(answered["status"], "sent");
    assert_eq!(provider.requests().len(), 1);
    let message = provider.requests()[0].body["messages"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(message["content"], "Ho");
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_the_provider_has_not_begun_stops_too() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Hang]).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await;
    provider.wait_for_requests(1).await;
    let stopped = user.cancel(&sent.body["assistant_message"]["id"]).await;
    check_that_the_worker_stopped(&cura).await;
    assert_eq!(stopped.body["metadata"]["finish_reason"], "cancelled");
    provider.wait_for_disconnect().await;
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_frozen_worker_does_not_keep_a_user_from_cancelling_its_answer() {
    let mut answer = stalled().await;
    answer.until_checkpointed().await;
    answer.cura.workers[0].signal("STOP");
    let begun = Instant::now();
    let stopped = answer.cancel().await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(stopped.status, 200);
    assert_eq!(stopped.body["content"], "One two three");
    assert_eq!(stopped.body["metadata"]["finish_reason"], "cancelled");
    answer.cura.workers[0].signal("CONT");
    answer.read_rest().await;
    assert_eq!(answer.text_seen(), "One two three");
    assert!(
        stopped.body["metadata"]["ttft_ms"].is_i64(),
        "it was stored before: {}",
        stopped.body
    );
    answer.cura.check_invariants().await;
    assert_eq!(
        answer.user.get(&format!("/chat/messages/{}", answer.id())).await.body,
        stopped.body,
        "what the worker wrote after it woke up changed nothing"
    );
}

#[tokio::test]
async fn twenty_cancels_at_once_get_the_same_answer() {
    let answer = stalled().await;
    let replies = futures_util::future::join_all((0..20).map(|_| answer.cancel())).await;
    for reply in &replies {
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &replies[0].body));
    }
    let attempts = "SELECT count(*) FROM answer_attempts";
    assert_eq!(
        answer.cura.database.count(attempts).await,
        1,
        "one attempt, counted once"
    );
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn only_own_answers_can_be_cancelled() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    let question = user.cancel(&sent["user_message"]["id"]).await;
    assert_eq!((question.status.as_u16(), question.code()), (404, "message_not_found"));
    let done = user.cancel(&sent["assistant_message"]["id"]).await;
    assert_eq!((done.status.as_u16(), &done.body), (200, &sent["assistant_message"]));
    let other = cura.client().register("other@example.com").await;
    let theirs = other.cancel(&sent["assistant_message"]["id"]).await;
    assert_eq!((theirs.status.as_u16(), theirs.code()), (404, "message_not_found"));
}
