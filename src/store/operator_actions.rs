//! The record of what operators did. Postgres itself refuses to change it, and to delete from it for 400 days.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;

/// What an operator did, or failed to do.
#[derive(Debug, Clone)]
pub struct NewAction<'a> {
    /// Who.
    pub operator: &'a str,
    /// By what: a command or a page.
    pub via: &'a str,
    /// The noun and the verb: `files.delete`.
    pub action: &'a str,
    /// The id of what it was done to.
    pub target: Option<&'a str>,
    /// Without secrets, addresses and words of people.
    pub arguments: &'a serde_json::Value,
    /// What it failed for.
    pub failure: Option<&'a str>,
}

/// An act as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Its number: the higher, the newer.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub operator: String,
    /// By what: a command or a page.
    pub via: String,
    /// The noun and the verb: `files.delete`.
    pub action: String,
    /// The id of what it was done to.
    pub target: Option<String>,
    /// With what.
    pub arguments: serde_json::Value,
    /// What it failed for; `None` when it was done.
    pub failure: Option<String>,
}

/// Which acts are listed.
#[derive(Debug, Clone, Default)]
pub struct ActionFilter {
    /// Those of this operator.
    pub operator: Option<String>,
    /// Those whose name begins so: `files`, or `files.delete`.
    pub action: Option<String>,
    /// Those that were done to this.
    pub target: Option<String>,
    /// Those of this moment, or later ones.
    pub since: Option<DateTime<Utc>>,
    /// Those that failed.
    pub only_failed: bool,
    /// Those before this one.
    pub before: Option<i64>,
}

/// Records an act.
pub async fn insert(conn: &mut PgConnection, action: &NewAction<'_>, at: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO operator_actions (at, operator, via, action, target, arguments, failure)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        at,
        action.operator,
        action.via,
        action.action,
        action.target,
        action.arguments,
        action.failure,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// At most `limit` acts, newest first. Those of a target by its index; others are read from the newest on until it has found as many.
pub async fn list(conn: &mut PgConnection, which: &ActionFilter, limit: i64) -> Result<Vec<Action>, StoreError> {
    Ok(sqlx::query_as!(
        Action,
        "SELECT id, at, operator, via, action, target, arguments, failure FROM operator_actions
         WHERE id < $1 AND ($2::text IS NULL OR operator = $2)
           AND ($3::text IS NULL OR action = $3 OR starts_with(action, $3 || '.'))
           AND ($4::text IS NULL OR target = $4) AND ($5::timestamptz IS NULL OR at >= $5)
           AND (failure IS NOT NULL OR NOT $6)
         ORDER BY id DESC LIMIT $7",
        which.before.unwrap_or(i64::MAX),
        which.operator,
        which.action,
        which.target,
        which.since,
        which.only_failed,
        limit,
    )
    .fetch_all(conn)
    .await?)
}
