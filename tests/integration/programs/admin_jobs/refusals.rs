//! Answers that are not retried, because nobody waits for them any more, or not yet; then nothing has changed.

use cura_tests::{Client, Cura, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::admin_devices::assert_fails;
use super::{job_of, json_of, refused, run_beside, run_with, sql};

/// A Cura whose provider refuses everything.
pub(super) async fn refusing(settings: &[(&'static str, &str)]) -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::start(|_, _| refused()).await;
    let mut builder = Cura::builder().with_provider(&provider);
    for (name, value) in settings {
        builder = builder.with(name, *value);
    }
    (builder.start().await, provider)
}

/// An answer that has failed, and its dead job.
pub(super) async fn failed(cura: &Cura, user: &Client) -> (Value, String) {
    let asked = user.ask("Hi").await;
    let message = user.until_final(&asked).await;
    assert_eq!(message["status"], "error");
    let job = job_of(&cura.database, &asked).await;
    // The answer ends before its job does.
    eventually("its job is dead", async || {
        let status = sqlx::query_scalar("SELECT status FROM apalis.jobs WHERE id = $1").bind(&job);
        let status: String = status.fetch_one(cura.database.pool()).await.unwrap();
        (status == "Killed").then_some(())
    })
    .await;
    (message, job)
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_retried_and_nothing_changes() {
    let (cura, _provider) = refusing(&[]).await;
    let user = cura.user().await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let (message, job) = failed(&cura, &user).await;
    let database = &cura.database;
    let states = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'generate-answer' AND status = 'Killed'";
    for (change, back, code) in [
        (
            "UPDATE users SET suspended_at = now()",
            "UPDATE users SET suspended_at = NULL",
            "user_suspended",
        ),
        (
            "UPDATE conversations SET deleted_at = now()",
            "UPDATE conversations SET deleted_at = NULL",
            "conversation_gone",
        ),
        (
            "UPDATE users SET erased_at = now()",
            "UPDATE users SET erased_at = NULL",
            "conversation_gone",
        ),
        (
            "UPDATE messages SET cancel_requested_at = now() WHERE role = 'assistant'",
            "UPDATE messages SET cancel_requested_at = NULL",
            "answer_cancelled",
        ),
        (
            "UPDATE messages SET status = 'sent', error_code = NULL, finish_reason = 'stop' WHERE role = 'assistant'",
            "UPDATE messages SET status = 'error', error_code = 'generation_failed', finish_reason = NULL WHERE role = 'assistant'",
            "answer_completed",
        ),
    ] {
        sql(database, change).await;
        assert_fails(run, &["retry", &job], 3, code);
        let all = json_of(run, &["retry", "--all", "--queue", "generate-answer"]);
        assert_eq!(all, json!({ "retried": 0, "refused": { code: 1 } }));
        sql(database, back).await;
        assert_eq!(database.count(states).await, 1, "{code}");
    }
    let failures = "SELECT count(*) FROM operator_actions WHERE action = 'jobs.retry' AND failure IS NOT NULL";
    assert_eq!(database.count(failures).await, 15);

    let again = user
        .request(Method::POST, &format!("/chat/messages/{}/regenerate", message["id"]))
        .header("Prefer", "wait=0")
        .json(&json!({}));
    let again = user.send(again).await.body["assistant_message"]["id"].clone();
    user.until_final(&again).await;
    assert_fails(run, &["retry", &job], 3, "answered_anew");
    let newest = job_of(database, &again).await;
    let edited = user
        .request(Method::POST, &format!("/chat/messages/{}/edit", message["parent_id"]))
        .header("Prefer", "wait=0")
        .json(&json!({ "content": "Ho" }));
    let edited = user.send(edited).await.body["assistant_message"]["id"].clone();
    user.until_final(&edited).await;
    assert_fails(run, &["retry", &newest], 3, "answered_anew");
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_beside_one_that_is_unfinished_waits_for_another_time() {
    let (mut cura, _provider) = refusing(&[]).await;
    let user = cura.user().await;
    let (message, job) = failed(&cura, &user).await;
    cura.workers.clear();
    let body = json!({ "content": "And?", "conversation_id": message["conversation_id"] });
    let next = user.send_without_waiting(&body).await.body["assistant_message"]["id"].clone();
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert_fails(run, &["retry", &job], 3, "conversation_busy");
    user.cancel(&next).await;
    assert_eq!(json_of(run, &["retry", &job])["retried"], 1);
    cura.add_worker().await;
    let failed_again = user.until_final(&message["id"]).await;
    assert_eq!(failed_again["status"], "error");
    cura.check_invariants().await;
}

#[tokio::test]
async fn the_tokens_and_the_answers_that_a_person_may_have_hold_for_retried_answers_too() {
    let limits = [("USER_DAILY_TOKENS", "100000"), ("USER_RUNNING_ANSWERS", "1")];
    let (mut cura, _provider) = refusing(&limits).await;
    let user = cura.user().await;
    let (message, job) = failed(&cura, &user).await;
    let (_, other) = failed(&cura, &user).await;
    cura.workers.clear();
    let variables = [("DATABASE_URL", cura.database.url())];
    let limits = limits.map(|(name, value)| (name, value.to_owned()));
    let run = |arguments: &[&str]| run_with(&[&variables[..], &limits[..]].concat(), arguments);
    sql(
        &cura.database,
        "INSERT INTO usage_days (user_id, day, model, messages, input_tokens, output_tokens)
         SELECT id, (now() AT TIME ZONE 'UTC')::date, 'other', 0, 100000, 0 FROM users",
    )
    .await;
    assert_fails(run, &["retry", &job], 3, "quota_exceeded");
    sql(&cura.database, "DELETE FROM usage_days WHERE model = 'other'").await;
    assert_eq!(json_of(run, &["retry", &job])["retried"], 1);
    let reserved = "SELECT COALESCE(sum(reserved_tokens), 0)::bigint FROM messages WHERE running";
    assert!(cura.database.count(reserved).await > 0, "as if it were asked now");
    // As many as a person may have wait already.
    let fill = "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
                SELECT c.id, c.user_id, 'assistant', '', 'sending', now(), now()
                FROM generate_series(1, 19), (SELECT min(id) AS id, min(user_id) AS user_id FROM conversations) c";
    sql(&cura.database, fill).await;
    assert_fails(run, &["retry", &other], 3, "too_many_generations");
    sql(
        &cura.database,
        "DELETE FROM messages WHERE role = 'assistant' AND parent_id IS NULL",
    )
    .await;
    // The other waits for its turn, as if it were asked now.
    assert_eq!(json_of(run, &["retry", &other])["retried"], 1);
    cura.add_worker().await;
    user.until_final(&message["id"]).await;
    cura.check_invariants().await;
}
