//! The queue position of a job: it is the order in which jobs run, and cheap to find.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cura_queue::{EnqueueOptions, Job, JobError, Run, enqueue_with, queue_position};
use cura_tests::TestDatabase;
use sqlx::{Executor, PgConnection, PgPool};

use super::{Task, until, workers};

/// A job has a position only while a worker is alive.
async fn register_worker(pool: &PgPool) {
    sqlx::query(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES ('worker', 'other', 'other', '', now() + interval '1 hour', now())",
    )
    .execute(pool)
    .await
    .unwrap();
}

async fn position(pool: &PgPool, id: i64) -> Option<i64> {
    queue_position::<Task>(&mut pool.acquire().await.unwrap(), &id.to_string())
        .await
        .unwrap()
}

#[tokio::test]
async fn jobs_run_in_the_order_of_their_positions() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for (id, priority) in (1..).zip([-2, 0, 1, -1, 0, -2, 1]) {
        let options = EnqueueOptions {
            priority,
            ..EnqueueOptions::default()
        };
        enqueue_with(&mut pool.acquire().await.unwrap(), &Task { id }, options)
            .await
            .unwrap();
    }
    let later = EnqueueOptions {
        after: Duration::from_secs(60),
        priority: 9,
        ..EnqueueOptions::default()
    };
    enqueue_with(&mut pool.acquire().await.unwrap(), &Task { id: 8 }, later)
        .await
        .unwrap();
    assert_eq!(position(pool, 1).await, None, "there is no worker");
    register_worker(pool).await;
    let mut positions = Vec::new();
    for id in 1..=7 {
        positions.push((position(pool, id).await.unwrap(), id));
    }
    positions.sort_unstable();
    assert_eq!(positions, [(1, 3), (2, 7), (3, 2), (4, 5), (5, 4), (6, 1), (7, 6)]);
    assert_eq!(position(pool, 8).await, None, "its time has not come");
    let ran = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ran);
    let workers = workers(&database)
        .queue(1, move |task: Task, _: Run| {
            seen.lock().unwrap().push(task.id);
            async { Ok::<(), JobError>(()) }
        })
        .start();
    until(pool, "Done", 7).await;
    assert_eq!(*ran.lock().unwrap(), [3, 7, 2, 5, 4, 1, 6]);
    workers.shutdown(Duration::from_secs(5)).await;
}

/// Every watcher of a waiting answer asks for its position every three seconds.
#[tokio::test]
async fn a_position_among_twenty_thousand_is_found_without_reading_them() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    register_worker(pool).await;
    let mut connection = pool.acquire().await.unwrap();
    // Job 19,500 alone has a higher priority; the others have four, mixed, and lie about in the table.
    sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key)
         SELECT 'many' || n, '{}'::bytea, $1, 'Pending', 0, 3, now() - (20000 - n) * interval '1 millisecond',
                CASE WHEN n = 19500 THEN 1 ELSE -(n % 4) END, n::text
         FROM generate_series(1, 20000) n ORDER BY hashtext(n::text)",
    )
    .bind(Task::QUEUE)
    .execute(&mut *connection)
    .await
    .unwrap();
    connection.execute("ANALYZE apalis.jobs").await.unwrap();
    for (id, expected) in [(19_500, 1), (8, 3), (2000, 501), (12_000, 1001), (19_999, 1001)] {
        let before = buffers(&mut connection).await;
        let found = queue_position::<Task>(&mut connection, &id.to_string()).await.unwrap();
        let read = buffers(&mut connection).await - before;
        assert_eq!(found, Some(expected));
        // Fewer where the table was vacuumed a moment ago, which depends on what else the server does.
        assert!((1..=expected + 40).contains(&read), "{read} buffers for job {id}");
    }
}

/// The blocks of the table and its indexes that were read so far.
async fn buffers(connection: &mut PgConnection) -> i64 {
    // Statistics are written once a second unless they are asked for.
    connection.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    sqlx::query_scalar(
        "SELECT (heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint
         FROM pg_statio_user_tables WHERE schemaname = 'apalis' AND relname = 'jobs'",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}
