//! Enqueueing: with the transaction, once for each key, not before its time.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use cura_queue::{EnqueueOptions, Enqueued, enqueue, enqueue_with};
use cura_tests::TestDatabase;

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
