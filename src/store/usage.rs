//! What answers cost, by day and model.

use chrono::{DateTime, NaiveDate, Utc};
use cura_domain::UserId;
use cura_domain::message::Usage;
use sqlx::PgConnection;

use crate::StoreError;

/// What one model answered on one day.
#[derive(Debug, Clone)]
pub struct UsageDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The model.
    pub model: String,
    /// How many answers.
    pub messages: i32,
    /// Tokens of the prompts.
    pub input_tokens: i64,
    /// Tokens of the answers.
    pub output_tokens: i64,
}

/// Counts one answer; in the transaction that makes it final, so that it is counted once.
///
/// # Errors
/// When Postgres fails.
pub async fn add(
    conn: &mut PgConnection,
    user: UserId,
    model: &str,
    usage: &Usage,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO usage_days AS u (user_id, day, model, messages, input_tokens, output_tokens)
           VALUES ($1, $2, $3, 1, $4, $5)
           ON CONFLICT (user_id, day, model) DO UPDATE
           SET messages = u.messages + 1, input_tokens = u.input_tokens + $4, output_tokens = u.output_tokens + $5"#,
        user.0,
        now.date_naive(),
        model,
        usage.input_tokens,
        usage.output_tokens,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was used since `from`, the newest day first.
///
/// # Errors
/// When Postgres fails.
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
