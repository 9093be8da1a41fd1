//! Leases: who lives keeps its jobs, who died loses them, and an outage of Postgres is neither.

use std::time::Duration;

use cura_queue::{Job, JobError, Run, StopReason, Workers, WorkersConfig};
use cura_tests::{Proxy, TestDatabase, eventually};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::{LastWill, Runs, Task, add, config, counting, on_failure_attempts, row, until, workers};

/// A job of a worker that was seen `ago` last.
async fn claimed_by_a_silent_worker(pool: &PgPool, id: i64, attempts: i32, ago: &str) {
    sqlx::query(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES ('silent', 'cura', 'cura', '', now() - $1::interval, now() - interval '1 hour') ON CONFLICT DO NOTHING",
    )
    .bind(ago)
    .execute(pool)
    .await
    .unwrap();
    add(pool, id).await;
    sqlx::query(
        "UPDATE apalis.jobs SET status = 'Running', lock_by = 'silent', lock_at = now(), attempts = $2
         WHERE idempotency_key = $1",
    )
    .bind(id.to_string())
    .bind(attempts)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_jobs_of_a_silent_worker_go_to_others_unless_their_attempts_are_used_up() {
    let database = TestDatabase::create().await;
    claimed_by_a_silent_worker(database.pool(), 1, 1, "1 minute").await;
    claimed_by_a_silent_worker(database.pool(), 2, 3, "1 minute").await;
    let runs = Runs::default();
    let workers = counting(workers(&database), 4, &runs);
    until(database.pool(), "Done", 1).await;
    until(database.pool(), "Killed", 1).await;
    assert_eq!(row(database.pool(), 1).await.attempts, 2);
    assert_eq!(row(database.pool(), 2).await.reason.as_deref(), Some("the worker died"));
    assert_eq!(runs.count(), 1);
    // The dead one has an heir, with the heir's own limit.
    assert_eq!(on_failure_attempts(database.pool()).await, [LastWill::MAX_ATTEMPTS]);
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
async fn who_was_declared_dead_gives_up_its_jobs_and_comes_back_as_somebody_else() {
    let database = TestDatabase::create().await;
    let (runs, lost) = (Runs::default(), Runs::default());
    let (counted, told) = (runs.clone(), lost.clone());
    let workers = workers(&database)
        .queue(4, move |_: Task, run: Run| {
            let (first, told) = (counted.add() == 1, told.clone());
            async move {
                if first {
                    assert_eq!(run.cancelled().await, StopReason::Lost);
                    told.add();
                }
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let before = row(database.pool(), 1).await.lock_by;
    // As a peer that saw it silent for too long would: both at once, or the job is claimed again in between.
    let mut peer = database.pool().begin().await.unwrap();
    for taken in [
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL",
        "DELETE FROM apalis.workers",
    ] {
        sqlx::query(taken).execute(&mut *peer).await.unwrap();
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
    // Longer than a lease lives: whoever comes back first must not bury the others.
    tokio::time::sleep(Duration::from_secs(3)).await;
    wire.restore();
    until(database.pool(), "Done", 8).await;
    assert_eq!(runs.count(), 8);
    for workers in all {
        workers.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn without_postgres_for_too_long_jobs_are_given_up() {
    let database = TestDatabase::create().await;
    let wire = Proxy::to_postgres(&database).await;
    let pool = PgPoolOptions::new().connect_lazy(&wire.url(&database)).unwrap();
    let (runs, lost) = (Runs::default(), Runs::default());
    let (counted, told) = (runs.clone(), lost.clone());
    let impatient = WorkersConfig {
        isolation_timeout: Duration::from_millis(500),
        ..config()
    };
    let workers = Workers::builder(&pool, impatient)
        .queue(4, move |_: Task, run: Run| {
            let (first, told) = (counted.add() == 1, told.clone());
            async move {
                if first {
                    run.cancelled().await;
                    told.add();
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

/// A firewall that forgets an idle connection says so to nobody.
#[tokio::test]
async fn a_listener_whose_connection_fell_silent_listens_on_another_one() {
    let database = TestDatabase::create().await;
    let wire = Proxy::to_postgres(&database).await;
    let pool = cura_store::Database::connect_lazy(&wire.url(&database), "test", 8)
        .unwrap()
        .pool()
        .clone();
    let runs = Runs::default();
    let workers = counting(Workers::builder(&pool, config()), 2, &runs);
    add(database.pool(), 1).await;
    until(database.pool(), "Done", 1).await;
    let listening = async || {
        let pids: Vec<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'cura-queue-listener'",
        )
        .fetch_all(database.pool())
        .await
        .unwrap();
        pids
    };
    let before = eventually("it listens", async || listening().await.first().copied()).await;
    wire.fall_silent();
    let unheard = "SELECT count(*) FROM apalis.workers WHERE last_seen < now() - interval '500 milliseconds'";
    eventually("nothing comes through", async || {
        (database.count(unheard).await == 1).then_some(())
    })
    .await;
    wire.restore();
    eventually("it listens again", async || {
        listening().await.iter().any(|pid| *pid != before).then_some(())
    })
    .await;
    add(database.pool(), 2).await;
    until(database.pool(), "Done", 2).await;
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_old_is_forgotten_and_what_is_not_is_kept() {
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
    eventually("the old ones are forgotten", async || {
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
async fn a_claim_whose_answer_got_lost_is_given_back_without_spending_an_attempt() {
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
