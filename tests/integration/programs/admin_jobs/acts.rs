//! Acts on jobs that need a database alone: retrying, cancelling and pruning, by one operator and by two at once.

use cura_tests::TestDatabase;
use serde_json::json;

use super::super::admin::text;
use super::{json_of, run, sql, text_of};

/// Dead jobs of a queue that need nothing but a worker.
pub(super) async fn with_dead_jobs(queue: &str, count: u32) -> TestDatabase {
    let database = TestDatabase::create().await;
    sql(
        &database,
        &format!(
            "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key, last_result,
                                      metadata)
             SELECT '01K2ZZZZZZ' || lpad(n::text, 16, '0'), '\\x7b7d', '{queue}', 'Killed', 3, 3, now(), now() - interval '1 day', 0, n::text,
                    '{{\"Err\": \"it was away\"}}', hstore(ARRAY['on_failure', 'on_failure_attempts'], ARRAY['fail-scan', '25'])
             FROM generate_series(1, {count}) n"
        ),
    )
    .await;
    database
}

fn id(number: u32) -> String {
    format!("01K2ZZZZZZ{number:016}")
}

#[tokio::test]
async fn dead_jobs_are_retried_once_by_two_operators_at_once_and_spread_over_the_time() {
    let database = with_dead_jobs("send-push", 1200).await;
    let all = || {
        let url = database.url();
        std::thread::spawn(move || {
            let arguments = ["retry", "--all", "--queue", "send-push", "--over", "10m", "--json"];
            super::run_with(&[("DATABASE_URL", url)], &arguments)
        })
    };
    let both = [all(), all()].map(|operator| operator.join().unwrap());
    let mut retried = 0;
    for output in both {
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        retried += said["retried"].as_u64().unwrap();
    }
    assert_eq!(retried, 1200);
    let wrong = "SELECT count(*) FROM apalis.jobs
                 WHERE status <> 'Pending' OR max_attempts <> 53 OR attempts <> 3 OR priority <> -2 OR done_at IS NOT NULL";
    assert_eq!(database.count(wrong).await, 0);
    let late = "SELECT count(*) FROM apalis.jobs WHERE run_at > now() + interval '4 minutes'";
    let late = database.count(late).await;
    assert!(
        (500..=800).contains(&late),
        "{late} of them wait longer than four of ten minutes"
    );
    let audited = "SELECT COALESCE(sum((arguments ->> 'retried')::int), 0) FROM operator_actions
                   WHERE action = 'jobs.retry' AND target = 'send-push' AND failure IS NULL";
    assert_eq!(database.count(audited).await, 1200);
    let again = json_of(
        |arguments| run(&database, arguments),
        &["retry", "--all", "--queue", "send-push"],
    );
    assert_eq!(again, json!({ "retried": 0, "refused": {} }));
}

#[tokio::test]
async fn single_jobs_are_retried_and_one_that_is_not_there_keeps_no_other_from_it() {
    let database = with_dead_jobs("title-conversation", 2).await;
    let run = |arguments: &[&str]| run(&database, arguments);
    let output = run(&["retry", &id(1), "none", &id(2), "--json"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap(),
        json!({ "retried": 2, "refused": {} })
    );
    let ready = "SELECT count(*) FROM apalis.jobs WHERE status = 'Pending' AND run_at <= now() AND max_attempts = 6";
    assert_eq!(database.count(ready).await, 2);
    let audited = "SELECT count(*) FROM operator_actions WHERE action = 'jobs.retry'";
    assert_eq!(database.count(audited).await, 3, "one of them was not there");
    assert_eq!(run(&["retry", &id(1)]).status.code(), Some(3), "it is ready");
}

#[tokio::test]
async fn a_scan_whose_file_waits_for_none_is_not_retried() {
    let database = with_dead_jobs("scan-upload", 1).await;
    let run = |arguments: &[&str]| run(&database, arguments);
    let error = super::super::admin_devices::assert_fails(run, &["retry", &id(1)], 3, "file_not_scanning");
    assert!(error["cure"].as_str().unwrap().contains("files rescan 1"), "{error}");
    let all = json_of(run, &["retry", "--all", "--queue", "scan-upload"]);
    assert_eq!(all, json!({ "retried": 0, "refused": { "file_not_scanning": 1 } }));
    let failed = "SELECT count(*) FROM operator_actions WHERE failure = 'file_not_scanning'";
    assert_eq!(database.count(failed).await, 2);
}

#[tokio::test]
async fn a_job_that_waits_and_is_cancelled_never_starts_and_who_waits_for_it_is_told() {
    let database = with_dead_jobs("scan-upload", 2).await;
    sql(&database, "UPDATE apalis.jobs SET status = 'Pending', done_at = NULL").await;
    let run = |arguments: &[&str]| run(&database, arguments);
    let cancelled = json_of(run, &["cancel", &id(1)]);
    let expected = json!({ "items": [{ "id": id(1), "state": "cancelled", "message_id": null }], "next_cursor": null });
    assert_eq!(cancelled, expected);
    let told =
        "SELECT count(*) FROM apalis.jobs WHERE job_type = 'fail-scan' AND status = 'Pending' AND max_attempts = 25";
    assert_eq!(database.count(told).await, 1);
    assert_eq!(run(&["cancel", &id(1)]).status.code(), Some(3), "it is over");
    assert_eq!(
        run(&["retry", &id(1)]).status.code(),
        Some(3),
        "what was cancelled stays so"
    );
    assert!(text_of(run, &["cancel", &id(2)]).contains("is cancelled"));
    let audited = "SELECT count(*) FROM operator_actions WHERE action = 'jobs.cancel' AND failure IS NULL";
    assert_eq!(database.count(audited).await, 2);
}

#[tokio::test]
async fn retrying_and_cancelling_at_once_leaves_each_job_in_one_state() {
    let database = with_dead_jobs("title-conversation", 40).await;
    let ids: Vec<String> = (1..=40).map(id).collect();
    let (url, other) = (database.url(), database.url());
    let (retried, cancelled) = (ids.clone(), ids);
    let retrying = std::thread::spawn(move || {
        let ids: Vec<&str> = retried.iter().map(String::as_str).collect();
        super::run_with(&[("DATABASE_URL", url)], &[&["retry"], &ids[..]].concat())
    });
    let cancelling = std::thread::spawn(move || {
        let ids: Vec<&str> = cancelled.iter().map(String::as_str).collect();
        super::run_with(&[("DATABASE_URL", other)], &[&["cancel"], &ids[..]].concat())
    });
    assert_eq!(retrying.join().unwrap().status.code(), Some(0));
    let cancelled = cancelling.join().unwrap().status.code();
    assert!([Some(0), Some(3)].contains(&cancelled), "{cancelled:?}");
    let odd = "SELECT count(*) FROM apalis.jobs
               WHERE NOT (status = 'Pending' AND done_at IS NULL AND NOT metadata ? 'cancel')
                 AND NOT (status = 'Killed' AND done_at IS NOT NULL AND metadata ? 'cancel') AND job_type = 'title-conversation'";
    assert_eq!(database.count(odd).await, 0);
}

#[tokio::test]
async fn jobs_that_are_over_are_pruned_and_nothing_else_is() {
    let database = with_dead_jobs("send-push", 1500).await;
    sql(
        &database,
        "UPDATE apalis.jobs SET status = 'Pending' WHERE id < '01K2ZZZZZZ0000000000000011'",
    )
    .await;
    let run = |arguments: &[&str]| run(&database, arguments);
    let before = ["prune", "--state", "dead", "--before", "2020-01-01", "--yes"];
    assert_eq!(json_of(run, &before), json!({ "pruned": 0 }));
    let moment: String = sqlx::query_scalar(
        "SELECT to_char(now() AT TIME ZONE 'UTC' - interval '2 hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    )
    .fetch_one(database.pool())
    .await
    .unwrap();
    let arguments = [
        "prune",
        "--state",
        "dead",
        "--queue",
        "send-push",
        "--before",
        &moment,
        "--yes",
    ];
    assert_eq!(json_of(run, &arguments), json!({ "pruned": 1490 }));
    assert_eq!(database.count("SELECT count(*) FROM apalis.jobs").await, 10);
    let batches = "SELECT count(*) FROM operator_actions WHERE action = 'jobs.prune' AND target = 'send-push'";
    assert_eq!(database.count(batches).await, 2);
}
