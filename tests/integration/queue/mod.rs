//! The queue: every property it guarantees, and every defect of the stock backend it must not have.

mod cancel;
mod cleaner;
mod completer;
mod dependency;
mod enqueue;
mod executor;
mod locks;
mod notifier;
mod operators;
mod pauses;
mod producer;
mod queue_position;
mod rescuer;
mod retries;
mod shutdown;
mod stats;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cura_queue::{Enqueued, Job, JobError, OnFailure, Run, Workers, WorkersBuilder, WorkersConfig, enqueue};
use cura_tests::{TestDatabase, eventually};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// A job of these tests.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Task {
    pub id: i64,
}

impl Job for Task {
    const QUEUE: &'static str = "test-task";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(20);
    const ON_FAILURE: Option<OnFailure> = Some(OnFailure::of::<OnFailureTask>());

    fn key(&self) -> String {
        self.id.to_string()
    }
}

/// Gets the payload of a discarded [`Task`].
#[derive(Serialize, Deserialize)]
pub struct OnFailureTask {
    pub id: i64,
}

impl Job for OnFailureTask {
    const QUEUE: &'static str = "test-on-failure";
    const MAX_ATTEMPTS: u32 = 7;
    const TIMEOUT: Duration = Duration::from_secs(20);

    fn key(&self) -> String {
        self.id.to_string()
    }
}

/// How often the on-failure jobs there are may be tried.
pub async fn on_failure_attempts(pool: &PgPool) -> Vec<u32> {
    let attempts = sqlx::query_scalar("SELECT max_attempts FROM apalis.jobs WHERE job_type = $1")
        .bind(OnFailureTask::QUEUE)
        .fetch_all(pool)
        .await
        .unwrap();
    attempts.into_iter().map(i32::unsigned_abs).collect()
}

/// Quick enough for a test, slow enough for a busy machine.
pub fn config() -> WorkersConfig {
    WorkersConfig {
        poll_interval: Duration::from_millis(200),
        listener_check_interval: Duration::from_millis(200),
        heartbeat_interval: Duration::from_millis(100),
        // The first worker to reach Postgres after an outage waits this long for the others.
        lease: Duration::from_secs(2),
        isolation_timeout: Duration::from_secs(15),
        first_backoff: Duration::from_millis(50),
        max_backoff: Duration::from_secs(5),
    }
}

/// How often the jobs ran.
#[derive(Clone, Default)]
pub struct Runs(Arc<AtomicUsize>);

impl Runs {
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub async fn reach(&self, count: usize) {
        eventually(&format!("{count} runs"), async || (self.count() >= count).then_some(())).await;
    }
}

pub fn workers(database: &TestDatabase) -> WorkersBuilder {
    Workers::builder(database.pool(), config())
}

/// Workers that count runs and succeed.
pub fn counting(builder: WorkersBuilder, concurrency: usize, runs: &Runs) -> Workers {
    let runs = runs.clone();
    builder
        .queue(concurrency, move |_: Task, _: Run| {
            runs.add();
            async { Ok::<(), JobError>(()) }
        })
        .start()
}

pub async fn add(pool: &PgPool, id: i64) -> Enqueued {
    enqueue(&mut pool.acquire().await.unwrap(), &Task { id }).await.unwrap()
}

/// The row of a task.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    pub status: String,
    pub attempts: i32,
    pub lock_by: Option<String>,
    pub reason: Option<String>,
}

pub async fn row(pool: &PgPool, id: i64) -> Row {
    sqlx::query_as(
        "SELECT status, attempts, lock_by, last_result ->> 'Err' AS reason FROM apalis.jobs
         WHERE job_type = $1 AND idempotency_key = $2",
    )
    .bind(Task::QUEUE)
    .bind(id.to_string())
    .fetch_one(pool)
    .await
    .unwrap()
}

pub async fn count(pool: &PgPool, status: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE job_type = $1 AND status = $2")
        .bind(Task::QUEUE)
        .bind(status)
        .fetch_one(pool)
        .await
        .unwrap()
}

pub async fn until(pool: &PgPool, status: &str, wanted: i64) {
    eventually(&format!("{wanted} jobs are {status}"), async || {
        (count(pool, status).await == wanted).then_some(())
    })
    .await;
}
