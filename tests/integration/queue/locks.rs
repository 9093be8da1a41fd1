//! Rows of jobs that several transactions lock at once: no deadlock.

use std::cell::Cell;
use std::time::Duration;

use cura_queue::{Cancelled, EnqueueOptions, cancel, enqueue_with, make_ready};
use cura_tests::{TestDatabase, eventually};
use sqlx::PgPool;

use super::{Runs, Task, add, counting, row, until, workers};

/// A job that waits for a minute unless it is made ready.
async fn add_waiting(pool: &PgPool, id: i64) {
    let options = EnqueueOptions {
        after: Duration::from_secs(60),
        ..EnqueueOptions::default()
    };
    enqueue_with(&mut pool.acquire().await.unwrap(), &Task { id }, options)
        .await
        .unwrap();
}

#[tokio::test]
async fn transactions_that_cancel_one_job_and_make_others_ready_do_not_wait_for_each_other() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for id in 1..=3 {
        add_waiting(pool, id).await;
    }
    let (mut one, mut other) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    assert_eq!(cancel::<Task>(&mut one, "1").await.unwrap(), Cancelled::BeforeStart);
    assert_eq!(cancel::<Task>(&mut other, "2").await.unwrap(), Cancelled::BeforeStart);
    let (of_other, of_one) = (["2".to_owned(), "3".to_owned()], ["1".to_owned()]);
    let (by_one, by_other) = tokio::join!(
        make_ready::<Task>(&mut one, &of_other),
        make_ready::<Task>(&mut other, &of_one),
    );
    by_one.unwrap();
    by_other.unwrap();
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    for cancelled in [1, 2] {
        assert_eq!(row(pool, cancelled).await.status, "Killed");
    }
    let ready = "SELECT count(*) FROM apalis.jobs WHERE status = 'Pending' AND run_at <= now()";
    assert_eq!(database.count(ready).await, 1, "the third was made ready");
}

/// The queue's own statements lock many rows, in no particular order. In a deadlock with another transaction they are the
/// ones that give up, and are tried again.
#[tokio::test]
async fn in_a_deadlock_with_a_batch_of_the_queue_the_other_transaction_wins() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    sqlx::query(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES ('dead', 'cura', 'cura', '', now() - interval '1 minute', now())",
    )
    .execute(pool)
    .await
    .unwrap();
    for id in 1..=3 {
        add(pool, id).await;
    }
    sqlx::query("UPDATE apalis.jobs SET status = 'Running', lock_by = 'dead', lock_at = now(), attempts = 1")
        .execute(pool)
        .await
        .unwrap();
    let (mut first, mut person) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    cancel::<Task>(&mut first, "2").await.unwrap();
    cancel::<Task>(&mut person, "3").await.unwrap();
    // The rescue has locked the first, waits for the second, and would wait for the third then.
    let runs = Runs::default();
    let workers = counting(workers(&database), 4, &runs);
    database.wait_for_lock_waiter().await;
    let over = Cell::new(false);
    let cancelling = async {
        let cancelled = cancel::<Task>(&mut person, "1").await;
        over.set(true);
        cancelled
    };
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let closing = async {
        eventually("two wait, or one has given up", async || {
            (over.get() || database.count(waiting).await == 2).then_some(())
        })
        .await;
        first.rollback().await.unwrap();
    };
    let (cancelled, ()) = tokio::join!(cancelling, closing);
    assert_eq!(cancelled.unwrap(), Cancelled::Signalled);
    person.commit().await.unwrap();
    until(pool, "Done", 3).await;
    workers.shutdown(Duration::from_secs(5)).await;
}
