//! Files that go without anybody's deleting them: with their conversation, and those that belong to no message for long.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::event::Event;
use cura_domain::{ConversationId, FileId, UserId};
use sqlx::PgConnection;

use crate::{StoreError, events, exports, users};

/// How long a file is kept that belongs to no message, as the contract says.
const UNATTACHED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a batch has deleted of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedFiles {
    /// Whose files.
    pub user: UserId,
    /// How many.
    pub count: u64,
    /// The number of their last event, to be published once the transaction has committed.
    pub seq: i64,
}

/// Deletes at most `limit` files of `user` that belong to this conversation of theirs, and to no other that exists; returns which. None
/// where the conversation has more than `longest` messages. The caller holds the user alone, as do those who give files to messages.
pub async fn delete_of_conversation(
    transaction: &mut PgConnection,
    user: UserId,
    conversation: ConversationId,
    longest: i32,
    limit: i64,
) -> Result<Vec<FileId>, StoreError> {
    let deleted = sqlx::query_scalar!(
        "DELETE FROM files WHERE user_id = $1 AND id = ANY(ARRAY(
             SELECT DISTINCT a.file_id
             FROM conversations k JOIN messages m ON m.conversation_id = k.id JOIN message_files a ON a.message_id = m.id
             WHERE k.id = $2 AND k.user_id = $1 AND k.message_count <= $4
               -- Not EXISTS, for which the planner may read the whole table.
               AND (SELECT count(*) FROM message_files b JOIN messages o ON o.id = b.message_id
                        JOIN conversations c ON c.id = o.conversation_id
                    WHERE b.file_id = a.file_id AND c.id <> $2 AND c.deleted_at IS NULL) = 0
             LIMIT $3))
         RETURNING id",
        user.0,
        conversation.0,
        limit,
        longest,
    )
    .fetch_all(transaction)
    .await?;
    Ok(deleted.into_iter().map(FileId).collect())
}

/// Deletes what [`delete_of_conversation`] has left of a conversation that is deleted, at most `limit` files, with their events; `None`
/// when none is left.
pub async fn purge_of_conversation(
    transaction: &mut PgConnection,
    conversation: ConversationId,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Option<DeletedFiles>, StoreError> {
    let user = sqlx::query_scalar!(
        "SELECT user_id FROM conversations WHERE id = $1 AND deleted_at IS NOT NULL",
        conversation.0,
    );
    let Some(user) = user.fetch_optional(&mut *transaction).await?.map(UserId) else {
        return Ok(None);
    };
    // Of somebody who is being erased everything goes.
    if users::hold_alone(transaction, user).await?.is_none() {
        return Ok(None);
    }
    let deleted = delete_of_conversation(transaction, user, conversation, i32::MAX, limit).await?;
    append_deleted(transaction, user, &deleted, now).await
}

/// Deletes at most `limit` files of one person that belong to no message for [`UNATTACHED`], by Postgres' clock, with their events; `None`
/// when nobody has any.
pub async fn delete_unattached(
    transaction: &mut PgConnection,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Option<DeletedFiles>, StoreError> {
    let user = sqlx::query_scalar!(
        "SELECT f.user_id FROM files f JOIN users u ON u.id = f.user_id
         WHERE f.unattached_since < now() - make_interval(secs => $1) AND u.erased_at IS NULL
           AND (SELECT count(*) FROM message_files a WHERE a.file_id = f.id) = 0
         ORDER BY f.unattached_since LIMIT 1",
        UNATTACHED.as_secs_f64(),
    );
    let Some(user) = user.fetch_optional(&mut *transaction).await?.map(UserId) else {
        return Ok(None);
    };
    if users::hold_alone(transaction, user).await?.is_none() {
        return Ok(None);
    }
    let deleted = sqlx::query_scalar!(
        "DELETE FROM files f WHERE f.id = ANY(ARRAY(
             SELECT o.id FROM files o WHERE o.user_id = $1 AND o.unattached_since < now() - make_interval(secs => $2)
               -- A file that a message has is never deleted for what a column says.
               AND (SELECT count(*) FROM message_files a WHERE a.file_id = o.id) = 0
             LIMIT $3))
         RETURNING f.id",
        user.0,
        UNATTACHED.as_secs_f64(),
        limit,
    );
    let deleted: Vec<FileId> = deleted
        .fetch_all(&mut *transaction)
        .await?
        .into_iter()
        .map(FileId)
        .collect();
    append_deleted(transaction, user, &deleted, now).await
}

/// Tells every device of `user` that these files are gone.
async fn append_deleted(
    transaction: &mut PgConnection,
    user: UserId,
    deleted: &[FileId],
    now: DateTime<Utc>,
) -> Result<Option<DeletedFiles>, StoreError> {
    if deleted.is_empty() {
        return Ok(None);
    }
    // An archive must not contain what was deleted.
    exports::delete(transaction, user).await?;
    let told: Vec<Event> = deleted.iter().map(|id| Event::Upload(*id)).collect();
    Ok(Some(DeletedFiles {
        user,
        count: deleted.len() as u64,
        seq: events::append(transaction, user, &told, now).await?,
    }))
}
