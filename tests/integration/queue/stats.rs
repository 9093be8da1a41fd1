//! What operators and `/health` see of the queues.

use std::time::Duration;

use cura_tests::TestDatabase;

use super::{Runs, add, counting, until, workers};

#[tokio::test]
async fn health_reports_how_many_workers_live_and_how_long_jobs_wait() {
    let database = TestDatabase::create().await;
    let health = async || {
        cura_queue::health(&mut database.pool().acquire().await.unwrap())
            .await
            .unwrap()
    };
    assert_eq!(
        (health().await.workers, health().await.oldest_ready),
        (0, Duration::ZERO)
    );
    add(database.pool(), 1).await;
    sqlx::query("UPDATE apalis.jobs SET run_at = now() - interval '1 minute'")
        .execute(database.pool())
        .await
        .unwrap();
    assert!(health().await.oldest_ready >= Duration::from_secs(60));
    let stats = cura_queue::stats(&mut database.pool().acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!((stats.len(), stats[0].ready, stats[0].dead), (1, 1, 0));
    let workers = counting(workers(&database), 4, &Runs::default());
    until(database.pool(), "Done", 1).await;
    assert_eq!(
        (health().await.workers, health().await.oldest_ready),
        (1, Duration::ZERO)
    );
    workers.shutdown(Duration::from_secs(5)).await;
    assert_eq!(health().await.workers, 0, "a shutdown ends the lease");
}
