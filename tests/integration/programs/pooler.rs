//! PgBouncer in front of Postgres: what works behind it, and what a program says that does not start.

use std::time::Duration;

use cura_tests::{
    Cura, PgBouncer, PoolMode, PostgresPair, Program, ScriptedProvider, TestDatabase, TestRedis, eventually,
    interrupted_answer,
};
use serde_json::json;

use super::startup::refuses;

/// What a program needs to start, with these URLs.
fn variables(main: &str, direct: &str) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", main.to_owned()),
        ("DATABASE_DIRECT_URL", direct.to_owned()),
        ("REDIS_URL", "redis://127.0.0.1:1".to_owned()),
        ("PORT", "0".to_owned()),
    ]
}

/// An account, answers, many lists at once, and what `/health` says.
async fn use_it(cura: &Cura) {
    let user = cura.user().await;
    for _ in 0..5 {
        let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await;
        assert_eq!(sent.status, 200, "{}", sent.body);
        assert_eq!(sent.body["assistant_message"]["content"], "Here I am");
    }
    // As many at once as there are connections, and more than the pooler has sessions.
    let lists = (0..20).map(|_| user.get("/conversations"));
    for list in futures_util::future::join_all(lists).await {
        assert_eq!(list.body["items"].as_array().map(Vec::len), Some(5), "{}", list.body);
    }
    assert_eq!(user.get("/health/ready").await.status, 200);
    assert_eq!(user.get("/health").await.body["queue"]["status"], "up");
    cura.check_invariants().await;
}

async fn works_behind(mode: PoolMode) {
    let provider = ScriptedProvider::answering(&["Here ", "I am"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .behind_pooler(mode)
        .start()
        .await;
    use_it(&cura).await;
    let said = cura.logs();
    assert!(
        !said.contains("ERROR") && !said.contains("prepared statement"),
        "{said}"
    );
}

/// An answer that is streamed, whose worker dies in its middle.
async fn loses_a_worker_behind(mode: PoolMode) {
    let mut answer = interrupted_answer().behind_pooler(mode).start().await;
    answer.until_checkpointed().await;
    answer.cura.workers[0].kill();
    answer.cura.add_worker().await;
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    assert_eq!(answer.last().name, "complete");
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn everything_works_behind_session_pooling() {
    works_behind(PoolMode::Session).await;
}

#[tokio::test]
async fn everything_works_behind_transaction_pooling_with_a_direct_url() {
    works_behind(PoolMode::Transaction).await;
}

#[tokio::test]
async fn a_lost_worker_costs_no_word_behind_session_pooling() {
    loses_a_worker_behind(PoolMode::Session).await;
}

#[tokio::test]
async fn a_lost_worker_costs_no_word_behind_transaction_pooling_with_a_direct_url() {
    loses_a_worker_behind(PoolMode::Transaction).await;
}

/// A failover that leaves the old primary running, read only, and the pooler's sessions at it.
async fn survives_a_fenced_primary_behind(mode: PoolMode) {
    let pair = PostgresPair::start().await;
    let provider = ScriptedProvider::answering(&["Here ", "I am"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .behind_pooler(mode)
        .start_on_database(pair.database().await)
        .await;
    let user = cura.user().await;
    // Several sessions at once, so that the pooler has several.
    let lists = (0..10).map(|_| user.get("/conversations"));
    futures_util::future::join_all(lists).await;
    assert_eq!(user.post("/chat/send", &json!({ "content": "Hi" })).await.status, 200);
    pair.make_primary_read_only().await;
    pair.proxy.lead_new_ones_to(pair.standby_port());
    eventually("it is noticed", async || {
        (user.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    pair.promote_standby();
    eventually("it is ready", async || {
        (user.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    let sent = eventually("it answers again", async || {
        let sent = user.post("/chat/send", &json!({ "content": "Hi again" })).await;
        (sent.status == 200).then_some(sent)
    })
    .await;
    assert_eq!(sent.body["assistant_message"]["status"], "sent", "{}", sent.body);
    // What was written before the failover is there.
    let list = user.get("/conversations").await;
    assert!(
        list.body["items"].as_array().is_some_and(|items| items.len() >= 2),
        "{}",
        list.body
    );
}

#[tokio::test]
async fn sessions_at_a_fenced_primary_are_not_handed_out_again_by_session_pooling() {
    survives_a_fenced_primary_behind(PoolMode::Session).await;
}

#[tokio::test]
async fn sessions_at_a_fenced_primary_are_not_handed_out_again_by_transaction_pooling() {
    survives_a_fenced_primary_behind(PoolMode::Transaction).await;
}

#[tokio::test]
async fn transaction_pooling_without_a_direct_url_is_refused_by_name() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::start(&database, PoolMode::Transaction);
    let pooled = pooler.url(database.name());
    for program in ["cura-server", "cura-worker"] {
        let said = refuses(program, &variables(&pooled, "")).await;
        assert!(
            said.starts_with("error: DATABASE_URL names a pooler that gives each transaction another session"),
            "{said}"
        );
        assert!(said.contains("DATABASE_DIRECT_URL"), "{said}");
    }
    // A second URL that leads to the same pooler does not help, nor one to another database.
    let other = TestDatabase::create().await;
    for direct in [pooled.clone(), other.url()] {
        let said = refuses("cura-worker", &variables(&pooled, &direct)).await;
        assert!(
            said.starts_with("error: DATABASE_DIRECT_URL does not reach the sessions"),
            "{said}"
        );
    }
    // Migrations need a session, too: its lock and its settings.
    let migrate = async |variables: Vec<(&'static str, String)>| {
        let mut program = Program::start("cura-admin", &["migrate", "up"], &variables);
        let code = program.ended().await;
        (code, program.logs())
    };
    let (code, said) = migrate(variables(&pooled, "")).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("error: DATABASE_URL names a pooler"), "{said}");
    let (code, said) = migrate(variables(&pooled, &database.url())).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn why_a_postgres_cannot_be_used_is_said_and_its_url_is_not() {
    let database = TestDatabase::create().await;
    let url = |user: &str, name: &str| {
        let shared = database.url();
        let (base, _) = shared.rsplit_once('/').unwrap();
        format!("{}/{name}", base.replacen("postgres@", &format!("{user}@"), 1))
    };
    for (given, said) in [
        (url("postgres", "hunter2"), "names a database that does not exist"),
        (
            url("hunter2:hunter2", database.name()),
            "names a Postgres that does not let this user in",
        ),
        (
            "postgres://hunter2@127.0.0.1:1/hunter2".to_owned(),
            "names a Postgres that does not answer",
        ),
        (
            "postgres://hunter2@hunter2.invalid/x".to_owned(),
            "names a host that cannot be found",
        ),
        (
            "postgres://hunter2@a:5432,hunter2:5432/x".to_owned(),
            "names several hosts",
        ),
        (
            "mysql://hunter2@127.0.0.1/hunter2".to_owned(),
            "is not a Postgres URL; it must begin with postgres:// or postgresql://",
        ),
        (
            "hunter2".to_owned(),
            "is not a Postgres URL; it must begin with postgres://",
        ),
    ] {
        let line = refuses("cura-worker", &variables(&given, "")).await;
        assert!(line.starts_with(&format!("error: DATABASE_URL {said}")), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn why_a_pooler_cannot_be_used_is_said_and_its_url_is_not() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::start(&database, PoolMode::Session);
    let stranger_there = PgBouncer::start_as(&database, "hunter2");
    let nothing = PgBouncer::start_to_nothing(PoolMode::Session);
    let good = pooler.url(database.name());
    let stranger = good.replacen("postgres@", "hunter2@", 1);
    for (given, said) in [
        (
            pooler.url("hunter2"),
            "names a PgBouncer that does not know the database",
        ),
        (
            stranger,
            "names a PgBouncer that does not accept the user or the password",
        ),
        (
            format!("{good}&options=-c%20search_path%3Dhunter2"),
            "names a PgBouncer that refuses a parameter of the URL (options)",
        ),
        (
            stranger_there.url(database.name()),
            "names a PgBouncer that cannot sign in to Postgres itself",
        ),
        (
            nothing.url("cura"),
            "names a Postgres that does not answer in time, or a pooler whose Postgres does not",
        ),
    ] {
        let line = refuses("cura-worker", &variables(&given, "")).await;
        assert!(line.starts_with(&format!("error: DATABASE_URL {said}")), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
    // It goes on to the next dependency.
    let redis = TestRedis::start();
    let mut with_redis = variables(&good, "");
    with_redis.push(("REDIS_URL", redis.url()));
    let worker = Program::start("cura-worker", &[], &with_redis);
    worker.wait_for_log("the worker has started").await;
}
