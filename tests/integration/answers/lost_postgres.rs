//! Postgres is away, was restarted, or has too few connections: requests are refused for a while, and no answer is lost.

use std::time::{Duration, Instant};

use cura_tests::provider::words;
use cura_tests::{Cura, Program, ScriptedProvider, eventually, interrupted_answer};
use serde_json::json;

#[tokio::test]
async fn while_postgres_is_away_requests_get_retry_after_and_all_recovers_by_itself() {
    let provider = ScriptedProvider::answering(&["Here ", "I am"], Duration::ZERO).await;
    let (cura, proxy) = Cura::builder().with_provider(&provider).start_behind_proxy().await;
    let user = cura.user().await;
    assert_eq!(user.post("/chat/send", &json!({ "content": "Hi" })).await.status, 200);
    proxy.cut();
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(10) {
        for reply in [
            user.get("/conversations").await,
            user.post("/chat/send", &json!({ "content": "Hi" })).await,
            cura.client()
                .post("/auth/login", &json!({ "email": "a@example.com", "password": "b" }))
                .await,
        ] {
            assert_eq!(
                (reply.status.as_u16(), reply.code()),
                (503, "database_unavailable"),
                "{}",
                reply.body
            );
            assert!(reply.header("retry-after").is_some());
        }
        assert_eq!(user.get("/health").await.status, 503);
        assert_eq!(user.get("/health/ready").await.status, 503);
        assert_eq!(user.get("/health/live").await.status, 200);
    }
    proxy.restore();
    let sent = eventually("it answers again", async || {
        let sent = user.post("/chat/send", &json!({ "content": "Hi again" })).await;
        (sent.status == 200).then_some(sent)
    })
    .await;
    assert_eq!(sent.body["assistant_message"]["content"], "Here I am");
    let messages: i64 = sqlx::query_scalar("SELECT count(*) FROM messages")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(messages, 4, "what was refused was not stored");
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_survives_an_outage_of_postgres_in_its_middle() {
    let (mut answer, proxy) = interrupted_answer().start_behind_proxy().await;
    proxy.cut();
    let later = answer.words[58].clone();
    while !answer.text_seen().contains(&later) {
        let next = answer.stream.next().await.unwrap();
        answer.seen.push(next);
    }
    proxy.restore();
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    assert_eq!(answer.last().name, "complete");
    assert_eq!(answer.provider.requests().len(), 1, "it was not generated twice");
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_restarted_postgres_costs_no_message() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let send = async || user.post("/chat/send", &json!({ "content": "Hi" })).await;
    // Fill the pools.
    let many = futures_util::future::join_all((0..20).map(|_| send())).await;
    assert!(many.iter().all(|sent| sent.status == 200));
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(kill).execute(cura.database.pool()).await.unwrap();
    // A restart takes longer than a connection is believed to live.
    tokio::time::sleep(Duration::from_millis(700)).await;
    for _ in 0..20 {
        let sent = send().await;
        assert_eq!(sent.status, 200, "{}", sent.body);
        assert_eq!(sent.body["assistant_message"]["metadata"]["attempts"], 1);
    }
}

#[tokio::test]
async fn many_answers_that_end_while_they_are_being_saved_all_end() {
    // They last a second, after which the text so far is saved; and the worker has few connections, but not the server,
    // which is asked sixty times at once.
    let provider = ScriptedProvider::answering(&words(50), Duration::from_millis(20)).await;
    let mut cura = Cura::builder().workers(0).with_provider(&provider).start().await;
    let few = cura.variables_with(&[("DATABASE_POOL_SIZE", "2".to_owned())]);
    cura.workers
        .push(Program::start("cura-worker", &["--wait", "20"], &few));
    cura.workers[0].wait_for_log("the worker has started").await;
    let user = cura.user().await;
    let streams = (0..60).map(|_| {
        let user = user.clone();
        async move { user.stream("Hi").await.rest().await }
    });
    for seen in futures_util::future::join_all(streams).await {
        assert_eq!(seen.last().unwrap().name, "complete");
    }
    cura.check_invariants().await;
}
