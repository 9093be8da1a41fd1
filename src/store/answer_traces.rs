//! What is kept of how one answer came about, as operators read it: ids, times, numbers and words of ours.

use chrono::{DateTime, Utc};
use cura_domain::message::MessageStatus;
use cura_domain::{ConversationId, MessageId, ModelRef, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// The most attempts that are read of an answer, the newest ones.
const MAX_ATTEMPTS: i64 = 50;
/// The most events that are read of an answer, the first ones.
const MAX_EVENTS: i64 = 50;

/// One answer, and what asked for it.
#[derive(Debug, Clone)]
pub struct AnswerTrace {
    /// The answer.
    pub id: MessageId,
    /// What it answers.
    pub question: Option<MessageId>,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Who asked.
    pub user: UserId,
    /// Where it stands.
    pub status: MessageStatus,
    /// Why it is as long as it is.
    pub finish_reason: Option<String>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// The trace of that.
    pub trace_id: Option<String>,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it became eligible to start.
    pub eligible_at: Option<DateTime<Utc>>,
    /// When its person wanted it to stop.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether its person has read it.
    pub is_read: bool,
    /// Whether its conversation or its person is being deleted.
    pub is_being_deleted: bool,
}

/// One attempt at an answer.
#[derive(Debug, Clone, Default)]
pub struct AttemptTrace {
    /// Its number.
    pub attempt: i32,
    /// When it began.
    pub began_at: Option<DateTime<Utc>>,
    /// The instance of a worker that made it.
    pub worker: Option<String>,
    /// Why it was not the last, or which providers failed in it.
    pub note: Option<String>,
    /// What was counted of it.
    pub counted: Option<CountedAttempt>,
}

/// What was counted of an attempt.
#[derive(Debug, Clone)]
pub struct CountedAttempt {
    /// How it ended, in one word.
    pub outcome: String,
    /// The model that was asked last.
    pub model: ModelRef,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// Whether the tokens are an estimate of ours.
    pub estimated: bool,
    /// The milliseconds from when the question was stored to its first text.
    pub ttft_ms: Option<i64>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// An event that was logged about an answer, or of its being read.
#[derive(Debug, Clone)]
pub struct EventTrace {
    /// Its number.
    pub seq: i64,
    /// Its kind.
    pub kind: String,
    /// When it was logged.
    pub at: DateTime<Utc>,
}

/// An answer with this id, or the newest answer to the question with this id.
pub async fn find(conn: &mut PgConnection, id: MessageId) -> Result<Option<AnswerTrace>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT m.id, m.parent_id, m.conversation_id, m.user_id, m.status, m.finish_reason, m.error_code, m.request_id, m.trace_id,
                  m.created_at, m.started_at, m.cancel_requested_at, m.running AS "running!", m.latency_ms, m.updated_at,
                  COALESCE(c.last_read_message_id >= m.id, false) AS "is_read!",
                  (c.deleted_at IS NOT NULL OR u.erased_at IS NOT NULL) AS "is_being_deleted!"
           FROM messages m JOIN conversations c ON c.id = m.conversation_id JOIN users u ON u.id = m.user_id
           WHERE m.role = 'assistant' AND m.id = COALESCE(
               (SELECT max(a.id + 0) FROM messages a WHERE a.parent_id = $1 AND a.role = 'assistant'
                AND EXISTS (SELECT FROM messages q WHERE q.id = $1 AND q.role = 'user')), $1)"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        // An answer that ended before its duration was kept has not changed since.
        let ended_at = match row.latency_ms {
            Some(milliseconds) => row.created_at + chrono::TimeDelta::milliseconds(milliseconds),
            None => row.updated_at,
        };
        Ok(AnswerTrace {
            id: MessageId(row.id),
            question: row.parent_id.map(MessageId),
            conversation: ConversationId(row.conversation_id),
            user: UserId(row.user_id),
            status: MessageStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("message status"))?,
            finish_reason: row.finish_reason,
            error_code: row.error_code,
            request_id: row.request_id,
            trace_id: row.trace_id,
            asked_at: row.created_at,
            eligible_at: row.started_at,
            cancel_requested_at: row.cancel_requested_at,
            ended_at: (!row.running).then_some(ended_at),
            is_read: row.is_read,
            is_being_deleted: row.is_being_deleted,
        })
    })
    .transpose()
}

/// The answers that a request asked for, newest first: one, unless a client has given several requests the same id.
pub async fn list_of_request(
    conn: &mut PgConnection,
    request_id: &str,
    limit: i64,
) -> Result<Vec<MessageId>, StoreError> {
    let answers = sqlx::query_scalar!(
        "SELECT id FROM messages WHERE request_id = $1 ORDER BY id + 0 DESC LIMIT $2",
        request_id,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(answers.into_iter().map(MessageId).collect())
}

/// The attempts at an answer, in order: the last 50 of them.
pub async fn list_attempts(conn: &mut PgConnection, answer: MessageId) -> Result<Vec<AttemptTrace>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT n.attempt AS "attempt!", m.attempt_starts[n.attempt] AS began_at, m.attempt_workers[n.attempt] AS worker,
                  m.attempt_notes[n.attempt] AS note, a.outcome AS "outcome?", a.provider AS "provider?", a.model AS "model?",
                  a.input_tokens AS "input_tokens?", a.output_tokens AS "output_tokens?", a.estimated AS "estimated?", a.ttft_ms,
                  a.ended_at AS "ended_at?"
           FROM messages m
           CROSS JOIN LATERAL generate_series(GREATEST(1, m.attempt - $2::bigint::int + 1), m.attempt) AS n (attempt)
           LEFT JOIN answer_attempts a ON a.message_id = m.id AND a.attempt = n.attempt
           WHERE m.id = $1
           ORDER BY n.attempt"#,
        answer.0,
        MAX_ATTEMPTS,
    )
    .fetch_all(conn)
    .await?;
    let attempts = rows.into_iter().map(|row| {
        let counted = row.outcome.zip(row.ended_at).map(|(outcome, ended_at)| CountedAttempt {
            outcome,
            model: ModelRef {
                provider: row.provider.unwrap_or_default(),
                model: row.model.unwrap_or_default(),
            },
            input_tokens: row.input_tokens.unwrap_or_default(),
            output_tokens: row.output_tokens.unwrap_or_default(),
            estimated: row.estimated.unwrap_or_default(),
            ttft_ms: row.ttft_ms,
            ended_at,
        });
        AttemptTrace {
            attempt: row.attempt,
            began_at: row.began_at,
            worker: row.worker,
            note: row.note,
            counted,
        }
    });
    Ok(attempts.collect())
}

/// The events about an answer that are still in the log of its person, and the last that says that it was read; 50 at most.
pub async fn list_events(conn: &mut PgConnection, answer: &AnswerTrace) -> Result<Vec<EventTrace>, StoreError> {
    let events = sqlx::query_as!(
        EventTrace,
        r#"(SELECT seq AS "seq!", kind AS "kind!", created_at AS "at!" FROM events
            WHERE user_id = $1 AND created_at >= $4 AND kind <> 'read' AND payload -> 'message_id' = to_jsonb($2::bigint)
            ORDER BY seq LIMIT $5)
           UNION ALL
           (SELECT seq, kind, created_at FROM events
            WHERE user_id = $1 AND created_at >= $4 AND kind = 'read' AND payload -> 'conversation_id' = to_jsonb($3::bigint)
              AND (payload ->> 'message_id')::bigint >= $2
            ORDER BY seq DESC LIMIT 1)"#,
        answer.user.0,
        answer.id.0,
        answer.conversation.0,
        answer.asked_at,
        MAX_EVENTS,
    )
    .fetch_all(conn)
    .await?;
    Ok(events)
}
