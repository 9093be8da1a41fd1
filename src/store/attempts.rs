//! What attempts at answers cost. An attempt is counted once, in the transaction that inserts its row: a later insert for the
//! same attempt (by a worker that was frozen, or a second cancel) changes nothing.
//!
//! An attempt's row is only inserted by a transaction that holds the lock of its message's row.

use chrono::{DateTime, Utc};
use cura_domain::answer::Fence;
use cura_domain::message::Usage;
use cura_domain::token_estimate::BYTES_PER_TOKEN;
use cura_domain::{MessageId, ModelRef, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It finished the answer.
    Completed,
    /// The answer was cancelled.
    Cancelled,
    /// It gave up, and the answer with it.
    Failed,
    /// It failed, and another attempt follows.
    Retried,
    /// Its worker shut down, and another attempt follows.
    Released,
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::Released => "released",
        }
    }

    /// The answers that are counted with the attempt.
    pub(crate) const fn answers(self) -> i32 {
        matches!(self, Self::Completed | Self::Cancelled) as i32
    }
}

/// An attempt that is over.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The answer.
    pub message: MessageId,
    /// The user who asked.
    pub user: UserId,
    /// The attempt's number.
    pub fence: Fence,
    /// How it ended.
    pub outcome: Outcome,
    /// The model that was asked.
    pub model: &'a ModelRef,
    /// What it cost.
    pub usage: Usage,
    /// Those of its tokens that were spent on thoughts.
    pub reasoning_tokens: Option<i64>,
    /// The milliseconds from when the question was stored to its first text.
    pub ttft_ms: Option<i64>,
}

/// Counts an attempt, and one answer more if it was completed or cancelled; changes nothing if the attempt was counted
/// before. Locks the user's usage row of the day, as [`crate::usage::add`] does. `finish_answer` (migration 0074) does the same.
pub async fn record(conn: &mut PgConnection, attempt: &Attempt<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
    let answers = attempt.outcome.answers();
    sqlx::query!(
        r#"WITH counted AS (
               INSERT INTO answer_attempts
                   (message_id, attempt, user_id, outcome, provider, model, input_tokens, output_tokens, estimated, ended_at,
                    reasoning_tokens, ttft_ms)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $13, $14) ON CONFLICT DO NOTHING
               RETURNING user_id, model, input_tokens, output_tokens
           )
           INSERT INTO usage_days AS u (user_id, day, model, messages, input_tokens, output_tokens)
           SELECT user_id, $11, model, $12, input_tokens, output_tokens FROM counted
           ON CONFLICT (user_id, day, model) DO UPDATE
           SET messages = u.messages + $12, input_tokens = u.input_tokens + EXCLUDED.input_tokens,
               output_tokens = u.output_tokens + EXCLUDED.output_tokens"#,
        attempt.message.0,
        i32::from(attempt.fence),
        attempt.user.0,
        attempt.outcome.as_str(),
        attempt.model.provider,
        attempt.model.model,
        attempt.usage.input_tokens,
        attempt.usage.output_tokens,
        attempt.usage.estimated,
        now,
        now.date_naive(),
        answers,
        attempt.reasoning_tokens,
        attempt.ttft_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An attempt at an unfinished answer that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierAttempt {
    /// Its fence when it ended.
    pub fence: Fence,
    /// The model that was asked.
    pub model: ModelRef,
    /// Whether thoughts were taken out of its text.
    pub ended_a_thought: bool,
}

/// The attempts at an answer that ended, newest first; none if thoughts were taken out of the text that is saved.
pub async fn without_thoughts(conn: &mut PgConnection, message: MessageId) -> Result<Vec<EarlierAttempt>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT a.attempt, a.provider, a.model, a.reasoning_tokens IS NOT NULL AS "thought!"
           FROM answer_attempts a JOIN messages m ON m.id = a.message_id
           WHERE a.message_id = $1 AND m.reasoning_tokens IS NULL
           ORDER BY a.attempt DESC"#,
        message.0,
    )
    .fetch_all(conn)
    .await?;
    let attempts = rows.into_iter().map(|row| EarlierAttempt {
        fence: Fence(row.attempt.unsigned_abs()),
        model: ModelRef {
            provider: row.provider,
            model: row.model,
        },
        ended_a_thought: row.thought,
    });
    Ok(attempts.collect())
}

/// The cost of an attempt whose worker vanished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostAttempt {
    /// The user who asked.
    pub user: UserId,
    /// The model, by the provider's name for it.
    pub model: String,
    /// The estimated tokens.
    pub usage: Usage,
}

/// Counts an attempt at an unfinished answer whose worker vanished when the text had `bytes`: an estimate of its prompt and
/// of what it wrote, at [`BYTES_PER_TOKEN`]. An attempt that wrote nothing costs nothing. `model` is used where no checkpoint
/// has saved one. The caller adds the returned cost to the user's usage, and keeps the attempt from counting itself: by a
/// newer fence, or by the lock of its message.
pub async fn record_lost(
    conn: &mut PgConnection,
    message: MessageId,
    attempt: Fence,
    bytes: usize,
    model: &ModelRef,
    now: DateTime<Utc>,
) -> Result<Option<LostAttempt>, StoreError> {
    let lost = sqlx::query!(
        r#"INSERT INTO answer_attempts
               (message_id, attempt, user_id, outcome, provider, model, input_tokens, output_tokens, estimated, ended_at)
           SELECT m.id, $2, m.user_id, 'lost', COALESCE(m.provider, $4), COALESCE(m.model, $5),
                  -- The prompt: where it had no files, the last messages before the answer, as many as a prompt has room for.
                  COALESCE(m.prompt_tokens, (SELECT COALESCE(sum(octet_length(said.content)), 0) / $7::bigint FROM (
                       SELECT content FROM messages
                       WHERE conversation_id = m.conversation_id AND id + 0 < m.id AND status = 'sent'
                       ORDER BY id + 0 DESC LIMIT 20) said)),
                  ($3 - m.attempt_offsets[$2] + $7 - 1) / $7, true, $6
           FROM messages m
           WHERE m.id = $1 AND m.status = 'sending' AND $2 > 0 AND $3 > m.attempt_offsets[$2]
           ON CONFLICT DO NOTHING
           RETURNING user_id, model, input_tokens, output_tokens"#,
        message.0,
        i32::from(attempt),
        i64::try_from(bytes).unwrap_or(i64::MAX),
        model.provider,
        model.model,
        now,
        i64::try_from(BYTES_PER_TOKEN).unwrap_or(i64::MAX),
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok(lost.map(|lost| LostAttempt {
        user: UserId(lost.user_id),
        model: lost.model,
        usage: Usage {
            input_tokens: lost.input_tokens,
            output_tokens: lost.output_tokens,
            estimated: true,
        },
    }))
}
