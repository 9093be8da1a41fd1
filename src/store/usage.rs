//! Tokens used, by user, day and model.

use chrono::{DateTime, NaiveDate, Utc};
use cura_domain::UserId;
use cura_domain::message::Usage;
use cura_domain::usage::UsageDay;
use sqlx::PgConnection;

use crate::StoreError;
use crate::model_calls::LOST_AFTER;

/// Adds tokens and a number of `answers` to the usage of a day. All answers of a user write the same row, so this comes late
/// in a transaction.
pub async fn add(
    conn: &mut PgConnection,
    user: UserId,
    model: &str,
    answers: i32,
    usage: &Usage,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO usage_days AS u (user_id, day, model, messages, input_tokens, output_tokens)
           VALUES ($1, $2, $3, $6, $4, $5)
           ON CONFLICT (user_id, day, model) DO UPDATE
           SET messages = u.messages + $6, input_tokens = u.input_tokens + $4, output_tokens = u.output_tokens + $5"#,
        user.0,
        now.date_naive(),
        model,
        usage.input_tokens,
        usage.output_tokens,
        answers,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The usage since `from`, the newest day first.
pub async fn list(conn: &mut PgConnection, user: UserId, from: NaiveDate) -> Result<Vec<UsageDay>, StoreError> {
    Ok(sqlx::query_as!(
        UsageDay,
        r#"SELECT day, model, messages, input_tokens, output_tokens FROM usage_days
           WHERE user_id = $1 AND day >= $2 ORDER BY day DESC, model"#,
        user.0,
        from,
    )
    .fetch_all(conn)
    .await?)
}

/// A user's unfinished answers, and the tokens used on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Unfinished answers.
    pub running: i64,
    /// Tokens reserved for unfinished answers, and for titles and summaries that are being made.
    pub reserved: i64,
    /// Tokens used on the day.
    pub used: i64,
}

impl Load {
    /// The tokens of the day that are used or reserved.
    pub const fn spoken_for(&self) -> i64 {
        self.used.saturating_add(self.reserved)
    }
}

/// The unfinished answers of `user`, and the tokens used on the day (UTC) of `now`.
pub async fn load(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<Load, StoreError> {
    Ok(sqlx::query_as!(
        Load,
        r#"SELECT count(*) AS "running!",
                  (COALESCE(sum(reserved_tokens), 0)
                   + (SELECT COALESCE(sum(c.reserved_tokens), 0) FROM model_calls c
                      -- One that began longer ago was lost; the next title or summary settles it.
                      WHERE c.user_id = $1 AND c.ended_at IS NULL AND c.begun_at > $3))::bigint AS "reserved!",
                  (SELECT COALESCE(sum(input_tokens + output_tokens), 0)::bigint FROM usage_days
                   WHERE user_id = $1 AND day = $2) AS "used!"
           FROM messages WHERE user_id = $1 AND running"#,
        user.0,
        now.date_naive(),
        now - LOST_AFTER,
    )
    .fetch_one(conn)
    .await?)
}
