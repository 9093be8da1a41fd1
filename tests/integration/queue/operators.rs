//! What operators see of queues with many jobs that are over.

use cura_queue::{JobState, KnownJobs, OverJobs, find_known, list_known, list_workers, prune, stats};
use cura_tests::TestDatabase;
use sqlx::PgPool;

/// A hundred thousand jobs that are done and 20,000 that are dead or cancelled, over eight queues, and a few of each other state.
async fn many_jobs() -> TestDatabase {
    let database = TestDatabase::create().await;
    for fill in [
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key,
                                  last_result)
         SELECT '01K' || lpad(n::text, 23, '0'), '\\x7b7d', 'queue-' || n % 8, 'Done', 1, 4, now() - interval '1 hour', now(), 0, n::text,
                '{\"Ok\": null}' FROM generate_series(1, 100000) n",
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key,
                                  last_result, metadata)
         SELECT '01H' || lpad(n::text, 23, '0'), '{\"message_id\": 7}', 'queue-' || n % 2, 'Killed', 4, 4, now() - interval '1 hour',
                now() - n * interval '1 s', 0, 'k' || n, jsonb_build_object('Err', 'attempt 4 of 4: reason ' || n % 100),
                CASE WHEN n % 4 = 0 THEN hstore('cancel', '1') ELSE hstore(ARRAY['user', 'conversation'], ARRAY['5', '6']) END
         FROM generate_series(1, 20000) n",
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES ('01W', 'cura', 'cura', '', now(), now())",
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, lock_by, lock_at)
         SELECT '01J' || lpad(n::text, 23, '0'), '\\x7b7d', 'queue-3', CASE n % 3 WHEN 0 THEN 'Running' ELSE 'Pending' END, 1, 4,
                now() + CASE n % 3 WHEN 1 THEN interval '1 hour' ELSE -interval '1 minute' END, 0, 'p' || n,
                CASE n % 3 WHEN 0 THEN '01W' END, CASE n % 3 WHEN 0 THEN now() END
         FROM generate_series(1, 300) n",
        "VACUUM ANALYZE apalis.jobs",
    ] {
        sqlx::query(fill).execute(database.pool()).await.unwrap();
    }
    database
}

async fn listed(pool: &PgPool, which: &KnownJobs) -> Vec<String> {
    let mut connection = pool.acquire().await.unwrap();
    let jobs = list_known(&mut connection, which, 51).await.unwrap();
    jobs.into_iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn among_many_jobs_that_are_done_stats_and_lists_find_the_others() {
    let database = many_jobs().await;
    let pool = database.pool();
    let counted = stats(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(counted.len(), 8);
    let (first, busy) = (&counted[0], &counted[3]);
    assert_eq!(
        (first.done, first.dead, first.cancelled, first.is_more),
        (10_000, 5000, 5000, true)
    );
    assert_eq!((busy.ready, busy.waiting, busy.running, busy.dead), (100, 100, 100, 0));

    let dead = KnownJobs {
        state: Some(JobState::Dead),
        ..KnownJobs::default()
    };
    for which in [
        KnownJobs::default(),
        dead.clone(),
        KnownJobs {
            state: Some(JobState::Cancelled),
            ..KnownJobs::default()
        },
        KnownJobs {
            state: Some(JobState::Done),
            queue: Some("queue-5".to_owned()),
            ..KnownJobs::default()
        },
        KnownJobs {
            state: Some(JobState::Waiting),
            ..KnownJobs::default()
        },
        KnownJobs {
            reason: Some("reason 13".to_owned()),
            ..dead.clone()
        },
    ] {
        let ids = listed(pool, &which).await;
        assert_eq!(ids.len(), 51, "{which:?}");
        assert!(ids.is_sorted_by(|newer, older| newer > older), "{which:?}");
        let next = KnownJobs {
            before: Some(ids[49].clone()),
            ..which.clone()
        };
        assert_eq!(listed(pool, &next).await[0], ids[50], "{which:?}");
    }
    let nothing = KnownJobs {
        queue: Some("no-queue".to_owned()),
        ..KnownJobs::default()
    };
    assert!(listed(pool, &nothing).await.is_empty());

    let id = listed(pool, &dead).await.swap_remove(0);
    let mut connection = pool.acquire().await.unwrap();
    let found = find_known(&mut connection, &id).await.unwrap().unwrap();
    assert_eq!(found.payload["message_id"], 7);
    assert_eq!(found.job.user_id.map(|user| user.0), Some(5));
    assert!(find_known(&mut connection, "none").await.unwrap().is_none());
    // However long it took until here.
    let beats = "UPDATE apalis.workers SET last_seen = now()";
    sqlx::query(beats).execute(&mut *connection).await.unwrap();
    let workers = list_workers(&mut connection, None, 51).await.unwrap();
    assert_eq!(
        (workers.len(), workers[0].running[0].jobs, workers[0].alive),
        (1, 100, true)
    );
}

#[tokio::test]
async fn only_jobs_that_are_over_are_pruned_and_a_batch_at_a_time() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    let fill = "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key, metadata)
         SELECT '01K2' || lpad(n::text, 22, '0'), '\\x7b7d', 'queue-' || n % 2, CASE n % 4 WHEN 0 THEN 'Pending' WHEN 1 THEN 'Done' ELSE 'Killed' END, 1, 4, now(),
                CASE WHEN n % 4 > 0 THEN now() - n * interval '1 minute' END, 0, n::text,
                CASE n % 4 WHEN 3 THEN hstore('cancel', '1') END FROM generate_series(1, 100) n";
    sqlx::query(fill).execute(pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let before = sqlx::query_scalar("SELECT now() - interval '1 hour'")
        .fetch_one(pool)
        .await
        .unwrap();
    let mut pruned = async |state, queue, limit| {
        let which = OverJobs { queue, state, before };
        prune(&mut connection, &which, limit).await.unwrap()
    };
    assert_eq!(pruned(JobState::Ready, None, 1000).await, 0);
    assert_eq!(
        pruned(JobState::Dead, Some("queue-1"), 1000).await,
        0,
        "those of the other queue are cancelled"
    );
    assert_eq!(pruned(JobState::Dead, Some("queue-0"), 3).await, 3);
    assert_eq!(pruned(JobState::Dead, None, 5).await, 5);
    assert_eq!(pruned(JobState::Dead, None, 5).await, 2);
    assert_eq!(pruned(JobState::Cancelled, None, 1000).await, 10);
    assert_eq!(pruned(JobState::Done, None, 1000).await, 10);
    assert_eq!(database.count("SELECT count(*) FROM apalis.jobs").await, 70);
}
