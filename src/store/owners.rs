//! Whose words they are. What reads a person's words to pass them on asks for an owner first: there is none once the person
//! has begun to erase the account, or has deleted the conversation. Owners are made here and nowhere else.

use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// A conversation that existed when it was asked for, and its person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationOwner {
    user: UserId,
    conversation: ConversationId,
}

impl ConversationOwner {
    /// The owner that a statement of this crate has read, with the conditions of [`find`].
    pub(crate) const fn read(user: UserId, conversation: ConversationId) -> Self {
        Self { user, conversation }
    }

    /// The person.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The conversation.
    pub const fn conversation(&self) -> ConversationId {
        self.conversation
    }
}

/// An account that existed when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountOwner {
    user: UserId,
}

impl AccountOwner {
    /// The person.
    pub const fn user(&self) -> UserId {
        self.user
    }
}

/// The owner of a conversation; `None` if it is deleted, or its person is being erased.
pub async fn find(
    conn: &mut PgConnection,
    conversation: ConversationId,
) -> Result<Option<ConversationOwner>, StoreError> {
    let user = sqlx::query_scalar!(
        r#"SELECT c.user_id FROM conversations c JOIN users u ON u.id = c.user_id
           WHERE c.id = $1 AND c.deleted_at IS NULL AND u.erased_at IS NULL"#,
        conversation.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user.map(|user| ConversationOwner {
        user: UserId(user),
        conversation,
    }))
}

/// The owner of the conversation of a message; `None` also if there is no such message.
pub async fn find_of_message(
    conn: &mut PgConnection,
    message: MessageId,
) -> Result<Option<ConversationOwner>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT c.user_id, c.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
               JOIN users u ON u.id = c.user_id
           WHERE m.id = $1 AND c.deleted_at IS NULL AND u.erased_at IS NULL"#,
        message.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| ConversationOwner {
        user: UserId(row.user_id),
        conversation: ConversationId(row.id),
    }))
}

/// The owner of an account; `None` if it is gone or being erased.
pub async fn find_account(conn: &mut PgConnection, user: UserId) -> Result<Option<AccountOwner>, StoreError> {
    let found = sqlx::query_scalar!("SELECT id FROM users WHERE id = $1 AND erased_at IS NULL", user.0)
        .fetch_optional(conn)
        .await?;
    Ok(found.map(|id| AccountOwner { user: UserId(id) }))
}
