//! Answers that wait for the scans of their question's files.

use std::time::Duration;

use cura_domain::UserId;
use cura_tests::{Client, Cura, Form, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::attachments::asked;
use super::{execute, samples};

/// A server with a question whose file waits for its scan, and a worker that does not get to it. Gives the answer's id.
async fn waiting_for_a_scan(provider: &ScriptedProvider) -> (Cura, Client, Value) {
    let mut cura = Cura::builder().with_provider(provider).workers(0).start().await;
    let user = cura.user().await;
    let file = user.upload(Form::of("a.png", samples::PNG)).await.body["id"].clone();
    execute(
        &cura,
        "UPDATE apalis.jobs SET run_at = now() + interval '1 hour' WHERE job_type = 'scan-upload'",
    )
    .await;
    let sent = user
        .send_without_waiting(&json!({ "content": "Look", "attachments": [file] }))
        .await;
    assert_eq!(
        (
            sent.status.as_u16(),
            &sent.body["user_message"]["attachments"][0]["status"]
        ),
        (202, &json!("scanning")),
        "{}",
        sent.body
    );
    cura.add_worker().await;
    let waits =
        "SELECT count(*) FROM apalis.jobs WHERE job_type = 'generate-answer' AND status = 'Pending' AND run_at > now()";
    eventually("the answer waits", async || {
        (cura.database.count(waits).await == 1).then_some(())
    })
    .await;
    assert!(provider.requests().is_empty());
    (cura, user, sent.body["assistant_message"]["id"].clone())
}

/// Puts the answer off by an hour, so that it is released or does not begin: not while it looks whether it has to wait on.
async fn put_off(cura: &Cura) {
    eventually("it does not begin by itself", async || {
        let later = "WITH later AS (
                         UPDATE apalis.jobs SET run_at = now() + interval '1 hour'
                         WHERE job_type = 'generate-answer' AND status = 'Pending' RETURNING id)
                     SELECT count(*) FROM later";
        (cura.database.count(later).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_waits_for_a_scan_and_is_released_by_it() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let (cura, user, answer) = waiting_for_a_scan(&provider).await;
    put_off(&cura).await;
    execute(
        &cura,
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'scan-upload'",
    )
    .await;
    let message = user.until_final(&answer).await;
    assert_eq!(
        (&message["status"], &message["metadata"]["attempts"]),
        (&json!("sent"), &json!(1))
    );
    assert!(
        !asked(&provider).contains("still being checked"),
        "{}",
        asked(&provider)
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn after_a_minute_an_answer_goes_on_without_the_file() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let (cura, user, answer) = waiting_for_a_scan(&provider).await;
    execute(
        &cura,
        &format!("UPDATE messages SET created_at = created_at - interval '61 seconds' WHERE id = {answer}"),
    )
    .await;
    let message = user.until_final(&answer).await;
    assert_eq!(
        (&message["status"], &message["metadata"]["attempts"]),
        (&json!("sent"), &json!(1))
    );
    assert!(asked(&provider).contains("still being checked"), "{}", asked(&provider));
}

#[tokio::test]
async fn an_answer_that_waits_for_a_scan_takes_no_turn_of_another() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let (cura, user, answer) = waiting_for_a_scan(&provider).await;
    let mut connection = cura.database.pool().acquire().await.unwrap();
    let owner: i64 = sqlx::query_scalar("SELECT id FROM users")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let other = user.send_without_waiting(&json!({ "content": "Hi" })).await.body["assistant_message"]["id"].clone();
    user.until_final(&other).await;
    let startable = cura_store::answers::list_startable(&mut connection, UserId(owner), 1)
        .await
        .unwrap();
    assert!(startable.is_empty(), "{startable:?}");
    // After a minute it is one that can start.
    execute(
        &cura,
        &format!("UPDATE messages SET created_at = created_at - interval '61 seconds' WHERE id = {answer}"),
    )
    .await;
    user.until_final(&answer).await;
}

#[tokio::test]
async fn a_worker_that_dies_while_an_answer_waits_does_not_end_the_waiting() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let (cura, user, answer) = waiting_for_a_scan(&provider).await;
    // As the rescuer leaves it.
    execute(
        &cura,
        "UPDATE apalis.jobs SET attempts = 1, run_at = now() WHERE job_type = 'generate-answer' AND status = 'Pending'",
    )
    .await;
    eventually("it waits on", async || {
        let waits = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'generate-answer' AND status = 'Pending' AND run_at > now()";
        (cura.database.count(waits).await == 1).then_some(())
    })
    .await;
    assert!(provider.requests().is_empty());
    execute(
        &cura,
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'scan-upload'",
    )
    .await;
    let message = user.until_final(&answer).await;
    assert_eq!(message["status"], "sent");
    assert!(
        !asked(&provider).contains("still being checked"),
        "{}",
        asked(&provider)
    );
}

#[tokio::test]
async fn a_scan_that_ends_while_its_file_is_sent_is_seen_by_the_answer() {
    let many = "1000000";
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("RATE_LIMIT_UPLOAD", many)
        .start()
        .await;
    let user = cura.user().await;
    for n in 0..8 {
        let file = user.upload(Form::of("a.png", samples::png_number(n))).await.body["id"].clone();
        // Sooner or later in its scan.
        tokio::time::sleep(Duration::from_millis(u64::from(n) * 60)).await;
        let sent = user
            .post("/chat/send", &json!({ "content": "Look", "attachments": [file] }))
            .await;
        assert_eq!(sent.body["assistant_message"]["status"], "sent", "{}", sent.body);
        assert!(
            !asked(&provider).contains("still being checked"),
            "{}",
            asked(&provider)
        );
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_waits_for_a_scan_can_be_cancelled() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let (_cura, user, answer) = waiting_for_a_scan(&provider).await;
    let cancelled = user.cancel(&answer).await;
    assert_eq!(
        cancelled.body["metadata"]["finish_reason"], "cancelled",
        "{}",
        cancelled.body
    );
    assert!(provider.requests().is_empty());
}

#[tokio::test]
async fn an_answer_that_waits_for_a_scan_is_released_when_its_file_is_deleted() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let (cura, user, answer) = waiting_for_a_scan(&provider).await;
    put_off(&cura).await;
    let file = user.get("/uploads").await.body["items"][0]["id"].clone();
    let deleted = user.send(user.request(Method::DELETE, &format!("/uploads/{file}")));
    assert_eq!(deleted.await.status, 204);
    let message = user.until_final(&answer).await;
    assert_eq!(
        (&message["status"], &message["metadata"]["attempts"]),
        (&json!("sent"), &json!(1))
    );
    assert!(
        !asked(&provider).contains("still being checked"),
        "{}",
        asked(&provider)
    );
    cura.check_invariants().await;
}
