//! Outcomes are written until Postgres has them, and one that it refuses harms no other.

use std::sync::Arc;
use std::time::Duration;

use cura_queue::{JobError, Run};
use cura_tests::TestDatabase;
use tokio::sync::{Mutex, Notify};

use super::{Runs, Task, add, config, count, counting, row, until, workers};

/// Postgres stores no NUL, which any reason may contain.
#[tokio::test]
async fn a_reason_that_cannot_be_stored_is_left_out_and_harms_no_neighbour() {
    let database = TestDatabase::create().await;
    let workers = workers(&database)
        .queue(4, |task: Task, _: Run| async move {
            match task.id {
                1 => Err(JobError::Discard {
                    reason: "a \0 from far away".to_owned(),
                }),
                _ => Ok(()),
            }
        })
        .start();
    for id in 1..=5 {
        add(database.pool(), id).await;
    }
    until(database.pool(), "Done", 4).await;
    until(database.pool(), "Killed", 1).await;
    let dead = row(database.pool(), 1).await;
    assert_eq!(dead.reason.as_deref(), Some("its reason could not be stored"));
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_outcome_that_is_refused_stalls_no_other_and_its_job_is_rescued() {
    let database = TestDatabase::create().await;
    for refuse in [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON apalis.jobs FOR EACH ROW
         WHEN (NEW.idempotency_key = '1' AND NEW.status = 'Done') EXECUTE FUNCTION refuse()",
    ] {
        sqlx::query(refuse).execute(database.pool()).await.unwrap();
    }
    let runs = Runs::default();
    let first = counting(workers(&database), 4, &runs);
    for id in 1..=5 {
        add(database.pool(), id).await;
    }
    until(database.pool(), "Done", 4).await;
    add(database.pool(), 6).await;
    until(database.pool(), "Done", 5).await;
    assert_eq!(row(database.pool(), 1).await.status, "Running");
    sqlx::query("DROP TRIGGER refuse ON apalis.jobs")
        .execute(database.pool())
        .await
        .unwrap();
    first.shutdown(Duration::from_secs(5)).await;
    let second = counting(workers(&database), 4, &runs);
    until(database.pool(), "Done", 6).await;
    assert_eq!((row(database.pool(), 1).await.attempts, runs.count()), (2, 7));
    second.shutdown(Duration::from_secs(5)).await;
}

/// A transaction that holds the lock of one job must not stop the queue.
#[tokio::test]
async fn an_outcome_whose_row_is_locked_holds_up_no_other() {
    let database = TestDatabase::create().await;
    let (runs, finish_first) = (Runs::default(), Arc::new(Notify::new()));
    let (started, finish) = (runs.clone(), Arc::clone(&finish_first));
    let workers = workers(&database)
        .queue(2, move |task: Task, _: Run| {
            let (started, finish) = (started.clone(), Arc::clone(&finish));
            async move {
                started.add();
                if task.id == 1 {
                    finish.notified().await;
                }
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let mut transaction = database.pool().begin().await.unwrap();
    let lock = "SELECT 1 FROM apalis.jobs WHERE idempotency_key = '1' FOR UPDATE";
    sqlx::query(lock).execute(&mut *transaction).await.unwrap();
    finish_first.notify_one();
    for id in 2..=5 {
        add(database.pool(), id).await;
    }
    until(database.pool(), "Done", 4).await;
    assert_eq!(row(database.pool(), 1).await.status, "Running");
    transaction.rollback().await.unwrap();
    until(database.pool(), "Done", 5).await;
    assert_eq!(runs.count(), 5, "each job ran once");
    workers.shutdown(Duration::from_secs(5)).await;
}

/// Otherwise jobs pile up in a process whose outcomes Postgres does not take.
#[tokio::test]
async fn a_slot_is_free_only_when_the_outcome_is_written() {
    let database = TestDatabase::create().await;
    let locked = Arc::new(Mutex::new(None));
    let (pool, lock) = (database.pool().clone(), Arc::clone(&locked));
    let workers = workers(&database)
        .queue(1, move |task: Task, _: Run| {
            let (pool, lock) = (pool.clone(), Arc::clone(&lock));
            async move {
                if task.id == 1 {
                    // This job's outcome cannot be written until the test ends the transaction.
                    let mut transaction = pool.begin().await.unwrap();
                    let own_row = "SELECT 1 FROM apalis.jobs WHERE idempotency_key = '1' FOR UPDATE";
                    sqlx::query(own_row).execute(&mut *transaction).await.unwrap();
                    *lock.lock().await = Some(transaction);
                }
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    add(database.pool(), 2).await;
    database.wait_for_lock_waiter().await;
    // Twice as long as the worker needs to find a ready job.
    tokio::time::sleep(config().poll_interval * 2).await;
    assert_eq!(
        count(database.pool(), "Pending").await,
        1,
        "the second is not claimed yet"
    );
    locked.lock().await.take().unwrap().rollback().await.unwrap();
    until(database.pool(), "Done", 2).await;
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_job_that_its_handler_has_completed_has_no_other_outcome() {
    let database = TestDatabase::create().await;
    let pool = database.pool().clone();
    let workers = workers(&database)
        .queue(1, move |_: Task, run: Run| {
            let pool = pool.clone();
            async move {
                let claimed = run.claimed();
                let done = sqlx::query(
                    "UPDATE apalis.jobs SET status = 'Done', done_at = now(), lock_by = NULL, last_result = '\"by its handler\"'
                     WHERE id = $1 AND lock_by = $2 AND attempts = $3 AND status = 'Running'",
                )
                .bind(&claimed.job_id)
                .bind(&*claimed.instance_id)
                .bind(claimed.attempt.cast_signed())
                .execute(&pool)
                .await
                .unwrap();
                assert_eq!(done.rows_affected(), 1);
                run.completed_by_handler();
                Ok::<(), JobError>(())
            }
        })
        .start();
    for id in 1..=3 {
        add(database.pool(), id).await;
    }
    until(database.pool(), "Done", 3).await;
    let by_handler = "SELECT count(*) FROM apalis.jobs WHERE last_result = '\"by its handler\"' AND attempts = 1";
    assert_eq!(database.count(by_handler).await, 3);
    workers.shutdown(Duration::from_secs(5)).await;
}
