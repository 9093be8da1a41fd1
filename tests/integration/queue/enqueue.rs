//! Enqueueing: with the transaction, once for each key, not before its time.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use cura_queue::{EnqueueOptions, Enqueued, JobError, Run, enqueue, enqueue_or_renew, enqueue_with, make_ready};
use cura_tests::TestDatabase;
use cura_tests::provider::Latch;

use super::{Runs, Task, add, counting, until, workers};

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
async fn a_job_that_is_over_can_be_renewed_and_one_that_waits_or_runs_stays_the_only_one() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let renew = async || {
        let mut connection = database.pool().acquire().await.unwrap();
        let renewed = enqueue_or_renew(&mut connection, &Task { id: 1 }, EnqueueOptions::default());
        renewed.await.unwrap()
    };
    assert!(matches!(renew().await, Enqueued::New(_)));
    assert_eq!(renew().await, Enqueued::Duplicate, "it waits");
    let running = "UPDATE apalis.jobs SET status = 'Running'";
    sqlx::query(running).execute(database.pool()).await.unwrap();
    assert_eq!(renew().await, Enqueued::Duplicate, "it runs");
    for (over, times) in [("Done", 1), ("Killed", 2)] {
        let end = "UPDATE apalis.jobs SET status = $1, attempts = 3, done_at = now()";
        sqlx::query(end).bind(over).execute(database.pool()).await.unwrap();
        assert!(matches!(renew().await, Enqueued::New(_)), "{over}");
        let workers = counting(workers(&database), 4, &runs);
        until(database.pool(), "Done", 1).await;
        assert_eq!(runs.count(), times);
        workers.shutdown(Duration::from_secs(5)).await;
    }
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

/// What it waits for happens between its look and its outcome: nobody would wake it later.
#[tokio::test]
async fn a_job_that_is_made_ready_while_it_finds_that_it_has_to_wait_does_not_wait() {
    let database = TestDatabase::create().await;
    let (runs, latch) = (Runs::default(), Latch::default());
    let workers = {
        let (runs, latch) = (runs.clone(), latch.clone());
        workers(&database)
            .queue(1, move |_: Task, _: Run| {
                let (run, latch) = (runs.add(), latch.clone());
                async move {
                    latch.opened().await;
                    match run {
                        1 => Err(JobError::Snooze {
                            after: Duration::from_secs(3600),
                            reason: "its turn has not come".to_owned(),
                        }),
                        _ => Ok(()),
                    }
                }
            })
            .start()
    };
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let mut connection = database.pool().acquire().await.unwrap();
    make_ready::<Task>(&mut connection, &["1".to_owned()]).await.unwrap();
    latch.open();
    until(database.pool(), "Done", 1).await;
    assert_eq!(runs.count(), 2);
    let left = "SELECT count(*) FROM apalis.jobs WHERE metadata ? 'ready'";
    assert_eq!(database.count(left).await, 0);
    workers.shutdown(Duration::from_secs(5)).await;
}
