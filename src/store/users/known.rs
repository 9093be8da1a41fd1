//! Users, as operators see them: never a hash, a preference or a word of theirs.

use chrono::{DateTime, Utc};
use cura_domain::user::{KnownAnswer, KnownSession, KnownUser, UserCounts};
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// How many users whose address begins with something are put into the order of the list at once. Where more do, a page of them is
/// looked for among the newest users first.
const MAX_SORTED: i64 = 5000;
/// How many of the newest users are looked through for those whose address begins with something.
const MAX_WALKED: i64 = 30_000;
/// How far conversations, messages and files of one user are counted.
pub const MAX_COUNTED: i64 = 100_000;
/// How many unfinished answers of one user are shown.
const MAX_SHOWN_ANSWERS: i64 = 100;

/// Which users are listed.
#[derive(Debug, Clone, Default)]
pub struct KnownUsers {
    /// Those whose address begins like this.
    pub prefix: Option<String>,
    /// Those that are suspended.
    pub only_suspended: bool,
    /// Those that are admins.
    pub only_admins: bool,
    /// Those that are older than this one.
    pub before: Option<UserId>,
}

impl KnownUsers {
    fn before(&self) -> i64 {
        self.before.map_or(i64::MAX, |before| before.0)
    }
}

/// At most `limit` of these users, newest first.
pub async fn list_known(conn: &mut PgConnection, which: &KnownUsers, limit: i64) -> Result<Vec<KnownUser>, StoreError> {
    let (before, prefix) = (which.before(), which.prefix.as_deref());
    let rows = match (which.only_admins, which.only_suspended, prefix) {
        (true, only_suspended, prefix) => list_admins(conn, only_suspended, prefix, before, limit).await?,
        (false, true, prefix) => list_suspended(conn, prefix, before, limit).await?,
        (false, false, Some(prefix)) => list_with_prefix(conn, prefix, before, limit).await?,
        (false, false, None) => {
            sqlx::query_as!(
                KnownRow,
                "SELECT id, email, name, created_at, last_seen, suspended_at, is_admin, erased_at
                 FROM users WHERE id < $1 ORDER BY id DESC LIMIT $2",
                before,
                limit,
            )
            .fetch_all(conn)
            .await?
        }
    };
    Ok(rows.into_iter().map(KnownUser::from).collect())
}

async fn list_admins(
    conn: &mut PgConnection,
    only_suspended: bool,
    prefix: Option<&str>,
    before: i64,
    limit: i64,
) -> Result<Vec<KnownRow>, StoreError> {
    // By `id + 0`, which only the index of admins has in this order.
    Ok(sqlx::query_as!(
        KnownRow,
        "SELECT id, email, name, created_at, last_seen, suspended_at, is_admin, erased_at
         FROM users WHERE is_admin AND id + 0 < $1 AND (suspended_at IS NOT NULL OR NOT $2)
           AND ($3::text IS NULL OR starts_with(email, $3))
         ORDER BY id + 0 DESC LIMIT $4",
        before,
        only_suspended,
        prefix,
        limit,
    )
    .fetch_all(conn)
    .await?)
}

async fn list_suspended(
    conn: &mut PgConnection,
    prefix: Option<&str>,
    before: i64,
    limit: i64,
) -> Result<Vec<KnownRow>, StoreError> {
    // By `id + 0`, which only the index of suspended users has in this order.
    Ok(sqlx::query_as!(
        KnownRow,
        "SELECT id, email, name, created_at, last_seen, suspended_at, is_admin, erased_at
         FROM users WHERE suspended_at IS NOT NULL AND id + 0 < $1 AND ($2::text IS NULL OR starts_with(email, $2))
         ORDER BY id + 0 DESC LIMIT $3",
        before,
        prefix,
        limit,
    )
    .fetch_all(conn)
    .await?)
}

async fn list_with_prefix(
    conn: &mut PgConnection,
    prefix: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<KnownRow>, StoreError> {
    // Behind every address that begins like this, and before all others: no address has a character like it.
    let end = format!("{prefix}\u{10ffff}");
    // In the order of the index, which the planner would leave for the table where many are expected.
    let found = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT FROM users WHERE email ~>=~ $1 AND email ~<~ $2 AND id < $3 ORDER BY email USING ~<~ LIMIT $4) found"#,
        prefix,
        end,
        before,
        MAX_SORTED + 1,
    )
    .fetch_one(&mut *conn)
    .await?;
    if found > MAX_SORTED {
        let newest = list_newest_with_prefix(conn, prefix, before, limit).await?;
        if i64::try_from(newest.len()) == Ok(limit) {
            return Ok(newest);
        }
    }
    let most = if found > MAX_SORTED { i64::MAX } else { MAX_SORTED };
    Ok(sqlx::query_as!(
        KnownRow,
        "SELECT u.id, u.email, u.name, u.created_at, u.last_seen, u.suspended_at, u.is_admin, u.erased_at
         FROM (SELECT id FROM (SELECT id FROM users WHERE email ~>=~ $1 AND email ~<~ $2 AND id < $3
                               ORDER BY email USING ~<~ LIMIT $5) found
               ORDER BY id DESC LIMIT $4) page
         JOIN users u ON u.id = page.id ORDER BY u.id DESC",
        prefix,
        end,
        before,
        limit,
        most,
    )
    .fetch_all(conn)
    .await?)
}

/// Those among the newest users whose address begins like this.
async fn list_newest_with_prefix(
    conn: &mut PgConnection,
    prefix: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<KnownRow>, StoreError> {
    Ok(sqlx::query_as!(
        KnownRow,
        "SELECT id, email, name, created_at, last_seen, suspended_at, is_admin, erased_at
         FROM (SELECT * FROM users WHERE id < $2 ORDER BY id DESC LIMIT $4) newest
         WHERE starts_with(email, $1) ORDER BY id DESC LIMIT $3",
        prefix,
        before,
        limit,
        MAX_WALKED,
    )
    .fetch_all(conn)
    .await?)
}

/// A user, who may be being erased.
pub async fn find_known(conn: &mut PgConnection, id: UserId) -> Result<Option<KnownUser>, StoreError> {
    let row = sqlx::query_as!(
        KnownRow,
        "SELECT id, email, name, created_at, last_seen, suspended_at, is_admin, erased_at FROM users WHERE id = $1",
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(KnownUser::from))
}

/// The active sessions of a user, the one that was used last first, at most `limit`.
pub async fn list_known_sessions(
    conn: &mut PgConnection,
    user: UserId,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<KnownSession>, StoreError> {
    let sessions = crate::sessions::list(conn, user, now, limit).await?;
    let known = sessions.into_iter().map(|session| KnownSession {
        id: session.id,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
    });
    Ok(known.collect())
}

/// How much a user has; of each at most [`MAX_COUNTED`] are counted.
pub async fn count_known(conn: &mut PgConnection, user: UserId) -> Result<UserCounts, StoreError> {
    Ok(sqlx::query_as!(
        UserCounts,
        r#"SELECT (SELECT count(*) FROM (SELECT FROM conversations WHERE user_id = $1 AND deleted_at IS NULL LIMIT $2) c) AS "conversations!",
                  (SELECT count(*) FROM (SELECT FROM messages WHERE user_id = $1 LIMIT $2) m) AS "messages!",
                  (SELECT count(*) FROM (SELECT FROM files WHERE user_id = $1 LIMIT $2) f) AS "files!""#,
        user.0,
        MAX_COUNTED,
    )
    .fetch_one(conn)
    .await?)
}

/// The unfinished answers of a user, oldest first, at most a hundred.
pub async fn list_known_answers(conn: &mut PgConnection, user: UserId) -> Result<Vec<KnownAnswer>, StoreError> {
    let rows = sqlx::query!(
        "SELECT m.id, m.conversation_id, m.attempt, m.created_at
         FROM messages m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.user_id = $1 AND m.running AND c.deleted_at IS NULL ORDER BY m.id + 0 LIMIT $2",
        user.0,
        MAX_SHOWN_ANSWERS,
    )
    .fetch_all(conn)
    .await?;
    let answers = rows.into_iter().map(|row| KnownAnswer {
        message_id: MessageId(row.id),
        conversation_id: ConversationId(row.conversation_id),
        attempt: row.attempt,
        created_at: row.created_at,
    });
    Ok(answers.collect())
}

struct KnownRow {
    id: i64,
    email: String,
    name: Option<String>,
    created_at: DateTime<Utc>,
    last_seen: Option<DateTime<Utc>>,
    suspended_at: Option<DateTime<Utc>>,
    is_admin: bool,
    erased_at: Option<DateTime<Utc>>,
}

impl From<KnownRow> for KnownUser {
    fn from(row: KnownRow) -> Self {
        Self {
            id: UserId(row.id),
            // What stands there then is no address.
            email: Some(row.email).filter(|_| row.erased_at.is_none()),
            name: row.name,
            created_at: row.created_at,
            last_seen: row.last_seen,
            suspended_at: row.suspended_at,
            is_admin: row.is_admin,
            erasing_since: row.erased_at,
        }
    }
}
