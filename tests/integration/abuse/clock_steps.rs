//! Postgres' clock is set forward or back, by an operator or by a failover to a machine that is ahead: no worker is declared
//! dead, nothing is asked twice, and nothing waits for the clock.

use std::time::{Duration, Instant};

use cura_queue::{JobError, Run};
use cura_tests::provider::{Latch, Step, chunk, finish};
use cura_tests::{Cura, ScriptedProvider, TestDatabase, eventually};

use crate::queue::{Runs, Task, add, count, counting, until, workers};

/// The heartbeats of all workers.
async fn beats(database: &TestDatabase) -> i64 {
    database
        .count("SELECT COALESCE(sum(beats), 0)::bigint FROM apalis.workers")
        .await
}

/// Waits until every worker has looked at the others for longer than a lease.
async fn let_workers_look(database: &TestDatabase, workers: i64, beats_in_a_lease: i64) {
    let before = beats(database).await;
    eventually("the workers beat", async || {
        (beats(database).await >= before + 2 * workers * beats_in_a_lease).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_worker_is_declared_dead_and_no_answer_is_asked_twice() {
    let latch = Latch::default();
    let provider = {
        let latch = latch.clone();
        ScriptedProvider::start(move |_, _| {
            let begun = [Step::Head, Step::Write(chunk("All ")), Step::Wait(latch.clone())];
            let rest = [Step::Write(chunk("is well"))];
            begun.into_iter().chain(rest).chain(finish(2)).collect()
        })
        .await
    };
    let cura = Cura::builder()
        .workers(3)
        .with_provider(&provider)
        .start_with_stepping_clock()
        .await;
    let user = cura.user().await;
    let mut answers = Vec::new();
    for n in 0..6 {
        answers.push(user.ask(&n.to_string()).await);
    }
    provider.wait_for_requests(answers.len()).await;
    for step in [5, -5, 3600] {
        cura.database.step_clock(step).await;
        let_workers_look(&cura.database, 3, 4).await;
    }
    latch.open();
    for answer in &answers {
        let message = user.until_final(answer).await;
        assert_eq!(message["content"], "All is well", "{message}");
        assert_eq!(message["metadata"]["attempts"], 1, "{message}");
    }
    assert_eq!(provider.requests().len(), answers.len());
    let logs = cura.logs();
    assert!(
        !logs.contains("missed heartbeats") && !logs.contains("declared dead"),
        "{logs}"
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn jobs_that_were_ready_do_not_wait_until_the_clock_is_there_again() {
    let database = TestDatabase::create().await;
    database.let_clock_step().await;
    let (latch, runs) = (Latch::default(), Runs::default());
    let busy = {
        let (latch, runs) = (latch.clone(), runs.clone());
        workers(&database)
            .queue(1, move |_: Task, _: Run| {
                runs.add();
                let latch = latch.clone();
                async move {
                    latch.opened().await;
                    Ok::<(), JobError>(())
                }
            })
            .start()
    };
    // On the clock that will be set back: a connection of the workers' kind.
    let pool = sqlx::PgPool::connect(&database.url()).await.unwrap();
    for id in 0..3 {
        add(&pool, id).await;
    }
    runs.reach(1).await;
    // A step is one from what the clock said at a heartbeat.
    eventually("the clock was read", async || {
        (beats(&database).await > 0).then_some(())
    })
    .await;
    database.step_clock(-3600).await;
    latch.open();
    until(database.pool(), "Done", 3).await;
    assert_eq!(runs.count(), 3);
    busy.shutdown(Duration::from_secs(5)).await;
}

/// The clock has no part in it, so the reverse holds, too: a worker that died while the clock was set back is missed at once.
#[tokio::test]
async fn a_worker_that_died_is_missed_although_its_heartbeat_lies_in_the_future() {
    let database = TestDatabase::create().await;
    for statement in [
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES ('dead', 'cura', 'cura', '', now() + interval '1 hour', now())",
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key,
                                  lock_by, lock_at)
         VALUES ('x', '{\"id\": 1}', 'test-task', 'Running', 1, 3, now(), 0, '1', 'dead', now())",
    ] {
        sqlx::query(statement).execute(database.pool()).await.unwrap();
    }
    let runs = Runs::default();
    let begun = Instant::now();
    let rescuer = counting(workers(&database), 1, &runs);
    until(database.pool(), "Done", 1).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!((runs.count(), count(database.pool(), "Running").await), (1, 0));
    rescuer.shutdown(Duration::from_secs(5)).await;
}
