//! Tokens used by everybody, for operators: by day, model or user.

use chrono::NaiveDate;
use cura_domain::UserId;
use sqlx::PgConnection;

use crate::StoreError;

/// The tokens of one model, of what is summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSum<K> {
    /// The day, the user, or nothing more.
    pub of: K,
    /// The model.
    pub model: String,
    /// The number of answers.
    pub messages: i64,
    /// Tokens of the prompts.
    pub input_tokens: i64,
    /// Tokens of the answers.
    pub output_tokens: i64,
}

/// The sums of these days, by model.
pub async fn by_model(conn: &mut PgConnection, since: NaiveDate) -> Result<Vec<UsageSum<()>>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT model, sum(messages)::bigint AS "messages!", sum(input_tokens)::bigint AS "input_tokens!",
                  sum(output_tokens)::bigint AS "output_tokens!"
           FROM usage_days WHERE day >= $1 GROUP BY model ORDER BY sum(input_tokens + output_tokens) DESC, model"#,
        since,
    )
    .fetch_all(conn)
    .await?;
    let sums = rows.into_iter().map(|row| UsageSum {
        of: (),
        model: row.model,
        messages: row.messages,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
    });
    Ok(sums.collect())
}

/// The sums of each of the newest `top` of these days that have any, newest first, by model.
pub async fn by_day(
    conn: &mut PgConnection,
    since: NaiveDate,
    top: i64,
) -> Result<Vec<UsageSum<NaiveDate>>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT day, model, sum(messages)::bigint AS "messages!", sum(input_tokens)::bigint AS "input_tokens!",
                  sum(output_tokens)::bigint AS "output_tokens!"
           FROM usage_days
           WHERE day >= GREATEST($1, (SELECT min(day) FROM (
                     SELECT DISTINCT day FROM usage_days WHERE day >= $1 ORDER BY day DESC LIMIT $2) newest))
           GROUP BY day, model ORDER BY day DESC, model"#,
        since,
        top,
    )
    .fetch_all(conn)
    .await?;
    let sums = rows.into_iter().map(|row| UsageSum {
        of: row.day,
        model: row.model,
        messages: row.messages,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
    });
    Ok(sums.collect())
}

/// The sums of the `top` users who have used most on these days, in that order, by model.
pub async fn by_user(conn: &mut PgConnection, since: NaiveDate, top: i64) -> Result<Vec<UsageSum<UserId>>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH top AS (
               SELECT user_id, sum(input_tokens + output_tokens) AS total FROM usage_days WHERE day >= $1
               GROUP BY user_id ORDER BY total DESC, user_id LIMIT $2
           )
           SELECT user_id AS "user_id!", model, sum(messages)::bigint AS "messages!", sum(input_tokens)::bigint AS "input_tokens!",
                  sum(output_tokens)::bigint AS "output_tokens!"
           FROM usage_days JOIN top USING (user_id) WHERE day >= $1
           GROUP BY user_id, total, model ORDER BY total DESC, user_id, model"#,
        since,
        top,
    )
    .fetch_all(conn)
    .await?;
    let sums = rows.into_iter().map(|row| UsageSum {
        of: UserId(row.user_id),
        model: row.model,
        messages: row.messages,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
    });
    Ok(sums.collect())
}
