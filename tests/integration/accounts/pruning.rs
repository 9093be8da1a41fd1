//! Pruning: rows that have expired are deleted once a period.

use cura_tests::{Cura, eventually};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn expired_rows_are_pruned_once_a_period_by_the_first_worker_that_comes() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    ann.post("/auth/ticket", &Value::Null).await;
    let request = ann
        .request(Method::POST, "/chat/send")
        .header("Idempotency-Key", "old")
        .header("Prefer", "wait=0");
    ann.send(request.json(&json!({ "content": "Hi" }))).await;
    cura.client().register("old@example.com").await;
    for age in [
        "UPDATE tickets SET expires_at = now() - interval '1 second'",
        "UPDATE idempotency_keys SET created_at = now() - interval '26 hours'",
        "UPDATE sessions SET expires_at = now() - interval '31 days' WHERE user_id = 2",
        "INSERT INTO exports (user_id, state, created_at, expires_at) VALUES (1, 'making', now(), now() - interval '1 second')",
        "INSERT INTO operator_actions (at, operator, via, action, arguments)
         VALUES (now() - interval '401 days', 'ada', 'command', 'old', '{}'), (now() - interval '399 days', 'ada', 'command', 'new', '{}')",
        "INSERT INTO events VALUES (1, 1001, 'old', '{}', now() - interval '8 days'), (1, 1002, 'new', '{}', now())",
    ] {
        sqlx::query(age).execute(cura.database.pool()).await.unwrap();
    }
    let mut cura = cura;
    cura.add_worker().await;
    cura.add_worker().await;
    let left = "SELECT ARRAY[(SELECT count(*) FROM tickets), (SELECT count(*) FROM idempotency_keys),
                             (SELECT count(*) FROM sessions), (SELECT count(*) FROM exports),
                             (SELECT count(*) FROM operator_actions),
                             (SELECT count(*) FROM events WHERE kind IN ('old', 'new'))]";
    eventually("the old is forgotten and the new is kept", async || {
        let left: Vec<i64> = sqlx::query_scalar(left).fetch_one(cura.database.pool()).await.unwrap();
        (left == [0, 0, 1, 0, 1, 1]).then_some(())
    })
    .await;
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE job_type = 'prune-expired'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert!(jobs == 15 || jobs == 30, "one of each kind a period: {jobs}");
}
