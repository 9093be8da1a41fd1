//! Shutting down: runs that can finish do, the other jobs are released, nothing is lost and nothing runs twice.

use std::time::{Duration, Instant};

use cura_queue::{JobError, Run, StopReason, Workers};
use cura_tests::{Cura, Proxy, ScriptedProvider, Step, TestDatabase, eventually};
use sqlx::postgres::PgPoolOptions;

use super::{Runs, Task, add, config, counting, row, until, workers};

/// Waits until the run has any reason to stop.
async fn stopped(run: &Run) -> StopReason {
    eventually("the run has a reason to stop", async || run.stop_reason()).await
}

/// The stock backend does not renew while it drains: an eight-second job ran twice on shutdown.
#[tokio::test]
async fn a_long_job_finishes_during_a_shutdown_and_runs_once() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let counted = runs.clone();
    let draining = workers(&database)
        .queue(4, move |_: Task, _: Run| {
            counted.add();
            async {
                // Three times as long as a lease lives.
                tokio::time::sleep(Duration::from_secs(6)).await;
                Ok::<(), JobError>(())
            }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let peer = counting(workers(&database), 4, &runs);
    let drained = draining.shutdown(Duration::from_secs(30)).await;
    assert_eq!(drained.released, 0);
    assert_eq!(row(database.pool(), 1).await.status, "Done");
    assert_eq!(runs.count(), 1);
    peer.shutdown(Duration::from_secs(5)).await;
}

/// With more than four batches in flight, the stock backend's shutdown never ends and loses every outcome.
#[tokio::test]
async fn a_shutdown_with_hundreds_of_jobs_in_flight_ends_and_keeps_every_outcome() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let counted = runs.clone();
    let workers = workers(&database)
        .queue(400, move |_: Task, run: Run| {
            counted.add();
            async move {
                // All of them end at once.
                stopped(&run).await;
                Ok::<(), JobError>(())
            }
        })
        .start();
    for id in 0..400 {
        add(database.pool(), id).await;
    }
    runs.reach(400).await;
    let begun = Instant::now();
    workers.shutdown(Duration::from_secs(20)).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    until(database.pool(), "Done", 400).await;
    assert_eq!(runs.count(), 400);
}

#[tokio::test]
async fn a_run_that_does_not_finish_is_released_at_once_and_keeps_its_attempt() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let counted = runs.clone();
    let stubborn = workers(&database)
        .queue(4, move |_: Task, _: Run| {
            counted.add();
            async { std::future::pending::<Result<(), JobError>>().await }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let peer = counting(workers(&database), 4, &runs);
    assert_eq!(stubborn.shutdown(Duration::from_millis(100)).await.released, 1);
    until(database.pool(), "Done", 1).await;
    assert_eq!(row(database.pool(), 1).await.attempts, 1);
    peer.shutdown(Duration::from_secs(5)).await;
}

/// An operator's grace is followed by a kill: outcomes must be written within it.
#[tokio::test]
async fn a_shutdown_fits_its_grace_even_if_postgres_falls_silent() {
    let database = TestDatabase::create().await;
    let wire = Proxy::to_postgres(&database).await;
    let pool = PgPoolOptions::new().connect_lazy(&wire.url(&database)).unwrap();
    let runs = Runs::default();
    let counted = runs.clone();
    let stubborn = Workers::builder(&pool, config())
        .queue(4, move |_: Task, _: Run| {
            counted.add();
            async { std::future::pending::<Result<(), JobError>>().await }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    wire.fall_silent();
    let begun = Instant::now();
    assert_eq!(stubborn.shutdown(Duration::from_secs(2)).await.released, 1);
    // Outcomes are given two seconds after a grace as short as this one; the rest is what a busy machine takes.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_job_may_release_itself_when_a_shutdown_begins() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    let counted = runs.clone();
    let polite = workers(&database)
        .queue(4, move |_: Task, run: Run| {
            counted.add();
            async move {
                assert_eq!(stopped(&run).await, StopReason::Draining);
                Err::<(), _>(JobError::Release)
            }
        })
        .start();
    add(database.pool(), 1).await;
    runs.reach(1).await;
    let peer = counting(workers(&database), 4, &runs);
    polite.shutdown(Duration::from_secs(10)).await;
    until(database.pool(), "Done", 1).await;
    assert_eq!(row(database.pool(), 1).await.attempts, 1);
    // A claim that was under way when the shutdown began may bring it back once, to be released again.
    assert!((2..=3).contains(&runs.count()), "{}", runs.count());
    peer.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn nothing_is_claimed_after_the_shutdown_has_begun() {
    let database = TestDatabase::create().await;
    let runs = Runs::default();
    counting(workers(&database), 4, &runs)
        .shutdown(Duration::from_secs(5))
        .await;
    add(database.pool(), 1).await;
    assert_eq!(row(database.pool(), 1).await.status, "Pending");
    assert_eq!(runs.count(), 0);
}

/// A restart under the same name leaves rows `Running` for ever with the stock backend; here every start has a new identity.
#[tokio::test]
async fn the_jobs_of_a_killed_process_are_finished_within_seconds() {
    let provider = ScriptedProvider::start(|number, _| {
        if number == 0 {
            vec![Step::Hang]
        } else {
            cura_tests::provider::answer(&["done"], Duration::ZERO)
        }
    })
    .await;
    let mut cura = Cura::builder().with("AI_MODEL_URL", provider.url()).start().await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    eventually("the provider is asked", async || {
        (provider.requests().len() == 1).then_some(())
    })
    .await;
    cura.workers[0].kill();
    let killed = Instant::now();
    cura.add_worker().await;
    stream.until("complete").await;
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn a_frozen_process_that_wakes_up_writes_nothing() {
    let provider = ScriptedProvider::start(|number, _| {
        // The first answer is still streaming when its worker wakes up.
        let count = if number == 0 { 1000 } else { 60 };
        let words: Vec<String> = (0..count).map(|n| format!("{number}:{n} ")).collect();
        cura_tests::provider::answer(
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
            Duration::from_millis(30),
        )
    })
    .await;
    let mut cura = Cura::builder()
        .with("AI_MODEL_URL", provider.url())
        .with("AI_CONTINUATION", "off")
        .start()
        .await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut seen = stream.until("chunk").await;
    cura.workers[0].signal("STOP");
    cura.add_worker().await;
    seen.extend(stream.until("start").await);
    cura.workers[0].signal("CONT");
    seen.extend(stream.rest().await);
    let text = cura_tests::client::text_after("", &seen);
    assert_eq!(text, (0..60).map(|n| format!("1:{n} ")).collect::<String>());
    assert_eq!(seen.last().unwrap().data["message"]["content"], text);
}
