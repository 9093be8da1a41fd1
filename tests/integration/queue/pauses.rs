//! Paused queues: no worker begins their jobs, whichever it is and whenever it starts, until they are resumed.

use std::time::{Duration, Instant};

use chrono::Utc;
use cura_queue::{Job, JobError, Run, pause, resume};
use cura_tests::TestDatabase;
use sqlx::PgPool;

use super::{OnFailureTask, Runs, Task, add, count, counting, until, workers};

/// Within this time every worker obeys.
const OBEYED: Duration = Duration::from_secs(2);

async fn paused(pool: &PgPool) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the time of an operator's act")]
    let now = Utc::now();
    let mut connection = pool.acquire().await.unwrap();
    pause(&mut connection, Task::QUEUE, "the provider bills twice", "ada", now)
        .await
        .unwrap()
}

async fn resumed(pool: &PgPool) -> bool {
    resume(&mut pool.acquire().await.unwrap(), Task::QUEUE).await.unwrap()
}

#[tokio::test]
async fn a_queue_that_is_paused_stays_so_for_workers_that_start_later_until_it_is_resumed() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    assert!(paused(pool).await);
    assert!(!paused(pool).await, "it was before");
    for id in 1..=5 {
        add(pool, id).await;
    }
    let runs = Runs::default();
    let first = counting(workers(&database), 4, &runs);
    let second = counting(workers(&database), 4, &runs);
    tokio::time::sleep(OBEYED).await;
    assert_eq!((runs.count(), count(pool, "Pending").await), (0, 5));
    let stats = cura_queue::stats(&mut pool.acquire().await.unwrap()).await.unwrap();
    let why = stats[0].paused.as_ref().map(|paused| paused.reason.as_str());
    assert_eq!((stats[0].ready, why), (5, Some("the provider bills twice")));
    let health = cura_queue::health(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(health.paused, [Task::QUEUE]);
    drop(first);
    let third = counting(workers(&database), 4, &runs);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        runs.count(),
        0,
        "a worker that has died and one that has started change nothing"
    );

    assert!(resumed(pool).await);
    assert!(!resumed(pool).await, "it is not paused any more");
    let begun = Instant::now();
    runs.reach(5).await;
    assert!(begun.elapsed() < OBEYED, "{:?}", begun.elapsed());
    until(pool, "Done", 5).await;
    second.shutdown(Duration::from_secs(5)).await;
    third.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_runs_finishes_and_other_queues_go_on_while_one_is_paused() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    let (runs, others) = (Runs::default(), Runs::default());
    let (counted, counted_others) = (runs.clone(), others.clone());
    let workers = workers(&database)
        .queue(1, move |_: Task, _: Run| {
            counted.add();
            async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Ok::<(), JobError>(())
            }
        })
        .queue(1, move |_: OnFailureTask, _: Run| {
            counted_others.add();
            async { Ok::<(), JobError>(()) }
        })
        .start();
    add(pool, 1).await;
    add(pool, 2).await;
    runs.reach(1).await;
    paused(pool).await;
    let mut connection = pool.acquire().await.unwrap();
    cura_queue::enqueue(&mut connection, &OnFailureTask { id: 1 })
        .await
        .unwrap();
    others.reach(1).await;
    until(pool, "Done", 1).await;
    tokio::time::sleep(OBEYED).await;
    assert_eq!((runs.count(), count(pool, "Pending").await), (1, 1));
    resumed(pool).await;
    until(pool, "Done", 2).await;
    workers.shutdown(Duration::from_secs(5)).await;
}
