//! Enqueueing, claiming, waking up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use cura_queue::{EnqueueOptions, Enqueued, JobError, Run, Workers, WorkersConfig, enqueue, enqueue_with};
use cura_tests::{TestDatabase, eventually};
use tokio::sync::Semaphore;

use super::{Runs, Task, add, config, count, counting, until, workers};

#[tokio::test]
async fn a_job_that_was_rolled_back_never_was() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let workers = counting(workers(&database), 4, &runs);
    let mut transaction = database.pool().begin().await.unwrap();
    enqueue(&mut transaction, &Task { id: 1 }).await.unwrap();
    transaction.rollback().await.unwrap();
    add(database.pool(), 2).await;
    until(database.pool(), "Done", 1).await;
    assert_eq!(runs.count(), 1);
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_same_key_is_the_same_job_even_when_it_is_done() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    assert!(matches!(add(database.pool(), 1).await, Enqueued::New(_)));
    assert_eq!(add(database.pool(), 1).await, Enqueued::Duplicate);
    let workers = counting(workers(&database), 4, &runs);
    until(database.pool(), "Done", 1).await;
    assert_eq!(add(database.pool(), 1).await, Enqueued::Duplicate);
    assert_eq!(runs.count(), 1);
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_job_starts_at_its_millisecond_and_not_before() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let workers = counting(workers(&database), 4, &runs);
    let at = DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::milliseconds(700);
    let options = EnqueueOptions {
        after: Duration::from_millis(700),
        ..EnqueueOptions::default()
    };
    enqueue_with(&mut database.pool().acquire().await.unwrap(), &Task { id: 1 }, options)
        .await
        .unwrap();
    runs.reach(1).await;
    assert!(DateTime::<Utc>::from(SystemTime::now()) >= at, "it started early");
    workers.shutdown(Duration::from_secs(5)).await;
}

/// The stock backend loses wake-ups: jobs wait for a poll of up to 30 s.
#[tokio::test]
async fn a_job_starts_without_waiting_for_the_poll() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let slow = WorkersConfig {
        poll_interval: Duration::from_secs(10),
        ..config()
    };
    let workers = counting(Workers::builder(database.pool(), slow), 2, &runs);
    let begun = Instant::now();
    for id in 1..=20 {
        add(database.pool(), id).await;
        runs.reach(usize::try_from(id).unwrap()).await;
    }
    // Each is added when the one before has just been found: unannounced, nearly all would wait for the whole poll.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_lost_listener_is_replaced_and_covered_by_the_poll() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let workers = counting(workers(&database), 2, &runs);
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'cura-queue-listener'";
    // The first job may have been found by the look at the start.
    eventually("somebody listens", async || {
        (database.count(cut).await > 0).then_some(())
    })
    .await;
    add(database.pool(), 2).await;
    runs.reach(2).await;
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn concurrency_is_used_and_never_exceeded() {
    let database = TestDatabase::create().await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let (now, highest, door) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&gate));
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
    gate.add_permits(40);
    until(database.pool(), "Done", 40).await;
    assert_eq!(most.load(Ordering::SeqCst), 5);
    workers.shutdown(Duration::from_secs(5)).await;
}

/// Otherwise jobs pile up in a process whose outcomes Postgres does not take.
#[tokio::test]
async fn a_slot_is_free_only_when_the_outcome_is_written() {
    let database = TestDatabase::create().await;
    let ran = Arc::new(Semaphore::new(0));
    let ended = Arc::clone(&ran);
    let pool = database.pool().clone();
    let workers = workers(&database)
        .queue(1, move |task: Task, _: Run| {
            let (pool, ended) = (pool.clone(), Arc::clone(&ended));
            async move {
                if task.id == 1 {
                    // Held until the test lets go, so that this job's outcome cannot be written.
                    let mut locked = pool.begin().await.unwrap();
                    let lock = "SELECT 1 FROM apalis.jobs WHERE idempotency_key = '1' FOR UPDATE";
                    sqlx::query(lock).execute(&mut *locked).await.unwrap();
                    tokio::spawn(async move {
                        ended.acquire().await.unwrap().forget();
                        locked.rollback().await.unwrap();
                    });
                }
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    add(database.pool(), 2).await;
    database.wait_for_lock_waiter().await;
    // Twice as long as the worker needs to look for jobs.
    tokio::time::sleep(config().poll_interval * 2).await;
    assert_eq!(
        count(database.pool(), "Pending").await,
        1,
        "the second is not claimed yet"
    );
    ran.add_permits(1);
    until(database.pool(), "Done", 2).await;
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
async fn health_tells_how_many_work_and_how_long_jobs_wait() {
    let database = TestDatabase::create().await;
    let health = async || {
        cura_queue::health(&mut database.pool().acquire().await.unwrap())
            .await
            .unwrap()
    };
    assert_eq!(
        (health().await.workers, health().await.oldest_ready),
        (0, Duration::ZERO)
    );
    add(database.pool(), 1).await;
    sqlx::query("UPDATE apalis.jobs SET run_at = now() - interval '1 minute'")
        .execute(database.pool())
        .await
        .unwrap();
    assert!(health().await.oldest_ready >= Duration::from_secs(60));
    let stats = cura_queue::stats(&mut database.pool().acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!((stats.len(), stats[0].ready, stats[0].dead), (1, 1, 0));
    let workers = counting(workers(&database), 4, &Runs::default());
    until(database.pool(), "Done", 1).await;
    assert_eq!(
        (health().await.workers, health().await.oldest_ready),
        (1, Duration::ZERO)
    );
    workers.shutdown(Duration::from_secs(5)).await;
    assert_eq!(health().await.workers, 0, "who leaves says so");
}
