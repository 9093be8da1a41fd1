//! Leases: a live worker keeps its jobs, a dead one loses them, and an outage of Postgres kills no worker.

use std::time::Duration;

use cura_queue::{Job, JobError, Run, StopReason, Workers, WorkersConfig};
use cura_tests::{Proxy, TestDatabase, eventually};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::{OnFailureTask, Runs, Task, add, config, counting, on_failure_attempts, row, until, workers};

/// A job of a worker whose last heartbeat was `ago`.
async fn claimed_by_a_dead_worker(pool: &PgPool, id: i64, attempts: i32, ago: &str) {
    sqlx::query(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES ('dead', 'cura', 'cura', '', now() - $1::interval, now() - interval '1 hour') ON CONFLICT DO NOTHING",
    )
    .bind(ago)
    .execute(pool)
    .await
    .unwrap();
    add(pool, id).await;
    sqlx::query(
        "UPDATE apalis.jobs SET status = 'Running', lock_by = 'dead', lock_at = now(), attempts = $2
         WHERE idempotency_key = $1",
    )
    .bind(id.to_string())
    .bind(attempts)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_jobs_of_a_dead_worker_are_rescued_unless_their_attempts_are_used_up() {
    let database = TestDatabase::create().await;
    claimed_by_a_dead_worker(database.pool(), 1, 1, "1 minute").await;
    claimed_by_a_dead_worker(database.pool(), 2, 3, "1 minute").await;
    // It was discarded before, and renewed.
    sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, done_at)
         SELECT 'earlier', job, $1, 'Killed', 7, 7, now(), 0, id || '.' || attempts, now() FROM apalis.jobs WHERE idempotency_key = '2'",
    )
    .bind(OnFailureTask::QUEUE)
    .execute(database.pool())
    .await
    .unwrap();
    let runs = Runs::default();
    let workers = counting(workers(&database), 4, &runs);
    until(database.pool(), "Done", 1).await;
    let on_failure = "SELECT count(*) FROM apalis.jobs WHERE id = 'earlier' AND status = 'Pending' AND attempts = 0";
    eventually("the job of its failure is there again", async || {
        (database.count(on_failure).await == 1).then_some(())
    })
    .await;
    assert_eq!(row(database.pool(), 1).await.attempts, 2);
    assert_eq!(row(database.pool(), 2).await.reason.as_deref(), Some("the worker died"));
    assert_eq!(runs.count(), 1);
    // The dead one has an on-failure job, with that job's own limit.
    assert_eq!(
        on_failure_attempts(database.pool()).await,
        [OnFailureTask::MAX_ATTEMPTS]
    );
    workers.shutdown(Duration::from_secs(5)).await;
}

/// The stock backend does not renew while it is saturated: ten jobs ran 26 times.
#[tokio::test]
async fn busy_workers_keep_their_jobs() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let long = |runs: &Runs| {
        let runs = runs.clone();
        workers(&database)
            .queue(2, move |_: Task, _: Run| {
                runs.add();
                async {
                    // Three times as long as a lease lives.
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    Ok::<(), JobError>(())
                }
            })
            .start()
    };
    let busy = long(&runs);
    for id in 0..4 {
        add(database.pool(), id).await;
    }
    runs.reach(2).await;
    let peer = long(&runs);
    until(database.pool(), "Done", 4).await;
    assert_eq!(runs.count(), 4);
    busy.shutdown(Duration::from_secs(5)).await;
    peer.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_worker_declared_dead_stops_its_jobs_and_registers_with_a_new_identity() {
    let database = TestDatabase::create().await;
    let (runs, lost) = (Runs::default(), Runs::default());
    let (counted, stopped) = (runs.clone(), lost.clone());
    let workers = workers(&database)
        .queue(4, move |_: Task, run: Run| {
            let (first, stopped) = (counted.add() == 1, stopped.clone());
            async move {
                if first {
                    assert_eq!(run.cancelled().await, StopReason::Lost);
                    stopped.add();
                }
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let before = row(database.pool(), 1).await.lock_by;
    // As a peer that declares it dead would: both at once, or the job is claimed again in between.
    let mut peer = database.pool().begin().await.unwrap();
    for statement in [
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL",
        "DELETE FROM apalis.workers",
    ] {
        sqlx::query(statement).execute(&mut *peer).await.unwrap();
    }
    peer.commit().await.unwrap();
    lost.reach(1).await;
    until(database.pool(), "Done", 1).await;
    assert_eq!(runs.count(), 2, "the outcome of the first run was void");
    let now: String = sqlx::query_scalar("SELECT id FROM apalis.workers")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_ne!(Some(now), before);
    workers.shutdown(Duration::from_secs(5)).await;
}

/// With the stock backend one database error drops every job in flight.
#[tokio::test]
async fn an_outage_of_postgres_runs_nothing_twice_and_loses_no_outcome() {
    let database = TestDatabase::create().await;
    let wire = Proxy::to_postgres(&database).await;
    let pool = PgPoolOptions::new().connect_lazy(&wire.url(&database)).unwrap();
    let runs = Runs::default();
    let start = |runs: &Runs| {
        let runs = runs.clone();
        Workers::builder(&pool, config())
            .queue(4, move |_: Task, _: Run| {
                runs.add();
                async {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    Ok::<(), JobError>(())
                }
            })
            .start()
    };
    let all = [start(&runs), start(&runs)];
    for id in 0..8 {
        add(database.pool(), id).await;
    }
    runs.reach(8).await;
    wire.cut();
    // Longer than a lease: the first worker to reach Postgres again must not declare the others dead.
    tokio::time::sleep(Duration::from_secs(3)).await;
    wire.restore();
    until(database.pool(), "Done", 8).await;
    assert_eq!(runs.count(), 8);
    for workers in all {
        workers.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn without_postgres_for_too_long_jobs_are_stopped() {
    let database = TestDatabase::create().await;
    let wire = Proxy::to_postgres(&database).await;
    let pool = PgPoolOptions::new().connect_lazy(&wire.url(&database)).unwrap();
    let (runs, lost) = (Runs::default(), Runs::default());
    let (counted, stopped) = (runs.clone(), lost.clone());
    let impatient = WorkersConfig {
        isolation_timeout: Duration::from_millis(500),
        ..config()
    };
    let workers = Workers::builder(&pool, impatient)
        .queue(4, move |_: Task, run: Run| {
            let (first, stopped) = (counted.add() == 1, stopped.clone());
            async move {
                if first {
                    run.cancelled().await;
                    stopped.add();
                }
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    wire.cut();
    lost.reach(1).await;
    wire.restore();
    until(database.pool(), "Done", 1).await;
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn workers_can_be_started_while_postgres_is_away() {
    let database = TestDatabase::create().await;
    let wire = Proxy::to_postgres(&database).await;
    wire.cut();
    let pool = PgPoolOptions::new().connect_lazy(&wire.url(&database)).unwrap();
    let runs = Runs::default();
    let workers = counting(Workers::builder(&pool, config()), 4, &runs);
    add(database.pool(), 1).await;
    wire.restore();
    until(database.pool(), "Done", 1).await;
    workers.shutdown(Duration::from_secs(5)).await;
}
