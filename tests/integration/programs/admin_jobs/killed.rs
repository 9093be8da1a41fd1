//! `kill -9` while a command is stopped in each statement of its act: either all of the act has happened, or nothing, and it can be given
//! again.

use cura_tests::{Program, TestDatabase, eventually};
use sqlx::AssertSqlSafe;

use super::{json_of, run, run_beside, sql};
use crate::programs::admin_jobs::refusals::{failed, refusing};

/// Starts the command while a table is locked, kills it when it waits for that, and lets go.
async fn kill_at(table: &str, database: &TestDatabase, arguments: &[&str], variables: &[(&'static str, String)]) {
    let mut holder = database.pool().begin().await.unwrap();
    let lock = AssertSqlSafe(format!("LOCK TABLE {table} IN EXCLUSIVE MODE"));
    sqlx::query(lock).execute(&mut *holder).await.unwrap();
    let mut killed = Program::start("cura-admin", arguments, variables);
    eventually("it waits for the lock", async || {
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE application_name = 'cura-admin' AND wait_event_type = 'Lock' AND datname = current_database()";
        (database.count(waits).await >= 1).then_some(())
    })
    .await;
    killed.kill();
    holder.rollback().await.unwrap();
    eventually("its transaction has ended", async || {
        let open = "SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'cura-admin' AND datname = current_database()";
        (database.count(open).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_retried_with_its_job_and_its_record_or_not_at_all() {
    let (mut cura, _provider) = refusing(&[]).await;
    let user = cura.user().await;
    let (message, job) = failed(&cura, &user).await;
    cura.workers.clear();
    let variables = [
        ("DATABASE_URL", cura.database.url()),
        ("REDIS_URL", cura.redis.url()),
        ("CURA_OPERATOR", "ada".to_owned()),
    ];
    for table in [
        "users",
        "conversations",
        "messages",
        "apalis.jobs",
        "event_counters",
        "events",
        "operator_actions",
    ] {
        kill_at(table, &cura.database, &["jobs", "retry", &job], &variables).await;
        let is_retried = "SELECT count(*) FROM messages WHERE status = 'sending'";
        let waits = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'generate-answer' AND status = 'Pending'";
        let recorded = "SELECT count(*) FROM operator_actions WHERE failure IS NULL";
        let told = "SELECT count(*) FROM events WHERE kind = 'message' AND seq > (SELECT max(seq) FROM events WHERE kind = 'ended')";
        let of = async |what: &'static str| cura.database.count(what).await;
        let retried = of(is_retried).await;
        assert_eq!(
            (of(waits).await, of(recorded).await, of(told).await),
            (retried, retried, retried),
            "killed at {table}"
        );
        if retried == 1 {
            // The kill came after its end.
            break;
        }
    }
    let again = |arguments: &[&str]| run_beside(&cura, arguments);
    let pending = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'generate-answer' AND status = 'Pending'";
    if cura.database.count(pending).await == 0 {
        assert_eq!(json_of(again, &["retry", &job])["retried"], 1);
    }
    cura.add_worker().await;
    user.until_final(&message["id"]).await;
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_batch_is_retried_or_pruned_whole_or_not_at_all_and_the_rest_can_be() {
    let database = super::acts::with_dead_jobs("send-push", 1200).await;
    let variables = [("DATABASE_URL", database.url())];
    let (dead, retried) = (
        "SELECT count(*) FROM apalis.jobs WHERE status = 'Killed'",
        "SELECT count(*) FROM apalis.jobs WHERE status = 'Pending'",
    );
    let recorded =
        "SELECT COALESCE(sum((arguments ->> 'retried')::int), 0) FROM operator_actions WHERE failure IS NULL";
    for table in ["apalis.jobs", "operator_actions"] {
        kill_at(
            table,
            &database,
            &["jobs", "retry", "--all", "--queue", "send-push"],
            &variables,
        )
        .await;
        let waiting = database.count(retried).await;
        assert_eq!(waiting % 100, 0, "a batch is whole");
        assert_eq!(database.count(recorded).await, waiting, "killed at {table}");
        assert_eq!(database.count(dead).await + waiting, 1200);
    }
    let left = database.count(dead).await;
    let again = json_of(
        |arguments| run(&database, arguments),
        &["retry", "--all", "--queue", "send-push"],
    );
    assert_eq!(again["retried"], left);

    sql(
        &database,
        "UPDATE apalis.jobs SET status = 'Killed', done_at = now() - interval '3 days'",
    )
    .await;
    let pruned = "SELECT COALESCE(sum((arguments ->> 'pruned')::int), 0) FROM operator_actions WHERE action = 'jobs.prune' AND failure IS NULL";
    let yesterday: String = sqlx::query_scalar("SELECT (now() - interval '1 day')::date::text")
        .fetch_one(database.pool())
        .await
        .unwrap();
    let prune = ["jobs", "prune", "--state", "dead", "--before", &yesterday, "--yes"];
    for table in ["apalis.jobs", "operator_actions"] {
        kill_at(table, &database, &prune, &variables).await;
        let left = database.count("SELECT count(*) FROM apalis.jobs").await;
        assert_eq!(database.count(pruned).await, 1200 - left, "killed at {table}");
    }
    json_of(|arguments| run(&database, arguments), &prune[1..]);
    assert_eq!(database.count("SELECT count(*) FROM apalis.jobs").await, 0);
}
