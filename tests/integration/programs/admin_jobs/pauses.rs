//! Paused queues, as people and operators see them.

use std::time::{Duration, Instant};

use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::json;

use super::super::admin::text;
use super::{json_of, run_beside, run_with, text_of};

#[tokio::test]
async fn people_wait_in_a_paused_queue_until_it_is_resumed_although_all_workers_are_killed_meanwhile() {
    let provider = ScriptedProvider::answering(&["Here ", "I am"], Duration::ZERO).await;
    let mut cura = Cura::builder().workers(2).with_provider(&provider).start().await;
    let user = cura.user().await;
    let paused = json_of(
        |arguments| run_beside(&cura, arguments),
        &["pause", "generate-answer", "--reason", "the bill is too high"],
    );
    assert_eq!(
        (&paused["queue"], &paused["operator"], &paused["reason"]),
        (&json!("generate-answer"), &json!("ada"), &json!("the bill is too high"))
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut stream = user.stream("Hi").await;
    let queued = stream.until("queued").await;
    assert_eq!(queued.last().unwrap().data["position"], 1);
    let health = eventually("health says so", async || {
        let health = user.get("/health").await.body;
        (health["status"] == "degraded").then_some(health)
    })
    .await;
    assert_eq!(health["queue"]["paused"], json!(["generate-answer"]));
    // Both of them: only the row knows of the pause.
    for worker in &mut cura.workers {
        worker.kill();
    }
    cura.add_worker().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(provider.requests().is_empty(), "nothing was begun");

    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert!(text_of(run, &["stats"]).contains("by ada: the bill is too high"));
    let cancelled = user.ask("not wanted").await;
    let job = super::job_of(&cura.database, &cancelled).await;
    assert_eq!(json_of(run, &["cancel", &job])["items"][0]["state"], "cancelled");
    let resumed = Instant::now();
    assert_eq!(
        json_of(run, &["resume", "generate-answer"]),
        json!({ "resumed": "generate-answer" })
    );
    let seen = stream.rest().await;
    assert_eq!(seen.last().unwrap().name, "complete", "{seen:?}");
    assert!(resumed.elapsed() < Duration::from_secs(10), "{:?}", resumed.elapsed());
    assert_eq!(provider.requests().len(), 1, "what was cancelled is never asked for");
    let audited = "SELECT count(*) FROM operator_actions WHERE action IN ('jobs.pause', 'jobs.resume') AND target = 'generate-answer'";
    assert_eq!(cura.database.count(audited).await, 2);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_queue_is_paused_without_redis() {
    let cura = Cura::without_workers().await;
    let away = [
        ("DATABASE_URL", cura.database.url()),
        ("REDIS_URL", "redis://127.0.0.1:9".to_owned()),
    ];
    for arguments in [
        &["pause", "send-push", "--reason", "first"][..],
        &["pause", "send-push", "--reason", "second"],
        &["stats"],
        &["resume", "send-push"],
    ] {
        let output = run_with(&away, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(run_with(&away, &["resume", "send-push"]).status.code(), Some(3));
}
