//! Dead jobs that an operator has retried: each runs again once, with as many more attempts as its kind has, and each of its deaths has
//! an on-failure job of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cura_queue::{
    DeadJobs, Job, JobError, JobId, JobState, Run, cancel_job, count_dead, find_known, list_dead, retry_dead,
};
use cura_tests::{TestDatabase, eventually};
use sqlx::PgPool;

use super::{OnFailureTask, Runs, Task, add, count, row, until, workers};

const ALL: DeadJobs<'_> = DeadJobs {
    queue: Task::QUEUE,
    since: None,
    reason: None,
};

async fn id_of(pool: &PgPool, key: i64) -> JobId {
    sqlx::query_scalar("SELECT id FROM apalis.jobs WHERE job_type = $1 AND idempotency_key = $2")
        .bind(Task::QUEUE)
        .bind(key.to_string())
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn retry(pool: &PgPool, ids: &[JobId], after: Duration) -> usize {
    let wanted: Vec<_> = ids.iter().map(|id| (id.clone(), after)).collect();
    let mut connection = pool.acquire().await.unwrap();
    retry_dead(&mut connection, &wanted, Task::MAX_ATTEMPTS, 0, None)
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn a_job_that_is_retried_has_more_attempts_and_each_death_has_its_on_failure_job() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    let works = Arc::new(AtomicBool::new(false));
    let (failed, does_work) = (Runs::default(), Arc::clone(&works));
    let counted = failed.clone();
    let workers = workers(&database)
        .queue(4, move |_: Task, _: Run| {
            let outcome = if does_work.load(Ordering::SeqCst) {
                Ok(())
            } else {
                let reason = "the provider is away".to_owned();
                Err(JobError::Discard { reason })
            };
            async { outcome }
        })
        .queue(1, move |_: OnFailureTask, _: Run| {
            counted.add();
            // Slow: it still runs when the job dies again.
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(pool, 1).await;
    failed.reach(1).await;
    let id = id_of(pool, 1).await;
    assert_eq!(retry(pool, std::slice::from_ref(&id), Duration::ZERO).await, 1);
    failed.reach(2).await;
    until(pool, "Killed", 1).await;
    let found = find_known(&mut pool.acquire().await.unwrap(), &id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.job.state, found.job.attempts, found.job.max_attempts),
        (JobState::Dead, 2, 4)
    );
    assert_eq!(found.job.reason.as_deref(), Some("the provider is away"));

    works.store(true, Ordering::SeqCst);
    assert_eq!(retry(pool, std::slice::from_ref(&id), Duration::ZERO).await, 1);
    until(pool, "Done", 1).await;
    assert_eq!(row(pool, 1).await.attempts, 3);
    assert_eq!(
        retry(pool, &[id, "none".to_owned()], Duration::ZERO).await,
        0,
        "it is done"
    );
    assert_eq!(failed.count(), 2);
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn two_operators_who_retry_the_same_jobs_at_once_retry_each_once() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for id in 1..=60 {
        add(pool, id).await;
    }
    kill(pool, "x").await;
    let counted = count_dead(&mut pool.acquire().await.unwrap(), &ALL).await.unwrap();
    assert_eq!(counted.count, 60);
    let last = counted.last.unwrap();
    let page = list_dead(&mut pool.acquire().await.unwrap(), &ALL, ("", &last), 1000)
        .await
        .unwrap();
    let ids: Vec<JobId> = page.into_iter().map(|job| job.id).collect();
    let tries = (0..6).map(|_| retry(pool, &ids, Duration::from_secs(60)));
    let retried: usize = futures_util::future::join_all(tries).await.into_iter().sum();
    assert_eq!((retried, count(pool, "Pending").await), (60, 60));
    let waiting = "SELECT count(*) FROM apalis.jobs WHERE run_at > now() + interval '30 s' AND done_at IS NULL";
    assert_eq!(database.count(waiting).await, 60);
}

#[tokio::test]
async fn a_cancelled_job_is_not_retried_and_a_reason_narrows_which_are() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    add(pool, 1).await;
    let cancelled = id_of(pool, 1).await;
    cancel_job(&mut pool.acquire().await.unwrap(), &cancelled)
        .await
        .unwrap();
    add(pool, 2).await;
    kill(pool, "provider_timeout: it was silent").await;
    add(pool, 3).await;
    kill(pool, "another").await;
    let counted = async |reason| {
        let which = DeadJobs { reason, ..ALL };
        count_dead(&mut pool.acquire().await.unwrap(), &which)
            .await
            .unwrap()
            .count
    };
    assert_eq!(
        (
            counted(None).await,
            counted(Some("timeout")).await,
            counted(Some("nothing")).await
        ),
        (2, 1, 0)
    );
    assert_eq!(retry(pool, &[cancelled], Duration::ZERO).await, 0);
    assert_eq!(row(pool, 1).await.status, "Killed");
}

/// Discards what waits.
async fn kill(pool: &PgPool, reason: &str) {
    sqlx::query(
        "UPDATE apalis.jobs SET status = 'Killed', done_at = now(), attempts = 3, last_result = jsonb_build_object('Err', $1::text)
         WHERE status = 'Pending' AND job_type = $2",
    )
    .bind(reason)
    .bind(Task::QUEUE)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_running_job_that_an_operator_cancels_ends_with_its_run_and_has_its_on_failure_job() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    let (runs, failed) = (Runs::default(), Runs::default());
    let (counted, counted_failed) = (runs.clone(), failed.clone());
    let workers = workers(&database)
        .queue(4, move |_: Task, _: Run| {
            counted.add();
            // It does not look whether it is cancelled.
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let reason = "not now".to_owned();
                Err::<(), _>(JobError::Retry { after: None, reason })
            }
        })
        .queue(1, move |_: OnFailureTask, _: Run| {
            counted_failed.add();
            async { Ok::<(), JobError>(()) }
        })
        .start();
    add(pool, 1).await;
    runs.reach(1).await;
    let id = id_of(pool, 1).await;
    cancel_job(&mut pool.acquire().await.unwrap(), &id).await.unwrap();
    eventually("it is cancelled", async || {
        let found = find_known(&mut pool.acquire().await.unwrap(), &id)
            .await
            .unwrap()
            .unwrap();
        (found.job.state == JobState::Cancelled).then_some(())
    })
    .await;
    failed.reach(1).await;
    assert_eq!(runs.count(), 1, "it is not tried again");
    workers.shutdown(Duration::from_secs(5)).await;
}
