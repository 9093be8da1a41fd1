//! What answers cost, by day and model.

use chrono::{DateTime, NaiveDate, Utc};
use cura_domain::message::Usage;
use cura_domain::usage::UsageDay;
use cura_domain::{ConversationId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// Adds to what was used: tokens, and `answers`. Last in its transaction, because all answers of a user write the same row.
///
/// # Errors
/// When Postgres fails.
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

/// What a user has going, and has used today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Answers that are not final.
    pub running: i64,
    /// Those of them that have begun.
    pub written: i64,
    /// Tokens that are reserved for them.
    pub reserved: i64,
    /// Tokens used on the day.
    pub used: i64,
}

/// What `user` has going, and has used on `day`.
///
/// # Errors
/// When Postgres fails.
pub async fn load(conn: &mut PgConnection, user: UserId, day: NaiveDate) -> Result<Load, StoreError> {
    Ok(sqlx::query_as!(
        Load,
        r#"SELECT count(*) AS "running!", count(*) FILTER (WHERE attempt > 0) AS "written!",
                  COALESCE(sum(reserved_tokens), 0)::bigint AS "reserved!",
                  (SELECT COALESCE(sum(input_tokens + output_tokens), 0)::bigint FROM usage_days
                   WHERE user_id = $1 AND day = $2) AS "used!"
           FROM messages WHERE user_id = $1 AND running"#,
        user.0,
        day,
    )
    .fetch_one(conn)
    .await?)
}

/// Makes whoever else wants to know what `user` has left wait until this transaction ends. Before anything else of the
/// user is locked.
///
/// # Errors
/// When Postgres fails.
pub async fn lock(conn: &mut PgConnection, user: UserId) -> Result<(), StoreError> {
    sqlx::query!("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE", user.0)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// What the last answer in a conversation cost, prompt included.
///
/// # Errors
/// When Postgres fails.
pub async fn last_cost(conn: &mut PgConnection, conversation: ConversationId) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT input_tokens + output_tokens AS "tokens!" FROM messages
           WHERE conversation_id = $1 AND input_tokens IS NOT NULL ORDER BY id + 0 DESC LIMIT 1"#,
        conversation.0,
    )
    .fetch_optional(conn)
    .await?)
}
