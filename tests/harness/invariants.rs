//! Rules that hold in every database once all work has ended, beside those that hold at every moment
//! ([`cura_store::invariants`]). Each rule is a query that returns what breaks it.

use std::time::{Duration, Instant};

use sqlx::{PgPool, Row};

/// The longest wait for pending writes, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What no crash, outage or race may leave behind. Each query returns one text for each violation.
const RULES: [(&str, &str); 7] = [
    (
        "no answer is left unfinished",
        "SELECT id::text FROM messages WHERE status = 'sending'",
    ),
    (
        "a key stands for one question and its answer",
        "SELECT k.key FROM idempotency_keys k LEFT JOIN messages a ON a.id = k.answer_id
         WHERE a.id IS NULL OR a.parent_id <> k.user_message_id",
    ),
    (
        "conversations count their messages",
        "SELECT c.id::text FROM conversations c
         WHERE c.message_count <> (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id)",
    ),
    (
        "what an answer cost is what its attempts cost",
        "SELECT m.id::text FROM messages m
         LEFT JOIN (SELECT message_id, sum(input_tokens) AS input, sum(output_tokens) AS output
                    FROM answer_attempts GROUP BY message_id) spent ON spent.message_id = m.id
         WHERE m.role = 'assistant' AND m.status <> 'sending'
           AND (m.input_tokens IS DISTINCT FROM spent.input OR m.output_tokens IS DISTINCT FROM spent.output)",
    ),
    (
        "what a user used is what their attempts cost",
        "SELECT used.user_id::text FROM
            (SELECT user_id, sum(input_tokens) AS input, sum(output_tokens) AS output FROM usage_days GROUP BY user_id) used
         FULL JOIN
            (SELECT user_id, sum(input_tokens) AS input, sum(output_tokens) AS output FROM (
                SELECT user_id, input_tokens, output_tokens FROM answer_attempts UNION ALL
                SELECT user_id, input_tokens, output_tokens FROM model_calls WHERE ended_at IS NOT NULL) calls GROUP BY user_id)
            spent USING (user_id)
         WHERE used.input IS DISTINCT FROM spent.input OR used.output IS DISTINCT FROM spent.output",
    ),
    (
        "an answer is counted once",
        "SELECT user_id::text FROM (
             SELECT u.user_id, sum(u.messages) AS counted,
                    (SELECT count(DISTINCT a.message_id) FROM answer_attempts a
                     WHERE a.user_id = u.user_id AND a.outcome IN ('completed', 'cancelled')) AS written
             FROM usage_days u GROUP BY u.user_id) counts
         WHERE counted <> written",
    ),
    (
        "no job of an answer waits or runs",
        "SELECT idempotency_key FROM apalis.jobs
         WHERE job_type IN ('generate-answer', 'fail-abandoned-answer') AND status NOT IN ('Done', 'Killed')",
    ),
];

/// All violations.
async fn broken(pool: &PgPool) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, query) in RULES {
        let rows = sqlx::query(query)
            .fetch_all(pool)
            .await
            .expect("a rule that can be read");
        broken.extend(
            rows.iter()
                .map(|row| format!("{rule}: {}", row.get::<Option<String>, _>(0).unwrap_or_default())),
        );
    }
    let mut connection = pool.acquire().await.expect("a connection");
    for rule in cura_store::invariants::RULES {
        let found = cura_store::invariants::find_broken(&mut connection, &rule).await;
        if let (count, Some(id)) = found.expect("a rule that can be read") {
            broken.push(format!("{}: {count} rows, such as {id}", rule.says));
        }
    }
    broken
}

/// Checks every rule, and waits for writes that are still pending.
///
/// # Panics
/// If a rule stays broken.
pub async fn check(pool: &PgPool) {
    let until = Instant::now() + LIMIT;
    loop {
        let last = Instant::now() >= until;
        let found = broken(pool).await;
        if found.is_empty() {
            return;
        }
        assert!(!last, "{found:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
