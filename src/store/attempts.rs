//! What attempts at answers cost. An attempt is counted once, in the transaction that writes its row down: by its number,
//! so that whoever else comes later (a worker that was frozen, a second cancel) changes nothing.

use chrono::{DateTime, Utc};
use cura_domain::answer::Fence;
use cura_domain::message::Usage;
use cura_domain::tokens::BYTES_PER_TOKEN;
use cura_domain::{MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It wrote the end.
    Completed,
    /// Somebody stopped it.
    Cancelled,
    /// It gave up.
    Failed,
    /// Another attempt was asked for.
    Retried,
    /// Its worker shut down.
    HandedOver,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::HandedOver => "handed_over",
        }
    }
}

/// An attempt that is over.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The answer.
    pub message: MessageId,
    /// Whose it is.
    pub user: UserId,
    /// Which attempt.
    pub fence: Fence,
    /// How it ended.
    pub outcome: Outcome,
    /// Who was asked.
    pub provider: &'a str,
    /// Which model.
    pub model: &'a str,
    /// What it cost.
    pub usage: Usage,
}

/// Counts an attempt, and an answer more if it `completed` or was cancelled; nothing if it was counted before. Last in its
/// transaction but for the events, as [`crate::usage::add`].
///
/// # Errors
/// When Postgres fails.
pub async fn record(conn: &mut PgConnection, attempt: &Attempt<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
    let answers = i32::from(matches!(attempt.outcome, Outcome::Completed | Outcome::Cancelled));
    sqlx::query!(
        r#"WITH counted AS (
               INSERT INTO answer_attempts
                   (message_id, attempt, user_id, outcome, provider, model, input_tokens, output_tokens, estimated, ended_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING
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
        attempt.provider,
        attempt.model,
        attempt.usage.input_tokens,
        attempt.usage.output_tokens,
        attempt.usage.estimated,
        now,
        now.date_naive(),
        answers,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is to be added to a user's usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The user.
    pub user: UserId,
    /// The model.
    pub model: String,
    /// The tokens.
    pub usage: Usage,
}

/// Counts an attempt at a running answer whose worker vanished, when the text had `bytes`: what was told it, and what it
/// wrote, at [`BYTES_PER_TOKEN`]. One that wrote nothing costs nothing. Gives what is to be added to the user's usage, as the
/// last thing but the events in the transaction. Whoever calls this keeps the attempt from ending by
/// itself: by a newer fence, or by the lock of its conversation.
///
/// # Errors
/// When Postgres fails.
pub async fn record_lost(
    conn: &mut PgConnection,
    message: MessageId,
    attempt: Fence,
    bytes: usize,
    (provider, model): (&str, &str),
    now: DateTime<Utc>,
) -> Result<Option<Spent>, StoreError> {
    let lost = sqlx::query!(
        r#"INSERT INTO answer_attempts
               (message_id, attempt, user_id, outcome, provider, model, input_tokens, output_tokens, estimated, ended_at)
           SELECT m.id, $2, m.user_id, 'lost', COALESCE(m.provider, $4), COALESCE(m.model, $5),
                  -- Told: the last of what was said before, as much as a prompt has room for.
                  (SELECT COALESCE(sum(octet_length(said.content)), 0) / $7::bigint FROM (
                       SELECT content FROM messages
                       WHERE conversation_id = m.conversation_id AND id + 0 < m.id AND status = 'sent'
                       ORDER BY id + 0 DESC LIMIT 20) said),
                  ($3 - m.bases[$2] + $7 - 1) / $7, true, $6
           FROM messages m
           WHERE m.id = $1 AND m.status = 'sending' AND $2 > 0 AND $3 > m.bases[$2]
           ON CONFLICT DO NOTHING
           RETURNING user_id, model, input_tokens, output_tokens"#,
        message.0,
        i32::from(attempt),
        i64::try_from(bytes).unwrap_or(i64::MAX),
        provider,
        model,
        now,
        i64::try_from(BYTES_PER_TOKEN).unwrap_or(i64::MAX),
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok(lost.map(|lost| Spent {
        user: UserId(lost.user_id),
        model: lost.model,
        usage: Usage {
            input_tokens: lost.input_tokens,
            output_tokens: lost.output_tokens,
            estimated: true,
        },
    }))
}
