//! Query plans of what operators ask about one answer.

use cura_tests::TestDatabase;

use super::{assert_reads_a_page, plan, statement};

/// With a hundred thousand messages, an answer is found by its id, by its question and by its request.
#[tokio::test]
async fn an_answer_is_found_by_an_index_whatever_is_known_of_it() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, 20000) n",
        "INSERT INTO conversations (user_id, message_count, last_message_at, created_at, updated_at)
         SELECT n, 5, now(), now(), now() FROM generate_series(1, 20000) n",
        "INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at, request_id, attempt,
                               attempt_offsets)
         SELECT 1 + n / 2 % 20000, 1 + n / 2 % 20000, CASE WHEN n % 2 = 0 THEN n - 1 END, CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
                'some words', 'sent', now(), now(), CASE WHEN n % 2 = 0 THEN md5(n::text) END, n % 2, '{0}'
         FROM generate_series(1, 100000) n",
        "INSERT INTO answer_attempts (message_id, attempt, user_id, outcome, provider, model, input_tokens, output_tokens, estimated, ended_at)
         SELECT id, 1, user_id, 'completed', 'x', 'x', 1, 1, false, now() FROM messages WHERE role = 'assistant'",
        "VACUUM ANALYZE messages",
        "VACUUM ANALYZE conversations",
        "VACUUM ANALYZE users",
        "VACUUM ANALYZE answer_attempts",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    let found = "m.request_id, m.trace_id";
    for id in ["50000", "49999", "9223372036854775807"] {
        assert_reads_a_page(&plan(pool, &statement(found, &[id])).await, "messages_pkey", 40);
    }
    let of_request = "FROM messages WHERE request_id = $1 ORDER BY id + 0 DESC LIMIT $2";
    let of_request = statement(of_request, &["md5('50000')", "5"]);
    assert_reads_a_page(&plan(pool, &of_request).await, "messages_request_id_idx", 10);
    let attempts = statement("generate_series(GREATEST(1, m.attempt", &["50000", "50"]);
    assert_reads_a_page(&plan(pool, &attempts).await, "answer_attempts_pkey", 20);
}
