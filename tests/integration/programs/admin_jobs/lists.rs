//! What is counted, listed and shown, and how a command fails.

use std::time::{Duration, Instant};

use cura_tests::TestDatabase;
use serde_json::{Value, json};

use super::super::admin_devices::assert_fails;
use super::{json_of, run, run_with, sql, text_of};

/// A job of each state, in two queues.
async fn with_jobs() -> TestDatabase {
    let database = TestDatabase::create().await;
    for fill in [
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at, fault, failing_services)
         VALUES ('01W', 'cura', 'cura', '', now(), now() - interval '1 hour', 'provider_unauthorized', '{fcm}'),
                ('01A', 'cura', 'cura', '', now() - interval '1 hour', now() - interval '2 hours', NULL, NULL)",
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key,
                                  last_result, metadata, lock_by, lock_at)
         SELECT '01K2ZZZZZZ000000000000000' || v.n, convert_to('{\"message_id\": ' || v.n || '}', 'UTF8'), v.queue, v.status, v.n % 4, 4,
                now() + v.after * interval '1 minute', CASE WHEN v.status IN ('Done', 'Killed') THEN now() END, 0, v.n::text,
                CASE WHEN v.reason IS NOT NULL THEN jsonb_build_object('Err', v.reason) END, v.metadata,
                CASE WHEN v.status = 'Running' THEN '01W' END, CASE WHEN v.status = 'Running' THEN now() END
         FROM (VALUES (1, 'generate-answer', 'Done', -1, NULL, NULL::hstore),
                      (2, 'generate-answer', 'Killed', -1, 'attempt 4 of 4: provider_timeout',
                       hstore(ARRAY['user', 'conversation', 'on_failure'], ARRAY['5', '6', 'fail-abandoned-answer'])),
                      (3, 'generate-answer', 'Killed', -1, 'cancelled before it started', hstore('cancel', '1')),
                      (4, 'generate-answer', 'Pending', -1, NULL, NULL),
                      (5, 'send-push', 'Pending', 60, 'somebody watches; looking once more', NULL),
                      (6, 'generate-answer', 'Running', -1, NULL, NULL)) AS v (n, queue, status, after, reason, metadata)",
        "INSERT INTO paused_queues VALUES ('send-push', 'the service is away', 'ada', now())",
    ] {
        sql(&database, fill).await;
    }
    database
}

fn numbers(listed: &Value) -> Vec<i64> {
    let items = listed["items"].as_array().unwrap();
    let number = |item: &Value| {
        item["id"]
            .as_str()
            .unwrap()
            .chars()
            .last()
            .unwrap()
            .to_digit(10)
            .unwrap()
    };
    items.iter().map(|item| i64::from(number(item))).collect()
}

fn fields(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_queue_state_reason_and_time() {
    let database = with_jobs().await;
    let run = |arguments: &[&str]| run(&database, arguments);
    let all = json_of(run, &["list"]);
    assert_eq!(
        (numbers(&all), &all["next_cursor"]),
        (vec![6, 5, 4, 3, 2, 1], &Value::Null)
    );
    let expected = [
        "attempts",
        "conversation_id",
        "created_at",
        "ended_at",
        "id",
        "max_attempts",
        "queue",
        "reason",
        "run_at",
        "state",
        "user_id",
    ];
    assert_eq!(fields(&all["items"][0]), expected);
    for (filters, expected) in [
        (vec!["--queue", "send-push"], vec![5]),
        (vec!["--state", "ready"], vec![4]),
        (vec!["--state", "waiting"], vec![5]),
        (vec!["--state", "running"], vec![6]),
        (vec!["--state", "done"], vec![1]),
        (vec!["--state", "dead"], vec![2]),
        (vec!["--state", "cancelled"], vec![3]),
        (vec!["--reason", "timeout"], vec![2]),
        (vec!["--state", "done", "--reason", "timeout"], vec![]),
        (vec!["--since", "2000-01-01"], vec![6, 5, 4, 3, 2, 1]),
        (vec!["--since", "2100-01-01"], vec![]),
    ] {
        assert_eq!(
            numbers(&json_of(run, &[&["list"], &filters[..]].concat())),
            expected,
            "{filters:?}"
        );
    }
    let page = json_of(run, &["list", "--limit", "4"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(numbers(&page), [6, 5, 4, 3]);
    assert_eq!(
        numbers(&json_of(run, &["list", "--limit", "4", "--cursor", cursor])),
        [2, 1]
    );
    let read = text_of(run, &["list"]);
    assert!(read.starts_with("ID") && read.contains("provider_timeout"), "{read}");
}

#[tokio::test]
async fn a_job_is_shown_with_what_it_works_on_and_workers_with_what_they_run() {
    let database = with_jobs().await;
    let run = |arguments: &[&str]| run(&database, arguments);
    let id = "01K2ZZZZZZ0000000000000002";
    let mut shown = json_of(run, &["show", id]);
    for moment in ["created_at", "run_at", "ended_at"] {
        assert!(shown[moment].as_str().unwrap().ends_with('Z'), "{shown}");
        shown[moment] = Value::Null;
    }
    let expected = json!({
        "id": id, "queue": "generate-answer", "state": "dead", "attempts": 2, "max_attempts": 4, "created_at": null, "run_at": null,
        "ended_at": null, "reason": "attempt 4 of 4: provider_timeout", "user_id": 5, "conversation_id": 6, "key": "2", "priority": 0,
        "worker": null, "claimed_at": null, "cancel_requested": false, "on_failure": "fail-abandoned-answer",
        "payload": { "message_id": 2 },
    });
    assert_eq!(shown, expected);
    assert!(text_of(run, &["show", id]).contains("fail-abandoned-answer"));

    let workers = json_of(run, &["workers"]);
    let worker = &workers["items"][0];
    assert_eq!(
        fields(worker),
        [
            "alive",
            "failing_services",
            "fault",
            "id",
            "last_seen",
            "queues",
            "running",
            "started_at"
        ]
    );
    assert_eq!(
        (
            &worker["id"],
            &worker["alive"],
            &worker["fault"],
            &worker["failing_services"]
        ),
        (
            &json!("01W"),
            &json!(true),
            &json!("provider_unauthorized"),
            &json!(["fcm"])
        )
    );
    assert_eq!(worker["running"][0]["queue"], "generate-answer");
    assert_eq!(workers["items"][1]["alive"], false);
    let read = text_of(run, &["workers"]);
    assert!(
        read.contains("1 generate-answer") && read.contains("provider_unauthorized, fcm"),
        "{read}"
    );

    let stats = json_of(run, &["stats"]);
    let answers = json!({ "queue": "generate-answer", "ready": 1, "waiting": 0, "running": 1, "done": 1, "dead": 1, "cancelled": 1,
                          "is_more": false, "paused": null });
    assert_eq!((&stats["items"][0], &stats["next_cursor"]), (&answers, &Value::Null));
    assert_eq!(stats["items"][1]["paused"]["reason"], "the service is away");
    assert!(text_of(run, &["stats"]).contains("by ada: the service is away"));
}

#[tokio::test]
async fn what_is_asked_wrongly_says_so_and_what_is_not_there_is_not_found() {
    let database = with_jobs().await;
    let run = |arguments: &[&str]| run(&database, arguments);
    for (arguments, exit, code) in [
        (&["show", "none"][..], 4, "job_not_found"),
        (&["cancel", "none"], 4, "job_not_found"),
        (&["retry", "none"], 4, "job_not_found"),
        (&["list", "--queue", "no-queue"], 4, "queue_unknown"),
        (&["pause", "no-queue", "--reason", "x"], 4, "queue_unknown"),
        (&["resume", "no-queue"], 4, "queue_unknown"),
        (&["retry", "--all", "--queue", "no-queue"], 4, "queue_unknown"),
        (&["resume", "generate-answer"], 3, "queue_not_paused"),
        (&["cancel", "01K2ZZZZZZ0000000000000001"], 3, "job_over"),
        (&["retry", "01K2ZZZZZZ0000000000000001"], 3, "job_not_dead"),
        (&["retry", "01K2ZZZZZZ0000000000000003"], 3, "job_cancelled"),
        (
            &["prune", "--state", "dead", "--before", "2100-01-01", "--yes"],
            3,
            "jobs_too_young",
        ),
        (
            &["prune", "--state", "dead", "--before", "2020-01-01"],
            1,
            "not_confirmed",
        ),
    ] {
        assert_fails(run, arguments, exit, code);
    }
    for arguments in [
        &["list", "--state", "asleep"][..],
        &["list", "--limit", "0"],
        &["list", "--since", "yesterday"],
        &["pause", "send-push"],
        &["pause", "send-push", "--reason", " "],
        &["retry"],
        &["retry", "--all"],
        &["retry", "x", "--all", "--queue", "send-push"],
        &["retry", "--all", "--queue", "send-push", "--over", "1 minute"],
        &["prune", "--state", "ready", "--before", "2020-01-01"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn without_postgres_every_command_says_so_within_ten_seconds() {
    let away = [("DATABASE_URL", "postgres://nobody:hunter2@127.0.0.1:9/none".to_owned())];
    for arguments in [
        &["stats"][..],
        &["list"],
        &["show", "x"],
        &["workers"],
        &["retry", "x"],
        &["retry", "--all", "--queue", "send-push"],
        &["cancel", "x"],
        &["pause", "send-push", "--reason", "x"],
        &["resume", "send-push"],
        &["prune", "--state", "dead", "--before", "2020-01-01", "--yes"],
    ] {
        let begun = Instant::now();
        let output = run_with(&away, arguments);
        assert_eq!(output.status.code(), Some(5), "{arguments:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{arguments:?} {:?}",
            begun.elapsed()
        );
    }
}
