//! Where an answer's end is in the log is known from its row: nobody looks for it among all that ever happened to a person.

use std::time::Duration;

use cura_domain::{MessageId, UserId};
use cura_store::events;
use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::Value;

#[tokio::test]
async fn an_answer_that_ended_knows_the_number_of_its_end() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let first = ann.send_message(&Value::Null, "Hi").await;
    ann.send_message(&first["conversation_id"], "Hi again").await;
    let queued = ann.ask("A third").await;
    ann.cancel(&queued).await;
    ann.until_final(&queued).await;
    let wrong = "SELECT count(*) FROM messages m WHERE role = 'assistant' AND end_seq IS DISTINCT FROM (
                     SELECT seq FROM events e WHERE e.user_id = m.user_id AND e.kind = 'ended' AND (e.payload ->> 'message_id')::bigint = m.id)";
    let ended = "SELECT count(*) FROM messages WHERE role = 'assistant' AND end_seq IS NOT NULL";
    eventually("three have ended", async || {
        (cura.database.count(ended).await == 3).then_some(())
    })
    .await;
    assert_eq!(cura.database.count(wrong).await, 0);
    let questions = "SELECT count(*) FROM messages WHERE role = 'user' AND end_seq IS NOT NULL";
    assert_eq!(cura.database.count(questions).await, 0);
}

#[tokio::test]
async fn an_end_is_found_without_reading_the_log() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let sent = ann.send_message(&Value::Null, "Hi").await;
    let user = UserId(ann.get("/users/me").await.body["id"].as_i64().unwrap());
    let answer = MessageId(sent["assistant_message"]["id"].as_i64().unwrap());
    let pool = cura.database.pool();
    let seq: i64 = sqlx::query_scalar("SELECT end_seq FROM messages WHERE id = $1")
        .bind(answer.0)
        .fetch_one(pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO events SELECT $1, n, 'read', '{}', now() FROM generate_series(1000, 40000) n")
        .bind(user.0)
        .execute(pool)
        .await
        .unwrap();
    sqlx::query("ANALYZE events").execute(pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let read = "SELECT COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'events'";
    // Known from the row; and of an answer that ended under an earlier release, from the next thousand events.
    for (forget, most) in [("SELECT 1", 0), ("UPDATE messages SET end_seq = NULL", 2000)] {
        sqlx::query(forget).execute(pool).await.unwrap();
        sqlx::query("SELECT pg_stat_force_next_flush()")
            .execute(&mut *connection)
            .await
            .unwrap();
        let before = cura.database.count(read).await;
        for (after, reported) in [(seq - 1, true), (seq, false)] {
            let found = events::has_end_after(&mut connection, user, answer, after)
                .await
                .unwrap();
            assert_eq!(found, reported, "after {after}, {forget}");
        }
        sqlx::query("SELECT pg_stat_force_next_flush()")
            .execute(&mut *connection)
            .await
            .unwrap();
        let looked_at = cura.database.count(read).await - before;
        assert!(looked_at <= most, "{looked_at} events were read, {forget}");
    }
    let others = events::has_end_after(&mut connection, UserId(user.0 + 1), answer, 0)
        .await
        .unwrap();
    assert!(!others, "nobody else's");
}
