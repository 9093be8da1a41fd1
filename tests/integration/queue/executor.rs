//! Runs that fail, hang or panic, and payloads that cannot be decoded.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cura_queue::{EnqueueOptions, Enqueued, Job, JobError, Run, enqueue_or_renew};
use cura_tests::{Cura, TestDatabase, eventually};
use serde::{Deserialize, Serialize};

use super::{OnFailureTask, Runs, Task, add, counting, on_failure_attempts, row, until, workers};

fn retry(after: Option<Duration>) -> JobError {
    JobError::Retry {
        after,
        reason: "not now".to_owned(),
    }
}

/// The stock backend has no durable back-off: five attempts in 40 ms.
#[tokio::test]
async fn a_failed_job_is_retried_until_its_attempts_are_used_up() {
    let database = TestDatabase::create().await;
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&attempts);
    let on_failure = Runs::default();
    let counted = on_failure.clone();
    let workers = workers(&database)
        .queue(4, move |_: Task, run: Run| {
            seen.lock().unwrap().push(run.attempt);
            async { Err::<(), _>(retry(None)) }
        })
        .queue(1, move |_: OnFailureTask, _: Run| {
            counted.add();
            async { Ok(()) }
        })
        .start();
    add(database.pool(), 7).await;
    until(database.pool(), "Killed", 1).await;
    assert_eq!(*attempts.lock().unwrap(), [1, 2, 3]);
    let dead = row(database.pool(), 7).await;
    assert_eq!(dead.reason.as_deref(), Some("attempt 3 of 3: not now"));
    on_failure.reach(1).await;
    assert_eq!(
        on_failure_attempts(database.pool()).await,
        [OnFailureTask::MAX_ATTEMPTS]
    );
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_retry_after_some_time_is_not_run_before() {
    let database = TestDatabase::create().await;
    let starts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&starts);
    let workers = workers(&database)
        .queue(4, move |_: Task, run: Run| {
            seen.lock().unwrap().push(Instant::now());
            async move {
                if run.attempt == 1 {
                    Err(retry(Some(Duration::from_millis(600))))
                } else {
                    Ok(())
                }
            }
        })
        .start();
    add(database.pool(), 1).await;
    until(database.pool(), "Done", 1).await;
    let starts = starts.lock().unwrap().clone();
    assert!(
        starts[1] - starts[0] >= Duration::from_millis(600),
        "{:?}",
        starts[1] - starts[0]
    );
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_discarded_job_is_dead_at_once_with_its_reason() {
    let database = TestDatabase::create().await;
    let workers = workers(&database)
        .queue(4, |_: Task, _: Run| async {
            Err::<(), _>(JobError::Discard {
                reason: "never".to_owned(),
            })
        })
        .start();
    add(database.pool(), 1).await;
    until(database.pool(), "Killed", 1).await;
    let dead = row(database.pool(), 1).await;
    assert_eq!((dead.attempts, dead.reason.as_deref()), (1, Some("never")));
    workers.shutdown(Duration::from_secs(5)).await;
}

/// The stock backend leaves the row of a panicked run `Running` for ever.
#[tokio::test]
async fn a_panic_is_a_failure_like_any_other_and_harms_no_neighbour() {
    let database = TestDatabase::create().await;
    let workers = workers(&database)
        .queue(4, |task: Task, run: Run| async move {
            assert!(task.id != 13 || run.attempt > 1, "a test panics on purpose");
            Ok::<(), JobError>(())
        })
        .start();
    for id in [12, 13, 14] {
        add(database.pool(), id).await;
    }
    until(database.pool(), "Done", 3).await;
    assert_eq!(row(database.pool(), 13).await.attempts, 2);
    workers.shutdown(Duration::from_secs(5)).await;
}

/// A job that may take very little time.
#[derive(Serialize, Deserialize)]
struct Brief {
    id: i64,
}

impl Job for Brief {
    const QUEUE: &'static str = "test-brief";
    const MAX_ATTEMPTS: u32 = 2;
    const TIMEOUT: Duration = Duration::from_millis(100);

    fn key(&self) -> String {
        self.id.to_string()
    }
}

/// The stock backend leaves the row of a run that timed out `Running` for ever.
#[tokio::test]
async fn a_run_that_takes_too_long_is_aborted_and_retried() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let counted = runs.clone();
    let workers = workers(&database)
        .queue(4, move |_: Brief, _: Run| {
            counted.add();
            async { std::future::pending::<Result<(), JobError>>().await }
        })
        .start();
    cura_queue::enqueue(&mut database.pool().acquire().await.unwrap(), &Brief { id: 1 })
        .await
        .unwrap();
    let reason = eventually("the job is dead", async || {
        sqlx::query_scalar::<_, Option<String>>("SELECT last_result ->> 'Err' FROM apalis.jobs WHERE status = 'Killed'")
            .fetch_optional(database.pool())
            .await
            .unwrap()
    })
    .await;
    assert_eq!(reason.as_deref(), Some("attempt 2 of 2: the run took more than 100ms"));
    assert_eq!(runs.count(), 2);
    workers.shutdown(Duration::from_secs(5)).await;
}

/// With the stock backend, one payload that cannot be decoded drops every job in flight.
#[tokio::test]
async fn an_undecodable_payload_is_discarded_with_a_reason_and_harms_no_neighbour() {
    let database = TestDatabase::create().await;
    sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key)
         VALUES ('odd', 'secret words'::bytea, $1, 'Pending', 0, 3, now(), 0, '0')",
    )
    .bind(Task::QUEUE)
    .execute(database.pool())
    .await
    .unwrap();
    for id in 1..=5 {
        add(database.pool(), id).await;
    }
    let workers = counting(workers(&database), 4, &Runs::default());
    until(database.pool(), "Done", 5).await;
    until(database.pool(), "Killed", 1).await;
    let reason = row(database.pool(), 0).await.reason.unwrap();
    assert_eq!(reason, "the payload cannot be decoded");
    workers.shutdown(Duration::from_secs(5)).await;
}

/// A handler that discards a job logs why itself; here no handler ran.
#[tokio::test]
async fn an_undecodable_payload_is_logged_as_an_error() {
    let cura = Cura::builder().start().await;
    sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key)
         VALUES ('odd', 'secret words'::bytea, 'title-conversation', 'Pending', 0, 3, now(), 0, '0')",
    )
    .execute(cura.database.pool())
    .await
    .unwrap();
    let line = eventually("it is logged", async || {
        let said = cura.logs();
        said.lines()
            .find(|line| line.contains("cannot be decoded"))
            .map(str::to_owned)
    })
    .await;
    assert!(line.contains("ERROR") && line.contains("odd"), "{line}");
    assert!(!cura.logs().contains("secret words"));
}

#[tokio::test]
async fn a_job_that_is_renewed_and_discarded_again_has_its_on_failure_job_again() {
    let database = TestDatabase::create().await;
    let failures = Runs::default();
    let failed = failures.clone();
    let workers = workers(&database)
        .queue(1, |_: Task, _: Run| async {
            Err::<(), _>(JobError::Discard {
                reason: "no".to_owned(),
            })
        })
        .queue(1, move |_: OnFailureTask, _: Run| {
            failed.add();
            async { Ok::<(), JobError>(()) }
        })
        .start();
    for round in 1..=3 {
        let mut connection = database.pool().acquire().await.unwrap();
        let renewed = enqueue_or_renew(&mut connection, &Task { id: 1 }, EnqueueOptions::default());
        assert!(matches!(renewed.await.unwrap(), Enqueued::New(_)), "{round}");
        failures.reach(round).await;
        let done = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'test-on-failure' AND status = 'Done'";
        eventually("it is over", async || (database.count(done).await == 1).then_some(())).await;
    }
    assert_eq!(
        on_failure_attempts(database.pool()).await,
        [OnFailureTask::MAX_ATTEMPTS]
    );
    workers.shutdown(Duration::from_secs(5)).await;
}
