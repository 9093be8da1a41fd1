//! However many rows somebody leaves behind, they are pruned in small batches, and what else expires does not wait for them.

use cura_bin::wiring;
use cura_queue::{PruneExpired, PruneKind, enqueue};
use cura_store::expired::Expired;
use cura_store::{Database, StoreError};
use cura_tests::{Cura, TestDatabase, eventually};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

/// A user whose session ended long ago and has this many tokens.
async fn session_with_tokens(pool: &PgPool, tokens: i64) {
    let fill = "WITH u AS (
            INSERT INTO users (email, password_hash, created_at, updated_at) VALUES (gen_random_uuid()::text, '', now(), now()) RETURNING id
        ), s AS (
            INSERT INTO sessions (user_id, current_token, created_at, last_used_at, expires_at, ended_at)
            SELECT id, 'x', now(), now(), now(), now() - interval '40 days' FROM u RETURNING id
        )
        INSERT INTO refresh_tokens (token_hash, session_id, created_at)
        SELECT sha256((s.id || '.' || n)::bytea), s.id, now() FROM s, generate_series(1, $1) n";
    sqlx::query(fill).bind(tokens).execute(pool).await.unwrap();
}

/// Deleting a refresh token takes this long.
async fn slow_deletes(pool: &PgPool, seconds: f64) {
    for define in [
        format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({seconds}); RETURN OLD; END $$"
        ),
        "CREATE TRIGGER slow BEFORE DELETE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION slow()".to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(define)).execute(pool).await.unwrap();
    }
}

#[tokio::test]
async fn no_batch_deletes_more_rows_than_it_is_allowed_whatever_hangs_on_them() {
    let database = TestDatabase::create().await;
    for tokens in [0, 1, 950, 10] {
        session_with_tokens(database.pool(), tokens).await;
    }
    let rows = "SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM refresh_tokens)";
    let mut connection = database.pool().acquire().await.unwrap();
    let mut left = database.count(rows).await;
    assert_eq!(left, 965);
    loop {
        let deleted = Expired::Sessions
            .delete_expired(&mut connection, wiring::clock().now(), 100)
            .await
            .unwrap();
        let now_left = database.count(rows).await;
        assert_eq!(
            u64::try_from(left - now_left),
            Ok(deleted),
            "what is counted is what is gone"
        );
        assert!(deleted <= 100, "{deleted}");
        left = now_left;
        if deleted == 0 {
            break;
        }
    }
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_old_replaced_token_is_pruned_and_the_valid_one_stays() {
    let database = TestDatabase::create().await;
    session_with_tokens(database.pool(), 5).await;
    for age in [
        "UPDATE sessions SET ended_at = NULL, expires_at = now() + interval '1 day',
                current_token = (SELECT min(token_hash::text)::bytea FROM refresh_tokens),
                previous_token = (SELECT max(token_hash::text)::bytea FROM refresh_tokens)",
        "UPDATE refresh_tokens SET created_at = now() - interval '31 days'",
        "UPDATE refresh_tokens SET created_at = now() WHERE token_hash = (
             SELECT token_hash FROM refresh_tokens t, sessions s
             WHERE t.token_hash NOT IN (s.current_token, s.previous_token) LIMIT 1)",
    ] {
        sqlx::query(age).execute(database.pool()).await.unwrap();
    }
    let mut connection = database.pool().acquire().await.unwrap();
    let deleted = Expired::RefreshTokens
        .delete_expired(&mut connection, wiring::clock().now(), 100)
        .await;
    assert_eq!(deleted.unwrap(), 2);
    assert_eq!(database.count("SELECT count(*) FROM refresh_tokens").await, 3);
}

#[tokio::test]
async fn rows_that_are_slow_to_delete_are_deleted_by_and_by_and_delay_nothing_else() {
    let mut cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let pool = cura.database.pool().clone();
    // One statement for all of them would take longer than any statement may.
    session_with_tokens(&pool, 220).await;
    slow_deletes(&pool, 0.05).await;
    let erase = ann.request(reqwest::Method::DELETE, "/users/me");
    ann.send(erase.json(&json!({ "password": "a long password" }))).await;
    for age in [
        "UPDATE apalis.jobs SET status = 'Killed', done_at = now()",
        "UPDATE users SET erased_at = erased_at - interval '1 hour' WHERE erased_at IS NOT NULL",
        "INSERT INTO events SELECT 2, 1001, 'old', '{}', now() - interval '8 days'",
        "INSERT INTO exports (user_id, state, created_at, expires_at) SELECT 2, 'making', now(), now() - interval '1 second'",
    ] {
        sqlx::query(age).execute(&pool).await.unwrap();
    }
    cura.add_worker().await;
    let others = "SELECT (SELECT count(*) FROM events WHERE kind = 'old') + (SELECT count(*) FROM exports)
                         + (SELECT count(*) FROM users WHERE erased_at IS NOT NULL)";
    eventually("everything else is gone", async || {
        (cura.database.count(others).await == 0).then_some(())
    })
    .await;
    let left = cura.database.count("SELECT count(*) FROM refresh_tokens").await;
    assert!(left > 0, "the slow ones are still being deleted");
    eventually("they are gone, too", async || {
        (cura.database.count("SELECT count(*) FROM refresh_tokens").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operator_is_told_once_when_rows_expire_faster_than_they_are_pruned() {
    let mut cura = Cura::without_workers().await;
    let pool = cura.database.pool().clone();
    session_with_tokens(&pool, 1500).await;
    slow_deletes(&pool, 0.05).await;
    let mut connection = pool.acquire().await.unwrap();
    let postponed_often = PruneExpired {
        kind: PruneKind::Sessions,
        period: 1,
        round: 9,
    };
    enqueue(&mut connection, &postponed_often).await.unwrap();
    cura.add_worker().await;
    cura.workers[0]
        .wait_for_log("expired rows are not removed as fast as they expire")
        .await;
    let next =
        "SELECT count(*) FROM apalis.jobs WHERE job_type = 'prune-expired' AND idempotency_key = 'Sessions.1.10'";
    eventually("the work goes on", async || {
        (cura.database.count(next).await == 1).then_some(())
    })
    .await;
    assert!(
        cura.database.count("SELECT count(*) FROM refresh_tokens").await < 1500,
        "what is done stays done"
    );
}

#[tokio::test]
async fn a_deadline_is_an_outage_only_if_the_database_does_not_answer() {
    let database = TestDatabase::create().await;
    let ours = Database::connect_lazy(&database.url(), "test", 2).unwrap();
    let sleep = async |statement: &'static str| {
        let slept = ours.connection(async |connection| {
            sqlx::query(statement).execute(connection).await?;
            Ok::<_, StoreError>(())
        });
        slept.await
    };
    let batch = ours.batch(async |connection| {
        sqlx::query("SELECT pg_sleep(20)").execute(connection).await?;
        Ok::<_, StoreError>(())
    });
    let (batch, deadline) = tokio::join!(batch, sleep("SELECT pg_sleep(20)"));
    assert!(matches!(batch, Err(StoreError::TookTooLong)), "{batch:?}");
    assert!(matches!(deadline, Err(StoreError::TookTooLong)), "{deadline:?}");
    let nobody = Database::connect_lazy("postgres://postgres@127.0.0.1:1/none", "test", 1).unwrap();
    assert!(matches!(nobody.ping().await, Err(StoreError::Unavailable(_))));
}
