//! Notifications: jobs start without waiting for the poll, and a lost connection is replaced.

use std::time::{Duration, Instant};

use cura_queue::{Workers, WorkersConfig};
use cura_tests::{Proxy, TestDatabase, eventually};

use super::{Runs, add, config, counting, until, workers};

/// The stock backend loses wake-ups: jobs wait for a poll of up to 30 s.
#[tokio::test]
async fn a_job_starts_without_waiting_for_the_poll() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let slow = WorkersConfig {
        poll_interval: Duration::from_secs(10),
        ..config()
    };
    let workers = counting(Workers::builder(database.pool(), slow), 2, &runs);
    let begun = Instant::now();
    for id in 1..=20 {
        add(database.pool(), id).await;
        runs.reach(usize::try_from(id).unwrap()).await;
    }
    // Each is added when the one before has just been found: unannounced, nearly all would wait for the whole poll.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    workers.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_lost_listener_is_replaced_and_covered_by_the_poll() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let workers = counting(workers(&database), 2, &runs);
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'cura-queue-listener'";
    // The first job may have been found by the query at the start.
    eventually("the notifier listens", async || {
        (database.count(cut).await > 0).then_some(())
    })
    .await;
    add(database.pool(), 2).await;
    runs.reach(2).await;
    workers.shutdown(Duration::from_secs(5)).await;
}

/// Who stops waiting for a new connection, to ask the old one whether it works, must not take the new one for the old.
#[tokio::test]
async fn what_was_added_while_the_notifier_was_away_starts_when_it_is_back() {
    let database = TestDatabase::create().await;
    let wire = Proxy::to_postgres(&database).await;
    let pool = cura_store::Database::connect_lazy(&wire.url(&database), "test", 8)
        .unwrap()
        .pool()
        .clone();
    let runs = Runs::default();
    let slow = WorkersConfig {
        poll_interval: Duration::from_secs(45),
        ..config()
    };
    let interval = slow.listener_check_interval;
    let workers = counting(Workers::builder(&pool, slow), 2, &runs);
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name = 'cura-queue-listener' AND query LIKE '%/* listening */'";
    eventually("the notifier listens", async || {
        (database.count(asked).await > 0).then_some(())
    })
    .await;
    // Between two questions.
    tokio::time::sleep(interval / 2).await;
    wire.cut_listeners();
    add(database.pool(), 2).await;
    let added = Instant::now();
    tokio::time::sleep(2 * interval).await;
    wire.restore_listeners();
    runs.reach(2).await;
    assert!(added.elapsed() < Duration::from_secs(30), "{:?}", added.elapsed());
    workers.shutdown(Duration::from_secs(5)).await;
}

/// A firewall that drops an idle connection notifies neither side.
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
