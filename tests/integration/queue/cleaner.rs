//! Deleting jobs that are over.

use std::time::Duration;

use cura_tests::{TestDatabase, eventually};

use super::{Runs, counting, workers};

#[tokio::test]
async fn old_jobs_are_deleted_and_recent_ones_are_kept() {
    let database = TestDatabase::create().await;
    for (status, age) in [
        ("Done", "25 hours"),
        ("Done", "23 hours"),
        ("Killed", "31 days"),
        ("Killed", "29 days"),
        ("Pending", "99 days"),
    ] {
        sqlx::query(
            "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key)
             SELECT $1 || $2 || n, '{}'::bytea, 'old', $1, 1, 3, now() + interval '1 day', now() - $2::interval, 0, $1 || $2 || n
             FROM generate_series(1, 1200) n",
        )
        .bind(status)
        .bind(age)
        .execute(database.pool())
        .await
        .unwrap();
    }
    // More than one batch of each.
    let workers = counting(workers(&database), 1, &Runs::default());
    eventually("the old ones are deleted", async || {
        let left: Vec<(String, i64)> = sqlx::query_as("SELECT status, count(*) FROM apalis.jobs GROUP BY 1 ORDER BY 1")
            .fetch_all(database.pool())
            .await
            .unwrap();
        (left
            == [
                ("Done".to_owned(), 1200),
                ("Killed".to_owned(), 1200),
                ("Pending".to_owned(), 1200),
            ])
        .then_some(())
    })
    .await;
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn completed_jobs_are_found_without_looking_at_the_cancelled_ones() {
    let database = TestDatabase::create().await;
    for (status, jobs) in [("Killed", 20_000), ("Done", 500)] {
        sqlx::query(
            "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key)
             SELECT $1 || n, '{}'::bytea, 'old', $1, 1, 3, now(), now() - interval '2 days' - n * interval '1 second', 0, $1 || n
             FROM generate_series(1, $2) n",
        )
        .bind(status)
        .bind(jobs)
        .execute(database.pool())
        .await
        .unwrap();
    }
    // As the queue's connections plan it.
    let mut connection = database.pool().acquire().await.unwrap();
    for setting in ["SET enable_seqscan = off", "SET plan_cache_mode = force_generic_plan"] {
        sqlx::query(setting).execute(&mut *connection).await.unwrap();
    }
    let prepare = "PREPARE old (text, float8, bigint) AS SELECT id FROM apalis.jobs
         WHERE status IN ('Done', 'Killed') AND status = $1 AND done_at < now() - make_interval(secs => $2)
         ORDER BY done_at LIMIT $3 FOR UPDATE SKIP LOCKED";
    sqlx::query(prepare).execute(&mut *connection).await.unwrap();
    let plan: Vec<String> =
        sqlx::query_scalar("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE old ('Done', 86400, 1000)")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let plan = plan.join("\n");
    assert!(
        plan.contains("cura_jobs_over_idx") && !plan.contains("Rows Removed"),
        "{plan}"
    );
}
