//! Claiming: every slot is used, no job runs twice, and neither a full table nor an empty one is expensive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cura_queue::{EnqueueOptions, JobError, Run, Workers, WorkersConfig};
use cura_tests::{TestDatabase, eventually};
use tokio::sync::Semaphore;

use super::{Runs, Task, add, config, count, counting, row, until, workers};

#[tokio::test]
async fn concurrency_is_used_and_never_exceeded() {
    let database = TestDatabase::create().await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let permits = Arc::new(Semaphore::new(0));
    let (now, highest, door) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&permits));
    let workers = workers(&database)
        .queue(5, move |_: Task, _: Run| {
            let (now, highest, door) = (Arc::clone(&now), Arc::clone(&highest), Arc::clone(&door));
            async move {
                let current = now.fetch_add(1, Ordering::SeqCst) + 1;
                highest.fetch_max(current, Ordering::SeqCst);
                door.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<(), JobError>(())
            }
        })
        .start();
    for id in 0..40 {
        add(database.pool(), id).await;
    }
    eventually("all slots are used", async || {
        (running.load(Ordering::SeqCst) == 5).then_some(())
    })
    .await;
    assert_eq!(
        count(database.pool(), "Running").await,
        5,
        "nothing is claimed that cannot run"
    );
    permits.add_permits(40);
    until(database.pool(), "Done", 40).await;
    assert_eq!(most.load(Ordering::SeqCst), 5);
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn many_workers_run_every_job_once() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let all: Vec<Workers> = (0..3).map(|_| counting(workers(&database), 8, &runs)).collect();
    for id in 0..300 {
        add(database.pool(), id).await;
    }
    until(database.pool(), "Done", 300).await;
    assert_eq!(runs.count(), 300);
    for workers in all {
        workers.shutdown(Duration::from_secs(5)).await;
    }
}

/// Seen with every SKIP LOCKED queue: on a table that was filled a moment ago the plan flips and claiming crawls.
#[tokio::test]
async fn claiming_from_a_hundred_thousand_fresh_rows_does_not_crawl() {
    let database = TestDatabase::create().await;
    sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key)
         SELECT 'fresh' || n, convert_to('{\"id\":' || n || '}', 'UTF8'), $1, 'Pending', 0, 3, now(), 0, n::text
         FROM generate_series(1, 100000) n",
    )
    .bind(<Task as cura_queue::Job>::QUEUE)
    .execute(database.pool())
    .await
    .unwrap();
    let runs = Runs::default();
    let begun = Instant::now();
    let workers = counting(workers(&database), 64, &runs);
    runs.reach(6000).await;
    // The flipped plan does fewer than 100 a second with a debug build beside other tests; this one thousands.
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "{:?} for 6,000 jobs",
        begun.elapsed()
    );
    workers.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_resting_worker_asks_at_most_ten_times_a_second() {
    let database = TestDatabase::create().await;
    let workers = counting(
        Workers::builder(database.pool(), WorkersConfig::default()),
        4,
        &Runs::default(),
    );
    let transactions = async || {
        sqlx::query_scalar::<_, i64>(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(database.pool())
        .await
        .unwrap()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut rates = Vec::new();
    // The better one of two: a connection that a busy machine was slow with is made again, which costs some.
    for _ in 0..2 {
        let before = transactions().await;
        let begun = Instant::now();
        // What is measured is a rate: some time has to pass.
        tokio::time::sleep(Duration::from_secs(4)).await;
        rates.push((transactions().await - before) as f64 / begun.elapsed().as_secs_f64());
    }
    assert!(rates.iter().any(|rate| *rate <= 10.0), "{rates:?} a second");
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_orphaned_claim_is_released_without_spending_an_attempt() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let workers = counting(workers(&database), 2, &runs);
    add(database.pool(), 1).await;
    runs.reach(1).await;
    until(database.pool(), "Done", 1).await;
    // As if this instance had claimed it, and the answer had not arrived.
    let lost = "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority,
                                         idempotency_key, lock_by, lock_at)
                SELECT apalis.generate_ulid(), '{\"id\": 2}', 'test-task', 'Running', 3, 3, now(), 0, '2', id, now()
                FROM apalis.workers WHERE worker_type = 'cura'";
    sqlx::query(lost).execute(database.pool()).await.unwrap();
    runs.reach(2).await;
    until(database.pool(), "Done", 2).await;
    assert_eq!(row(database.pool(), 2).await.attempts, 3);
    workers.shutdown(Duration::from_secs(5)).await;
}

/// Nobody says when a job that waits becomes ready, and a poll may be far away.
#[tokio::test]
async fn a_delayed_job_starts_when_it_is_due() {
    let database = TestDatabase::create().await;
    for (id, after) in [(1, 1_500), (2, 1_505), (3, 2_500)] {
        let options = EnqueueOptions {
            after: Duration::from_millis(after),
            ..EnqueueOptions::default()
        };
        let mut connection = database.pool().acquire().await.unwrap();
        cura_queue::enqueue_with(&mut connection, &Task { id }, options)
            .await
            .unwrap();
    }
    let runs = Runs::default();
    let config = WorkersConfig {
        poll_interval: Duration::from_secs(600),
        ..config()
    };
    let workers = counting(Workers::builder(database.pool(), config), 4, &runs);
    runs.reach(3).await;
    workers.shutdown(Duration::from_secs(5)).await;
}
