//! Expired rows: deleted in small batches, children before their parents, so that no statement is larger than its caller
//! asked for, however many rows hang on one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::{ConversationId, UserId};
use sqlx::PgConnection;

use crate::StoreError;
use crate::{avatars, files, resumable_uploads};

/// How long an idempotency key is valid (as the contract says), and an hour for requests that are using it.
const KEYS: TimeDelta = TimeDelta::hours(25);
/// How long an ended session is kept with its tokens, so that the reuse of one is recognized; and a replaced token of a
/// session that goes on.
const SESSIONS: TimeDelta = TimeDelta::days(30);
/// How long events are kept, as the contract says.
pub const EVENTS: TimeDelta = TimeDelta::days(7);
/// The most parents whose children are looked for by one statement.
const PARENTS: i64 = 100;
/// How long it is kept why something was pushed, or was not.
pub const PUSHES: TimeDelta = TimeDelta::days(30);
/// After how long an upload is not being stored any more: the file store may take ten minutes for one.
const STORING: Duration = Duration::from_secs(15 * 60);
/// How long it is kept what each title and summary cost; the sum by day stays.
const MODEL_CALLS: TimeDelta = TimeDelta::days(7);

/// A kind of row that expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Tickets that were not redeemed.
    Tickets,
    /// Idempotency keys after their 24 hours.
    IdempotencyKeys,
    /// Refresh tokens that were replaced a month ago.
    RefreshTokens,
    /// Sessions that ended or expired a month ago.
    Sessions,
    /// Archives after their hour.
    Exports,
    /// Events after their retention.
    Events,
    /// What titles and summaries cost, once their days are counted.
    ModelCalls,
    /// The log of pushes after its retention.
    Pushes,
    /// Uploads whose storing began so long ago that nobody is at it any more.
    AbandonedUploads,
    /// Uploads that arrive in parts, after their day.
    ResumableUploads,
    /// The record of what operators did, after its retention, before which Postgres refuses it.
    OperatorActions,
}

impl Expired {
    /// Deletes at most `limit` rows, of this kind or their children, and returns their number; 0 when none is left.
    pub async fn delete_expired(
        self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let done = match self {
            Self::Tickets => {
                sqlx::query!(
                    "DELETE FROM tickets WHERE ticket_hash IN (SELECT ticket_hash FROM tickets WHERE expires_at < $1 LIMIT $2)",
                    now,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::IdempotencyKeys => {
                sqlx::query!(
                    "DELETE FROM idempotency_keys WHERE (user_id, key) IN (
                         SELECT user_id, key FROM idempotency_keys WHERE created_at < $1 LIMIT $2)",
                    now - KEYS,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::RefreshTokens => {
                sqlx::query!(
                    "DELETE FROM refresh_tokens WHERE token_hash IN (
                         SELECT t.token_hash FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
                         WHERE t.created_at < $1 AND t.token_hash IS DISTINCT FROM s.current_token
                           AND t.token_hash IS DISTINCT FROM s.previous_token LIMIT $2)",
                    now - SESSIONS,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::Sessions => return delete_sessions(conn, now - SESSIONS, limit).await,
            Self::AbandonedUploads => {
                let files = files::delete_abandoned(&mut *conn, STORING, limit).await?;
                return Ok(files + avatars::delete_abandoned(conn, STORING, limit).await?);
            }
            Self::ResumableUploads => return resumable_uploads::delete_expired(conn, PARENTS, limit).await,
            Self::Pushes => return delete_pushes(conn, now - PUSHES, limit).await,
            Self::Exports => return delete_exports(conn, now, limit).await,
            Self::ModelCalls => {
                sqlx::query!(
                    "DELETE FROM model_calls WHERE id IN (SELECT id FROM model_calls WHERE begun_at < $1 LIMIT $2)",
                    now - MODEL_CALLS,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::OperatorActions => {
                sqlx::query!(
                    "DELETE FROM operator_actions WHERE id IN (
                         SELECT id FROM operator_actions WHERE at < now() - interval '400 days' LIMIT $1)",
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::Events => {
                sqlx::query!(
                    "DELETE FROM events WHERE (user_id, seq) IN (
                         SELECT user_id, seq FROM events WHERE created_at < $1 LIMIT $2)",
                    now - EVENTS,
                    limit
                )
                .execute(conn)
                .await?
            }
        };
        Ok(done.rows_affected())
    }
}

/// Deletes sends of a hundred pushes, or those pushes once they have none.
async fn delete_pushes(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
    let pushes = sqlx::query_scalar!(
        "SELECT id FROM pushes WHERE created_at < $1 LIMIT $2",
        before,
        PARENTS.min(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    let sends = sqlx::query!(
        "DELETE FROM push_sends WHERE ctid = ANY(ARRAY(
             SELECT child.ctid FROM unnest($1::bigint[]) AS parent (id)
             CROSS JOIN LATERAL (SELECT ctid FROM push_sends WHERE push_id = parent.id LIMIT $2) child LIMIT $2))",
        &pushes,
        limit,
    );
    let deleted = sends.execute(&mut *conn).await?.rows_affected();
    if deleted > 0 {
        return Ok(deleted);
    }
    let done = sqlx::query!("DELETE FROM pushes WHERE id = ANY($1)", &pushes);
    Ok(done.execute(conn).await?.rows_affected())
}

/// Deletes tokens and tickets of a hundred expired sessions, or those sessions once they have none.
async fn delete_sessions(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
    let sessions = sqlx::query_scalar!(
        r#"(SELECT id AS "id!" FROM sessions WHERE ended_at < $1 LIMIT $2)
           UNION (SELECT id FROM sessions WHERE expires_at < $1 LIMIT $2) LIMIT $2"#,
        before,
        PARENTS.min(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    let tokens = sqlx::query!(
        "DELETE FROM refresh_tokens WHERE ctid = ANY(ARRAY(
             SELECT child.ctid FROM unnest($1::bigint[]) AS parent (id)
             CROSS JOIN LATERAL (SELECT ctid FROM refresh_tokens WHERE session_id = parent.id LIMIT $2) child LIMIT $2))",
        &sessions,
        limit,
    );
    let deleted = tokens.execute(&mut *conn).await?.rows_affected();
    if deleted > 0 {
        return Ok(deleted);
    }
    let tickets = sqlx::query!(
        "DELETE FROM tickets WHERE ctid = ANY(ARRAY(
             SELECT child.ctid FROM unnest($1::bigint[]) AS parent (id)
             CROSS JOIN LATERAL (SELECT ctid FROM tickets WHERE session_id = parent.id LIMIT $2) child LIMIT $2))",
        &sessions,
        limit,
    );
    let deleted = tickets.execute(&mut *conn).await?.rows_affected();
    if deleted > 0 {
        return Ok(deleted);
    }
    let done = sqlx::query!("DELETE FROM sessions WHERE id = ANY($1)", &sessions);
    Ok(done.execute(conn).await?.rows_affected())
}

/// Deletes parts of a hundred expired archives, or those archives once they have none.
async fn delete_exports(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
    let exports = sqlx::query_scalar!(
        "SELECT id FROM exports WHERE expires_at < $1 LIMIT $2",
        before,
        PARENTS.min(limit)
    )
    .fetch_all(&mut *conn)
    .await?;
    let parts = sqlx::query!(
        "DELETE FROM export_parts WHERE ctid = ANY(ARRAY(
             SELECT child.ctid FROM unnest($1::bigint[]) AS parent (id)
             CROSS JOIN LATERAL (SELECT ctid FROM export_parts WHERE export_id = parent.id LIMIT $2) child LIMIT $2))",
        &exports,
        limit,
    );
    let deleted = parts.execute(&mut *conn).await?.rows_affected();
    if deleted > 0 {
        return Ok(deleted);
    }
    let done = sqlx::query!("DELETE FROM exports WHERE id = ANY($1)", &exports);
    Ok(done.execute(conn).await?.rows_affected())
}

/// Users whose erasure began before `since` and is not complete, at most 100.
pub async fn list_unerased(conn: &mut PgConnection, since: DateTime<Utc>) -> Result<Vec<UserId>, StoreError> {
    let left = sqlx::query_scalar!(
        "SELECT id FROM users WHERE erased_at < $1 ORDER BY erased_at LIMIT 100",
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(left.into_iter().map(UserId).collect())
}

/// Conversations that were deleted before `since` and whose rows still exist, at most 100.
pub async fn list_unpurged(conn: &mut PgConnection, since: DateTime<Utc>) -> Result<Vec<ConversationId>, StoreError> {
    let left = sqlx::query_scalar!(
        "SELECT id FROM conversations WHERE deleted_at < $1 ORDER BY deleted_at LIMIT 100",
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(left.into_iter().map(ConversationId).collect())
}
