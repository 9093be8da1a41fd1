//! Conversations of a user. Deleted ones are never returned.

use chrono::{DateTime, Utc};
use cura_domain::conversation::{
    Conversation, ConversationChanges, ConversationStatus, ListPosition, Title, TitleSource,
};
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// The stored title source of a conversation without a title.
const NO_TITLE: &str = "none";

/// A conversation that was just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeConversation {
    /// The conversation.
    pub id: ConversationId,
    /// The number of the event that says so.
    pub seq: i64,
}

/// Makes an empty conversation, with its title and where that comes from, and appends the event: one statement, which needs no
/// transaction of its caller. `None` when the account is being erased.
pub async fn create(
    conn: &mut PgConnection,
    user: UserId,
    title: Option<(&Title, TitleSource)>,
    now: DateTime<Utc>,
) -> Result<Option<MadeConversation>, StoreError> {
    let made = sqlx::query!(
        r#"WITH held AS (
               SELECT id FROM users WHERE id = $1 AND erased_at IS NULL FOR KEY SHARE
           ), made AS (
               INSERT INTO conversations (user_id, title, title_source, last_message_at, created_at, updated_at)
               SELECT id, $2, $3, $4, $4, $4 FROM held RETURNING id
           )
           SELECT id, log_events($1, ARRAY['conversation'], ARRAY[jsonb_build_object('conversation_id', id)], $4) AS "seq!" FROM made"#,
        user.0,
        title.map(|(title, _)| title.as_str()),
        title.map_or(NO_TITLE, |(_, source)| source.as_str()),
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(made.map(|made| MadeConversation {
        id: ConversationId(made.id),
        seq: made.seq,
    }))
}

/// A conversation of `user`.
pub async fn find_owned(
    conn: &mut PgConnection,
    user: UserId,
    id: ConversationId,
) -> Result<Option<Conversation>, StoreError> {
    let row = sqlx::query_as!(
        ConversationRow,
        r#"SELECT id, title, status, muted, created_at, updated_at, last_message_at, message_count,
                  EXISTS (SELECT 1 FROM messages m
                          WHERE m.user_id = c.user_id AND m.conversation_id = c.id AND m.running) AS "busy!"
           FROM conversations c WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL"#,
        id.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Conversation::try_from).transpose()
}

/// The conversations among `ids` that belong to `user`.
pub async fn list_owned(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[ConversationId],
) -> Result<Vec<Conversation>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        ConversationRow,
        r#"SELECT id, title, status, muted, created_at, updated_at, last_message_at, message_count,
                  EXISTS (SELECT 1 FROM messages m
                          WHERE m.user_id = c.user_id AND m.conversation_id = c.id AND m.running) AS "busy!"
           FROM conversations c WHERE id = ANY($1) AND user_id = $2 AND deleted_at IS NULL"#,
        &ids,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Conversation::try_from).collect()
}

/// Records that the user has read a conversation up to `message`; `false` when a later message was recorded before, or the
/// message is not in the conversation.
pub async fn mark_read(
    conn: &mut PgConnection,
    user: UserId,
    id: ConversationId,
    message: MessageId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"UPDATE conversations SET last_read_message_id = $3
           WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL AND COALESCE(last_read_message_id, 0) < $3
             AND EXISTS (SELECT 1 FROM messages WHERE id = $3 AND conversation_id = $1)"#,
        id.0,
        user.0,
        message.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A conversation that is locked until the end of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedConversation {
    /// The answers that are not final, by id: the first is being written, or is the next to start.
    pub running: Vec<MessageId>,
}

/// Holds the conversation of a message beside others who do: it is neither deleted nor locked alone until the transaction ends.
pub async fn hold_of_message(conn: &mut PgConnection, message: MessageId) -> Result<(), StoreError> {
    sqlx::query!(
        r#"SELECT true AS "is_there!" FROM conversations
           WHERE id = (SELECT conversation_id FROM messages WHERE id = $1) FOR KEY SHARE"#,
        message.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(())
}

/// Locks a conversation of `user`, if it exists. Its messages are locked after it, never before.
pub async fn lock_owned(
    conn: &mut PgConnection,
    user: UserId,
    id: ConversationId,
) -> Result<Option<LockedConversation>, StoreError> {
    let locked = sqlx::query_scalar!(
        r#"SELECT true AS "is_there!" FROM conversations
           WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL FOR UPDATE"#,
        id.0,
        user.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if locked.is_none() {
        return Ok(None);
    }
    // A separate statement, to see what the transaction has written that this one waited for.
    let running = sqlx::query_scalar!(
        "SELECT id FROM messages WHERE user_id = $1 AND conversation_id = $2 AND running ORDER BY id",
        user.0,
        id.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(LockedConversation {
        running: running.into_iter().map(MessageId).collect(),
    }))
}

/// A page of the conversations of `user`, most recent activity first, at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    listed: ConversationStatus,
    after: Option<ListPosition>,
    limit: i64,
) -> Result<Vec<Conversation>, StoreError> {
    let rows = sqlx::query_as!(
        ConversationRow,
        r#"SELECT id, title, status, muted, created_at, updated_at, last_message_at, message_count,
                  EXISTS (SELECT 1 FROM messages m
                          WHERE m.user_id = c.user_id AND m.conversation_id = c.id AND m.running) AS "busy!"
           FROM conversations c
           WHERE user_id = $1 AND status = $2 AND deleted_at IS NULL
             -- No cursor is a cursor newer than everything: one query, one plan.
             AND (last_message_at, id) < (COALESCE($3, 'infinity'::timestamptz), $4)
           ORDER BY last_message_at DESC, id DESC LIMIT $5"#,
        user.0,
        listed.as_str(),
        after.map(|after| after.last_message_at),
        after.map_or(i64::MAX, |after| after.id.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Conversation::try_from).collect()
}

/// How many conversations of `user` have this status.
pub async fn count(conn: &mut PgConnection, user: UserId, listed: ConversationStatus) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM conversations WHERE user_id = $1 AND status = $2 AND deleted_at IS NULL"#,
        user.0,
        listed.as_str(),
    )
    .fetch_one(conn)
    .await?)
}

/// A conversation whose row was changed, and is locked until the end of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchedConversation {
    /// Whether its title is an excerpt of its first message.
    pub title_is_excerpt: bool,
    /// Whether it is deleted: nothing may follow from what ends in it.
    pub deleted: bool,
}

/// Records that a conversation changed at `now`, which locks it until the end of the transaction.
pub async fn touch(
    conn: &mut PgConnection,
    id: ConversationId,
    now: DateTime<Utc>,
) -> Result<TouchedConversation, StoreError> {
    let touched = sqlx::query_as!(
        TouchedConversation,
        r#"UPDATE conversations SET last_message_at = $2, updated_at = $2
           WHERE id = $1 RETURNING title_source = 'excerpt' AS "title_is_excerpt!", deleted_at IS NOT NULL AS "deleted!""#,
        id.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    // Its rows are purged after it was deleted.
    Ok(touched.unwrap_or(TouchedConversation {
        title_is_excerpt: false,
        deleted: true,
    }))
}

/// Replaces a title that is an excerpt by a model's; returns the owner, or `None` when the title is no excerpt any more.
pub async fn improve_title(
    conn: &mut PgConnection,
    id: ConversationId,
    title: &str,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, StoreError> {
    let user = sqlx::query_scalar!(
        r#"UPDATE conversations SET title = $2, title_source = 'model', updated_at = $3
           WHERE id = $1 AND title_source = 'excerpt' AND deleted_at IS NULL RETURNING user_id"#,
        id.0,
        title,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user.map(UserId))
}

/// Changes what a user may change; `false` when `user` has no such conversation.
pub async fn update(
    conn: &mut PgConnection,
    user: UserId,
    id: ConversationId,
    changes: &ConversationChanges,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"UPDATE conversations
           SET title = COALESCE($3, title), title_source = CASE WHEN $3::text IS NULL THEN title_source ELSE 'user' END,
               status = COALESCE($4, status), muted = COALESCE($5, muted), updated_at = $6
           WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL"#,
        id.0,
        user.0,
        changes.title.as_ref().map(Title::as_str),
        changes.status.map(ConversationStatus::as_str),
        changes.muted,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks a conversation as deleted: it is never returned again. Its rows are purged later.
pub async fn delete(conn: &mut PgConnection, id: ConversationId, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE conversations SET deleted_at = $2, updated_at = $2 WHERE id = $1",
        id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` messages of a deleted conversation; returns their number, 0 when none is left. A conversation that
/// was not deleted is not touched.
pub async fn purge_messages(conn: &mut PgConnection, id: ConversationId, limit: i64) -> Result<u64, StoreError> {
    // The newest first: an answer refers to its question.
    let removed = sqlx::query!(
        r#"DELETE FROM messages WHERE id IN (
               SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
               WHERE m.conversation_id = $1 AND c.deleted_at IS NOT NULL ORDER BY m.id + 0 DESC LIMIT $2)"#,
        id.0,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(removed.rows_affected())
}

/// Deletes the row of a deleted conversation that has no messages any more; the user whose it was, if it still existed.
pub async fn purge_row(conn: &mut PgConnection, id: ConversationId) -> Result<Option<UserId>, StoreError> {
    let user = sqlx::query_scalar!(
        "DELETE FROM conversations WHERE id = $1 AND deleted_at IS NOT NULL RETURNING user_id",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(user.map(UserId))
}

struct ConversationRow {
    id: ConversationId,
    title: Option<String>,
    status: String,
    muted: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    last_message_at: DateTime<Utc>,
    message_count: i32,
    busy: bool,
}

impl TryFrom<ConversationRow> for Conversation {
    type Error = StoreError;

    fn try_from(row: ConversationRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            title: row.title,
            status: ConversationStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("conversation status"))?,
            muted: row.muted,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_message_at: row.last_message_at,
            message_count: row.message_count,
            busy: row.busy,
        })
    }
}
