//! Answers that failed and are made again: what has to be known of one, and making it unfinished.

use chrono::{DateTime, Utc};
use cura_domain::message::MessageStatus;
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// An answer that may be retried, whose row is locked until the end of the transaction.
#[derive(Debug, Clone, Copy)]
pub struct AnswerToRetry {
    /// Its status.
    pub status: MessageStatus,
    /// Whether its person has cancelled it.
    pub is_cancelled: bool,
    /// Whether its question has another answer, or another version, that was made later.
    pub is_answered_anew: bool,
    /// The tokens that were reserved for it when it was asked for.
    pub reserved_tokens: i64,
}

/// Locks an answer of a conversation that is locked; `None` if there is none.
pub async fn lock_to_retry(
    conn: &mut PgConnection,
    user: UserId,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Option<AnswerToRetry>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT m.status, m.cancel_requested_at IS NOT NULL AS "cancelled!", m.reserved_tokens,
                  EXISTS (SELECT FROM messages a WHERE a.parent_id = m.parent_id AND a.id > m.id)
                      OR EXISTS (SELECT FROM messages q JOIN messages l ON l.conversation_id = q.conversation_id AND l.id + 0 > q.id
                                 WHERE q.id = m.parent_id AND l.role = 'user' AND l.parent_id IS NOT DISTINCT FROM q.parent_id)
                      AS "answered_anew!"
           FROM messages m
           WHERE m.id = $1 AND m.user_id = $2 AND m.conversation_id = $3 AND m.role = 'assistant'
           FOR NO KEY UPDATE OF m"#,
        id.0,
        user.0,
        conversation.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(AnswerToRetry {
            status: MessageStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("message status"))?,
            is_cancelled: row.cancelled,
            is_answered_anew: row.answered_anew,
            reserved_tokens: row.reserved_tokens,
        })
    })
    .transpose()
}

/// Makes an answer that failed unfinished, with the text that it has and a reservation of tokens. Its attempts stay, and what it cost, and
/// none of them can write any more; it becomes eligible to start anew, and every provider may be asked again. Its person has not read it. The transaction has its conversation
/// and row locked. `false` when it has not failed.
pub async fn retry(
    conn: &mut PgConnection,
    id: MessageId,
    reserved_tokens: i64,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"WITH retried AS (
               UPDATE messages
               SET status = 'sending', retried_after = attempt, error_code = NULL, finish_reason = NULL, started_at = NULL, end_seq = NULL, latency_ms = NULL,
                   ttft_ms = CASE WHEN content = '' THEN NULL ELSE ttft_ms END, input_tokens = NULL, output_tokens = NULL,
                   usage_estimated = NULL, reasoning_tokens = NULL, calls_without_text = NULL, calls_without_text_at = NULL,
                   reserved_tokens = $2, updated_at = $3
               WHERE id = $1 AND status = 'error'
               RETURNING id, conversation_id
           ), unread AS (
               UPDATE conversations c
               SET last_read_message_id = (SELECT m.id FROM messages m
                                           WHERE m.conversation_id = c.id AND m.id + 0 < retried.id ORDER BY m.id + 0 DESC LIMIT 1)
               FROM retried WHERE c.id = retried.conversation_id AND c.last_read_message_id = retried.id
           )
           SELECT count(*) AS "count!" FROM retried"#,
        id.0,
        reserved_tokens,
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok(done.count > 0)
}
