//! Fairness: how many answers of one user are written at a time, and in which order users are answered.

use std::time::Duration;

use cura_domain::MessageId;
use cura_store::answers::{self, AttemptStart};
use cura_tests::provider::{Step, answer, chunk};
use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::Value;

/// A provider that hangs after its first word until the test releases it.
async fn held(release: std::sync::Arc<std::sync::atomic::AtomicBool>) -> ScriptedProvider {
    ScriptedProvider::start(move |_, _| {
        let mut steps = vec![Step::Head];
        let open = release.load(std::sync::atomic::Ordering::SeqCst);
        if open {
            return answer(&["ok"], Duration::ZERO);
        }
        steps.push(Step::Write(chunk("ok")));
        steps.push(Step::Hang);
        steps
    })
    .await
}

#[tokio::test]
async fn a_limited_number_of_answers_of_one_user_is_written_at_a_time_and_the_rest_wait() {
    let release = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let provider = held(std::sync::Arc::clone(&release)).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("USER_RUNNING_ANSWERS", "2")
        .start()
        .await;
    let user = cura.user().await;
    let mut answers = Vec::new();
    for n in 0..5 {
        answers.push(user.ask(&n.to_string()).await);
        if n < 2 {
            eventually("it is written", async || (provider.requests().len() > n).then_some(())).await;
        }
    }
    let other = cura.client().register("other@example.com").await;
    other.ask("mine").await;
    provider.wait_for_requests(3).await;
    release.store(true, std::sync::atomic::Ordering::SeqCst);
    for answer in &answers[..2] {
        user.cancel(answer).await;
    }
    for answer in &answers[2..] {
        assert_eq!(user.until_final(answer).await["content"], "ok");
    }
}

#[tokio::test]
async fn attempts_that_start_at_the_same_instant_do_not_get_around_the_limit() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut waiting = Vec::new();
    for n in 0..4 {
        let answer = user.ask(&n.to_string()).await;
        waiting.push(MessageId(answer.as_i64().unwrap()));
    }
    let pool = cura.database.pool();
    let now = chrono::DateTime::from(std::time::SystemTime::now());
    let take = async |id: MessageId| {
        let mut transaction = pool.begin().await.unwrap();
        let taken = answers::start_attempt(&mut transaction, id, 2, "test", now)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        matches!(taken, AttemptStart::Started(_))
    };
    let mut first = pool.begin().await.unwrap();
    let taken = answers::start_attempt(&mut first, waiting[0], 2, "test", now)
        .await
        .unwrap();
    assert!(matches!(taken, AttemptStart::Started(_)));
    let commit = async {
        cura.database.wait_for_lock_waiter().await;
        first.commit().await.unwrap();
    };
    let (second, third, fourth, ()) = tokio::join!(take(waiting[1]), take(waiting[2]), take(waiting[3]), commit);
    let began = [second, third, fourth].into_iter().filter(|began| *began).count();
    assert_eq!(began, 1, "the first has one of the two places");
}

#[tokio::test]
async fn retried_answers_wait_for_their_turn_and_take_no_place_while_no_provider_can_be_asked() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut retried = Vec::new();
    for n in 0..4 {
        let answer = user.ask(&n.to_string()).await;
        retried.push(MessageId(answer.as_i64().unwrap()));
    }
    let pool = cura.database.pool();
    let now = chrono::DateTime::from(std::time::SystemTime::now());
    let failed = "UPDATE messages SET status = 'error', error_code = 'x', attempt = 3, attempt_offsets = '{0,0,0}' WHERE role = 'assistant'";
    sqlx::query(failed).execute(pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    for id in &retried {
        assert!(answers::retry(&mut connection, *id, 0, now).await.unwrap());
    }
    // All of them look while the provider is away.
    for id in &retried {
        answers::record_eligible(&mut connection, *id, 2, now).await.unwrap();
    }
    drop(connection);
    let start = async |id: MessageId| {
        let mut transaction = pool.begin().await.unwrap();
        let started = answers::start_attempt(&mut transaction, id, 2, "test", now)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        matches!(started, AttemptStart::Started(_))
    };
    // What is asked now finds both places free, and takes one.
    let fresh = MessageId(user.ask("now").await.as_i64().unwrap());
    assert!(start(fresh).await);
    let mut began = Vec::new();
    for id in &retried {
        began.push(start(*id).await);
    }
    assert_eq!(began, [true, false, false, false], "two run at a time");
    assert!(start(retried[0]).await, "a later attempt keeps the place");
}

#[tokio::test]
async fn when_all_workers_are_busy_users_see_their_position_and_none_waits_for_another_users_backlog() {
    let release = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let provider = held(std::sync::Arc::clone(&release)).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1")
        .start()
        .await;
    let (ann, bob) = (
        cura.client().register("ann@example.com").await,
        cura.client().register("bob@example.com").await,
    );
    let busy = ann.ask("busy").await;
    provider.wait_for_requests(1).await;
    for n in 0..5 {
        ann.ask(&format!("ann {n}")).await;
    }
    let mut bobs = bob.stream("bob").await;
    let seen = bobs.until("queued").await;
    assert_eq!(
        seen.last().unwrap().data["position"],
        1,
        "before all that Ann has heaped up"
    );
    release.store(true, std::sync::atomic::Ordering::SeqCst);
    ann.cancel(&busy).await;
    bobs.until("complete").await;
    let order: Vec<String> = provider
        .requests()
        .iter()
        .map(|asked| {
            let messages = asked.body["messages"].as_array().unwrap();
            messages.last().unwrap()["content"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(order[..2], ["busy", "bob"], "{order:?}");
    eventually("all are answered", async || {
        let running = "SELECT count(*) FROM messages WHERE status = 'sending'";
        (cura.database.count(running).await == 0).then_some(())
    })
    .await;
    let order: Vec<Value> = provider
        .requests()
        .iter()
        .map(|asked| asked.body["messages"].clone())
        .collect();
    for (n, messages) in order[2..].iter().enumerate() {
        let last = messages.as_array().unwrap().last().unwrap();
        assert_eq!(last["content"], format!("ann {n}"), "in their order");
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_a_worker_had_time_for_is_not_called_queued() {
    let release = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let provider = held(std::sync::Arc::clone(&release)).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1")
        .start()
        .await;
    let (ann, bob, eve) = (
        cura.client().register("ann@example.com").await,
        cura.client().register("bob@example.com").await,
        cura.client().register("eve@example.com").await,
    );
    let busy = ann.ask("busy").await;
    eventually("the worker is busy", async || {
        (provider.requests().len() == 1).then_some(())
    })
    .await;
    let postponed = eve.ask("postponed").await;
    let note = "UPDATE messages SET started_at = now() WHERE id = $1";
    let noted = sqlx::query(note).bind(postponed.as_i64()).execute(cura.database.pool());
    assert_eq!(noted.await.unwrap().rows_affected(), 1);
    let mut of_postponed = eve.resume(postponed.as_i64().unwrap(), None).await;
    let mut of_waiting = bob.stream("waiting").await;
    of_waiting.until("queued").await;
    release.store(true, std::sync::atomic::Ordering::SeqCst);
    ann.cancel(&busy).await;
    let seen = of_postponed.until("complete").await;
    assert!(seen.iter().all(|event| event.name != "queued"), "{seen:?}");
    of_waiting.until("complete").await;
    cura.check_invariants().await;
}
