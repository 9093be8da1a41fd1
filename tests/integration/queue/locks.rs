//! Rows of jobs that several transactions want at once: nobody waits in a circle.

use std::time::Duration;

use cura_queue::{Cancelled, Turn, cancel, enqueue_for, release};
use cura_tests::TestDatabase;
use sqlx::PgPool;

use super::{Task, row};

/// A job that would wait for a minute if nobody released it.
async fn add_waiting(pool: &PgPool, id: i64) {
    let turn = Turn {
        after: Duration::from_secs(60),
        ..Turn::default()
    };
    enqueue_for(&mut pool.acquire().await.unwrap(), &Task { id }, turn)
        .await
        .unwrap();
}

#[tokio::test]
async fn two_who_cancel_their_own_job_and_release_the_others_do_not_wait_for_each_other() {
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
        release::<Task>(&mut one, &of_other),
        release::<Task>(&mut other, &of_one),
    );
    by_one.unwrap();
    by_other.unwrap();
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    for cancelled in [1, 2] {
        assert_eq!(row(pool, cancelled).await.status, "Killed");
    }
    let ready = "SELECT count(*) FROM apalis.jobs WHERE status = 'Pending' AND run_at <= now()";
    assert_eq!(database.count(ready).await, 1, "the third was released");
}
