//! Answers: from pending to sent or error. An answer is written by at most one attempt at a time: every write carries
//! the fence its attempt received, and a write with an old fence, or to a final answer, changes nothing.

use chrono::{DateTime, Utc};
use cura_domain::answer::{Bases, Fence};
use cura_domain::message::{FinishReason, Usage};
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// An answer that an attempt has just taken.
#[derive(Debug, Clone)]
pub struct TakenAnswer {
    /// Whose answer it is.
    pub user_id: UserId,
    /// Where it is said.
    pub conversation_id: ConversationId,
    /// The question it answers.
    pub question: MessageId,
    /// This attempt's fence.
    pub fence: Fence,
    /// Where each attempt began, this one included.
    pub bases: Bases,
    /// When the question was stored.
    pub created_at: DateTime<Utc>,
}

/// Takes a running answer for a new attempt, which writes it anew from its first byte: older attempts can no longer
/// write. `None` when the answer is final, deleted, or never was.
///
/// # Errors
/// When Postgres fails.
pub async fn take(
    conn: &mut PgConnection,
    id: MessageId,
    now: DateTime<Utc>,
) -> Result<Option<TakenAnswer>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages m
           SET attempt = attempt + 1, bases = bases || 0::bigint, content = '', updated_at = $2
           FROM conversations c
           WHERE m.id = $1 AND m.status = 'sending' AND c.id = m.conversation_id AND c.deleted_at IS NULL
           RETURNING m.user_id, m.conversation_id, m.parent_id AS "parent_id!", m.attempt, m.bases, m.created_at"#,
        id.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| TakenAnswer {
        user_id: UserId(row.user_id),
        conversation_id: ConversationId(row.conversation_id),
        question: MessageId(row.parent_id),
        fence: Fence(row.attempt.unsigned_abs()),
        bases: Bases(row.bases.into_iter().map(i64::unsigned_abs).collect()),
        created_at: row.created_at,
    }))
}

/// Saves the text so far; `false` when the fence is old.
///
/// # Errors
/// When Postgres fails.
pub async fn save_progress(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Fence,
    text: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE messages SET content = $3, updated_at = $4 WHERE id = $1 AND attempt = $2 AND status = 'sending'",
        id.0,
        i32::from(fence),
        text,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A finished answer.
#[derive(Debug, Clone)]
pub struct Finished<'a> {
    /// The whole text.
    pub text: &'a str,
    /// The provider that answered.
    pub provider: &'a str,
    /// The model that answered.
    pub model: &'a str,
    /// Why it ended.
    pub reason: FinishReason,
    /// What it cost.
    pub usage: Usage,
    /// From the question stored to the first text, in milliseconds.
    pub ttft_ms: Option<i64>,
}

/// Makes an answer `sent`; gives its conversation, or `None` when the fence is old.
///
/// # Errors
/// When Postgres fails.
pub async fn complete(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Fence,
    finished: &Finished<'_>,
    now: DateTime<Utc>,
) -> Result<Option<ConversationId>, StoreError> {
    let conversation = sqlx::query_scalar!(
        r#"UPDATE messages
           SET status = 'sent', content = $3, provider = $4, model = $5, finish_reason = $6, input_tokens = $7,
               output_tokens = $8, usage_estimated = $9, ttft_ms = $10, updated_at = $11,
               latency_ms = (EXTRACT(EPOCH FROM $11::timestamptz - created_at) * 1000)::bigint
           WHERE id = $1 AND attempt = $2 AND status = 'sending'
           RETURNING conversation_id"#,
        id.0,
        i32::from(fence),
        finished.text,
        finished.provider,
        finished.model,
        finished.reason.as_str(),
        finished.usage.input_tokens,
        finished.usage.output_tokens,
        finished.usage.estimated,
        finished.ttft_ms,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(conversation.map(ConversationId))
}

/// Makes a running answer an `error`, with `text` or what was saved; gives the last attempt's fence, or `None` when the
/// answer was final already, or `fence` is given and old.
///
/// # Errors
/// When Postgres fails.
pub async fn fail(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Option<Fence>,
    error_code: &str,
    text: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<Fence>, StoreError> {
    let attempt = sqlx::query_scalar!(
        r#"UPDATE messages
           SET status = 'error', error_code = $3, content = COALESCE($4, content), updated_at = $5,
               latency_ms = (EXTRACT(EPOCH FROM $5::timestamptz - created_at) * 1000)::bigint
           WHERE id = $1 AND status = 'sending' AND ($2::integer IS NULL OR attempt = $2)
           RETURNING attempt"#,
        id.0,
        fence.map(i32::from),
        error_code,
        text,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(attempt.map(|attempt| Fence(attempt.unsigned_abs())))
}

/// The answers of `user` that are not final.
///
/// # Errors
/// When Postgres fails.
pub async fn list_running(conn: &mut PgConnection, user: UserId) -> Result<Vec<MessageId>, StoreError> {
    let running = sqlx::query_scalar!(
        r#"SELECT m.id FROM conversations c JOIN messages m ON m.conversation_id = c.id AND m.status = 'sending'
           WHERE c.user_id = $1 AND c.deleted_at IS NULL"#,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(running.into_iter().map(MessageId).collect())
}

/// The answers of `user` that changed after `since`: their texts may still be in `live`.
///
/// # Errors
/// When Postgres fails.
pub async fn list_recent(
    conn: &mut PgConnection,
    user: UserId,
    since: DateTime<Utc>,
) -> Result<Vec<MessageId>, StoreError> {
    let recent = sqlx::query_scalar!(
        "SELECT id FROM messages WHERE user_id = $1 AND role = 'assistant' AND updated_at > $2",
        user.0,
        since,
    )
    .fetch_all(conn)
    .await?;
    Ok(recent.into_iter().map(MessageId).collect())
}

/// The answers of a deleted conversation that changed after `since`: their texts may still be in `live`.
///
/// # Errors
/// When Postgres fails.
pub async fn list_recent_deleted(
    conn: &mut PgConnection,
    id: ConversationId,
    since: DateTime<Utc>,
) -> Result<Vec<MessageId>, StoreError> {
    let recent = sqlx::query_scalar!(
        r#"SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.conversation_id = $1 AND c.deleted_at IS NOT NULL AND m.role = 'assistant' AND m.updated_at > $2"#,
        id.0,
        since,
    )
    .fetch_all(conn)
    .await?;
    Ok(recent.into_iter().map(MessageId).collect())
}
