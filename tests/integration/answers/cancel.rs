//! Stopping an answer: at once, for good, with the text that was streamed, and without a call that is not needed.

use std::time::{Duration, Instant};

use cura_tests::client::text_after;
use cura_tests::provider::{Step, chunk};
use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::json;

/// That one attempt was ended by its own worker, and not by the server that waited for it in vain.
async fn check_that_the_worker_stopped(cura: &Cura) {
    for (attempts, count) in [
        ("SELECT count(*) FROM answer_attempts WHERE outcome = 'cancelled'", 1),
        ("SELECT count(*) FROM answer_attempts", 1),
    ] {
        assert_eq!(cura.database.count(attempts).await, count, "{attempts}");
    }
}

/// A provider that says three words and then nothing until it is let go.
async fn stalling() -> ScriptedProvider {
    ScriptedProvider::start(|_, _| {
        let mut steps = vec![Step::Head];
        steps.extend(["One ", "two ", "three"].map(|word| Step::Write(chunk(word))));
        steps.push(Step::Hang);
        steps
    })
    .await
}

#[tokio::test]
async fn a_running_answer_is_stopped_by_its_worker_and_keeps_what_was_streamed() {
    let provider = stalling().await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let seen = stream.until_text("One two three").await;
    let answer = seen[0].data["message_id"].clone();
    let stopped = user.cancel(&answer).await;
    check_that_the_worker_stopped(&cura).await;
    assert_eq!(stopped.status, 200, "{}", stopped.body);
    assert_eq!(stopped.body["status"], "sent");
    assert_eq!(stopped.body["content"], "One two three");
    assert_eq!(stopped.body["metadata"]["finish_reason"], "cancelled");
    assert_eq!(stopped.body["metadata"]["usage"]["estimated"], true);
    provider.wait_for_disconnect().await;
    let end = stream.rest().await.pop().unwrap();
    assert_eq!((end.name.as_str(), &end.data["message"]), ("complete", &stopped.body));
    let again = user.cancel(&answer).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &stopped.body));
    cura.check_invariants().await;
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
async fn a_frozen_worker_does_not_keep_anybody_from_stopping_its_answer() {
    let provider = stalling().await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut seen = stream.until_text("One two three").await;
    let answer = seen[0].data["message_id"].clone();
    eventually("it is saved", async || {
        let saved = "SELECT count(*) FROM messages WHERE status = 'sending' AND content <> ''";
        (cura.database.count(saved).await == 1).then_some(())
    })
    .await;
    cura.workers[0].signal("STOP");
    let begun = Instant::now();
    let stopped = user.cancel(&answer).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(stopped.status, 200);
    assert_eq!(stopped.body["content"], "One two three");
    assert_eq!(stopped.body["metadata"]["finish_reason"], "cancelled");
    cura.workers[0].signal("CONT");
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), "One two three");
    assert!(
        stopped.body["metadata"]["ttft_ms"].is_i64(),
        "it was saved before: {}",
        stopped.body
    );
    cura.check_invariants().await;
    assert_eq!(
        user.get(&format!("/chat/messages/{answer}")).await.body,
        stopped.body,
        "what the worker wrote after it woke up changed nothing"
    );
}

#[tokio::test]
async fn twenty_that_stop_at_once_are_told_the_same() {
    let provider = stalling().await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let answer = stream.until("chunk").await[0].data["message_id"].clone();
    let replies = futures_util::future::join_all((0..20).map(|_| user.cancel(&answer))).await;
    for reply in &replies {
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &replies[0].body));
    }
    assert_eq!(
        cura.database.count("SELECT count(*) FROM answer_attempts").await,
        1,
        "one attempt, counted once"
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn only_answers_of_ones_own_can_be_stopped() {
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
