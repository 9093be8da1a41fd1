//! Rules that hold in every database at every moment: what each statement and transaction keeps, whatever dies meanwhile.

use sqlx::PgConnection;

use crate::StoreError;

/// A rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What it says.
    pub says: &'static str,
    /// Selects an id of each row that breaks it, as text.
    broken: &'static str,
}

/// Every rule.
pub const RULES: [Rule; 10] = [
    Rule {
        says: "every question has an answer",
        broken: "SELECT q.id::text FROM messages q WHERE q.role = 'user'
                 AND NOT EXISTS (SELECT FROM messages a WHERE a.parent_id = q.id AND a.role = 'assistant')",
    },
    Rule {
        says: "every answer has a question of the same conversation and user",
        broken: "SELECT a.id::text FROM messages a LEFT JOIN messages q ON q.id = a.parent_id
                 WHERE a.role = 'assistant' AND (q.id IS NULL OR q.role <> 'user' OR q.conversation_id <> a.conversation_id
                                                 OR q.user_id <> a.user_id)",
    },
    Rule {
        says: "a message belongs to the user of its conversation",
        broken: "SELECT m.id::text FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.user_id <> c.user_id",
    },
    Rule {
        says: "an attempt belongs to the user of its answer",
        broken: "SELECT a.message_id::text FROM answer_attempts a JOIN messages m ON m.id = a.message_id WHERE a.user_id <> m.user_id",
    },
    Rule {
        says: "events belong to a user, and are counted",
        broken: "SELECT e.user_id::text FROM events e LEFT JOIN event_counters c ON c.user_id = e.user_id WHERE c.seq IS NULL OR e.seq > c.seq",
    },
    Rule {
        says: "attempts begin within the text, and there are as many as there are beginnings",
        broken: "SELECT id::text FROM messages WHERE cardinality(attempt_offsets) <> attempt
                    OR EXISTS (SELECT FROM unnest(attempt_offsets) start WHERE start < 0)
                    OR (attempt > 0 AND status = 'sent' AND attempt_offsets[attempt] > octet_length(content))",
    },
    Rule {
        says: "an answer is sent for a reason, or not",
        broken: "SELECT id::text FROM messages WHERE role = 'assistant' AND (status = 'sent') <> (finish_reason IS NOT NULL)",
    },
    Rule {
        says: "attempts that cost something were made",
        broken: "SELECT a.message_id::text FROM answer_attempts a JOIN messages m ON m.id = a.message_id
                 WHERE a.attempt < 1 OR a.attempt > m.attempt OR a.input_tokens < 0 OR a.output_tokens < 0",
    },
    Rule {
        says: "an unfinished answer has a job",
        broken: "SELECT m.id::text FROM messages m WHERE m.running
                 AND NOT EXISTS (SELECT FROM apalis.jobs j
                                 WHERE j.job_type IN ('generate-answer', 'fail-abandoned-answer') AND j.idempotency_key = m.id::text
                                   AND j.status NOT IN ('Done', 'Killed'))",
    },
    Rule {
        says: "an attached file is its user's",
        broken: "SELECT a.message_id::text FROM message_files a JOIN messages m ON m.id = a.message_id JOIN files f ON f.id = a.file_id
                 WHERE f.user_id <> m.user_id",
    },
];

/// How many rows break a rule, and the id of one of them. Reads whole tables.
pub async fn find_broken(conn: &mut PgConnection, rule: &Rule) -> Result<(i64, Option<String>), StoreError> {
    // A constant of this file, not input.
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*), min(id) FROM ({}) broken (id)", rule.broken));
    Ok(sqlx::query_as(count).fetch_one(conn).await?)
}

/// How many objects of the file store the rows name that [`crate::snapshots::list_objects`] lists.
pub async fn count_objects(conn: &mut PgConnection) -> Result<i64, StoreError> {
    let count = "SELECT (SELECT count(*) FROM files WHERE status NOT IN ('storing', 'infected'))
                      + (SELECT count(*) FROM file_pictures WHERE is_stored)
                      + (SELECT count(*) FROM avatar_pictures WHERE is_shown)";
    Ok(sqlx::query_scalar(count).fetch_one(conn).await?)
}
