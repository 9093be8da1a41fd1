//! The ends of answers: what a final answer holds, and the locks under which one becomes final.

use chrono::{DateTime, Utc};
use cura_domain::answer::Fence;
use cura_domain::message::{AnswerResult, FinishReason, MessageStatus, Usage};
use cura_domain::{MessageId, ModelRef, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// What is written into an answer when it becomes final.
#[derive(Debug, Clone, Copy)]
pub struct FinalAnswer<'a> {
    /// How the answer ended.
    pub result: AnswerResult<'a>,
    /// The whole text; `None` keeps the saved one.
    pub text: Option<&'a str>,
    /// The model that answered; `None` keeps the saved one.
    pub model: Option<&'a ModelRef>,
    /// The tokens of the last attempt, unless its row in `answer_attempts` was written before.
    pub usage: Option<Usage>,
    /// Those of these tokens that were spent on thoughts.
    pub reasoning_tokens: Option<i64>,
    /// From the question stored to the first text, in milliseconds, unless an earlier attempt saved it.
    pub ttft_ms: Option<i64>,
}

impl<'a> FinalAnswer<'a> {
    /// An answer that ended with `result` and keeps what was saved of it.
    pub const fn new(result: AnswerResult<'a>) -> Self {
        Self {
            result,
            text: None,
            model: None,
            usage: None,
            reasoning_tokens: None,
            ttft_ms: None,
        }
    }
}

/// An answer that has just become final.
#[derive(Debug, Clone, Copy)]
pub struct FinishedAnswer {
    /// The last attempt.
    pub fence: Fence,
    /// Whether other answers of the user have not started yet.
    pub others_wait: bool,
}

/// Makes an unfinished answer final; its usage is the sum over all its attempts. `None` when it was final already, or
/// `fence` is given and old.
pub async fn finish(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Option<Fence>,
    answer: &FinalAnswer<'_>,
    now: DateTime<Utc>,
) -> Result<Option<FinishedAnswer>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages m
           SET status = $3, finish_reason = $4, error_code = $5, content = COALESCE($6, content),
               provider = COALESCE($7, m.provider), model = COALESCE($8, m.model),
               input_tokens = COALESCE($9 + COALESCE(spent.input, 0), spent.input),
               output_tokens = COALESCE($10 + COALESCE(spent.output, 0), spent.output),
               usage_estimated = COALESCE($11 OR COALESCE(spent.estimated, false), spent.estimated),
               reasoning_tokens = COALESCE($14 + COALESCE(spent.reasoning, 0), spent.reasoning),
               ttft_ms = COALESCE(m.ttft_ms, $12), updated_at = $13,
               latency_ms = (EXTRACT(EPOCH FROM $13::timestamptz - created_at) * 1000)::bigint
           FROM (SELECT sum(input_tokens)::bigint AS input, sum(output_tokens)::bigint AS output,
                        bool_or(estimated) AS estimated, sum(reasoning_tokens)::bigint AS reasoning
                 FROM answer_attempts WHERE message_id = $1 AND attempt IS DISTINCT FROM $2) spent
           WHERE m.id = $1 AND m.status = 'sending' AND ($2::integer IS NULL OR (m.attempt = $2 AND m.attempt IS DISTINCT FROM m.retried_after))
           RETURNING m.attempt,
                     EXISTS (SELECT 1 FROM messages w WHERE w.user_id = m.user_id AND w.running
                               AND w.attempt = 0 AND w.id <> m.id) AS "others_wait!""#,
        id.0,
        fence.map(i32::from),
        answer.result.status().as_str(),
        answer.result.finish_reason().map(FinishReason::as_str),
        answer.result.error_code(),
        answer.text,
        answer.model.map(|model| &*model.provider),
        answer.model.map(|model| &*model.model),
        answer.usage.map(|usage| usage.input_tokens),
        answer.usage.map(|usage| usage.output_tokens),
        answer.usage.map(|usage| usage.estimated),
        answer.ttft_ms,
        now,
        answer.reasoning_tokens,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| FinishedAnswer {
        fence: Fence(row.attempt.unsigned_abs()),
        others_wait: row.others_wait,
    }))
}

/// An unfinished answer whose row is locked until the end of the transaction.
#[derive(Debug, Clone)]
pub struct UnfinishedAnswer {
    /// The attempt that may write; 0 before the first.
    pub fence: Fence,
    /// The saved text.
    pub text: String,
}

/// Locks an answer that is not final, if there is one.
pub async fn lock_unfinished(conn: &mut PgConnection, id: MessageId) -> Result<Option<UnfinishedAnswer>, StoreError> {
    let row = sqlx::query!(
        "SELECT attempt, content FROM messages WHERE id = $1 AND status = 'sending' FOR NO KEY UPDATE",
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| UnfinishedAnswer {
        fence: Fence(row.attempt.unsigned_abs()),
        text: row.content,
    }))
}

/// An answer whose row is locked until the end of the transaction.
#[derive(Debug, Clone, Copy)]
pub struct LockedAnswer {
    /// Its status before the request.
    pub status: MessageStatus,
    /// The attempt that may write; 0 before the first.
    pub fence: Fence,
}

/// Locks an answer of `user`, if there is one, and records that it is to be cancelled, if it is not final.
pub async fn request_cancel(
    conn: &mut PgConnection,
    user: UserId,
    id: MessageId,
    now: DateTime<Utc>,
) -> Result<Option<LockedAnswer>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages m
           SET cancel_requested_at = CASE WHEN m.status = 'sending' THEN COALESCE(m.cancel_requested_at, $3)
                                          ELSE m.cancel_requested_at END
           FROM conversations c
           WHERE m.id = $1 AND m.user_id = $2 AND m.role = 'assistant' AND c.id = m.conversation_id
             AND c.deleted_at IS NULL
           RETURNING m.status, m.attempt"#,
        id.0,
        user.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(LockedAnswer {
            status: MessageStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("message status"))?,
            fence: Fence(row.attempt.unsigned_abs()),
        })
    })
    .transpose()
}
