//! Cancelling jobs before they start and while they run.

use std::time::Duration;

use cura_queue::{Cancelled, JobError, Run, StopReason, cancel};
use cura_tests::TestDatabase;

use super::{Runs, Task, add, counting, row, until, workers};

#[tokio::test]
async fn a_cancelled_job_that_has_not_started_never_runs() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    for id in [1, 2] {
        add(database.pool(), id).await;
    }
    let mut connection = database.pool().acquire().await.unwrap();
    assert_eq!(
        cancel::<Task>(&mut connection, "1").await.unwrap(),
        Cancelled::BeforeStart
    );
    assert_eq!(cancel::<Task>(&mut connection, "1").await.unwrap(), Cancelled::TooLate);
    assert_eq!(cancel::<Task>(&mut connection, "99").await.unwrap(), Cancelled::TooLate);
    let workers = counting(workers(&database), 4, &runs);
    until(database.pool(), "Done", 1).await;
    assert_eq!(runs.count(), 1);
    assert_eq!(row(database.pool(), 1).await.status, "Killed");
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_run_of_a_cancelled_job_is_signalled() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let counted = runs.clone();
    let workers = workers(&database)
        .queue(4, move |_: Task, run: Run| {
            counted.add();
            async move {
                assert_eq!(run.cancelled().await, StopReason::Cancelled);
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let cancelled = cancel::<Task>(&mut database.pool().acquire().await.unwrap(), "1")
        .await
        .unwrap();
    assert_eq!(cancelled, Cancelled::Signalled);
    until(database.pool(), "Done", 1).await;
    workers.shutdown(Duration::from_secs(5)).await;
}
