//! Messages of a conversation, both sides, as clients see them.
//!
//! Lists are by `id + 0`, which only the indexes of a conversation and of a user have: see migration 0003.

use chrono::{DateTime, Utc};
use cura_domain::answer::{Bases, Fence};
use cura_domain::message::{FinishReason, MessageStatus, Role, Usage};
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// A message of either side. What only an answer has is empty on a user's message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The message.
    pub id: MessageId,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// What it answers or follows.
    pub parent_id: Option<MessageId>,
    /// Who speaks.
    pub role: Role,
    /// The text; of a running answer, what was saved of it so far.
    pub content: String,
    /// How far it has come.
    pub status: MessageStatus,
    /// The attempt that may write; 0 before the first.
    pub attempt: Fence,
    /// Where each attempt began.
    pub bases: Bases,
    /// The model that answered.
    pub model: Option<String>,
    /// The provider that answered.
    pub provider: Option<String>,
    /// Why the answer ended.
    pub finish_reason: Option<FinishReason>,
    /// What the answer cost.
    pub usage: Option<Usage>,
    /// From the question stored to the answer complete, in milliseconds.
    pub latency_ms: Option<i64>,
    /// From the question stored to the first text, in milliseconds.
    pub ttft_ms: Option<i64>,
    /// Why the answer failed: a stable machine word.
    pub error_code: Option<String>,
    /// What is shown beside the answer.
    pub notice: Option<serde_json::Value>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Message {
    /// A user's message that was just written.
    pub fn just_said(turn: &WrittenTurn, new: &NewAnswer<'_>, content: String, now: DateTime<Utc>) -> Self {
        Self {
            parent_id: turn.parent,
            role: Role::User,
            content,
            status: MessageStatus::Sent,
            ..Self::empty(turn.question, new.conversation, now)
        }
    }

    /// An answer that was just queued.
    pub fn just_asked(answer: MessageId, question: MessageId, new: &NewAnswer<'_>, now: DateTime<Utc>) -> Self {
        Self {
            parent_id: Some(question),
            notice: new.notice.cloned(),
            ..Self::empty(answer, new.conversation, now)
        }
    }

    /// The answer as it was when it was asked for.
    pub fn as_asked(&self) -> Self {
        Self {
            parent_id: self.parent_id,
            notice: self.notice.clone(),
            ..Self::empty(self.id, self.conversation_id, self.created_at)
        }
    }

    /// An answer of which nothing is known yet.
    fn empty(id: MessageId, conversation: ConversationId, created_at: DateTime<Utc>) -> Self {
        Self {
            id,
            conversation_id: conversation,
            parent_id: None,
            role: Role::Assistant,
            content: String::new(),
            status: MessageStatus::Sending,
            attempt: Fence::default(),
            bases: Bases::default(),
            model: None,
            provider: None,
            finish_reason: None,
            usage: None,
            latency_ms: None,
            ttft_ms: None,
            error_code: None,
            notice: None,
            created_at,
        }
    }
}

/// The order of a list of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// A user's message and its pending answer, as they were just written.
#[derive(Debug, Clone, Copy)]
pub struct WrittenTurn {
    /// What the user's message follows.
    pub parent: Option<MessageId>,
    /// The user's message.
    pub question: MessageId,
    /// The answer.
    pub answer: MessageId,
}

/// An answer that is about to be asked for.
#[derive(Debug, Clone, Copy)]
pub struct NewAnswer<'a> {
    /// Who asks.
    pub user: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// What it may cost.
    pub reserved_tokens: i64,
    /// What is shown beside it.
    pub notice: Option<&'a serde_json::Value>,
}

/// What a user's new message follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// The last message of the conversation.
    TheLast,
    /// What this message of the same conversation follows: it is said anew.
    SameAs(MessageId),
}

/// Writes a user's message and its pending answer in one statement.
///
/// # Errors
/// When Postgres fails.
pub async fn insert_turn(
    conn: &mut PgConnection,
    new: &NewAnswer<'_>,
    content: &str,
    follows: Follows,
    now: DateTime<Utc>,
) -> Result<WrittenTurn, StoreError> {
    let replaced = match follows {
        Follows::TheLast => None,
        Follows::SameAs(message) => Some(message.0),
    };
    let row = sqlx::query!(
        r#"WITH question AS (
               INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at)
               SELECT $1, $2,
                      CASE WHEN $5::bigint IS NULL THEN (SELECT max(id + 0) FROM messages WHERE conversation_id = $1)
                           ELSE (SELECT parent_id FROM messages WHERE id = $5) END,
                      'user', $3, 'sent', $4, $4
               RETURNING id, parent_id
           ), answer AS (
               INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at,
                                     reserved_tokens, notice)
               SELECT $1, $2, id, 'assistant', '', 'sending', $4, $4, $6, $7 FROM question
               RETURNING id
           )
           SELECT question.parent_id, question.id AS "question!", answer.id AS "answer!" FROM question, answer"#,
        new.conversation.0,
        new.user.0,
        content,
        now,
        replaced,
        new.reserved_tokens,
        new.notice,
    )
    .fetch_one(conn)
    .await?;
    Ok(WrittenTurn {
        parent: row.parent_id.map(MessageId),
        question: MessageId(row.question),
        answer: MessageId(row.answer),
    })
}

/// Writes another pending answer to a question that is there.
///
/// # Errors
/// When Postgres fails.
pub async fn insert_answer(
    conn: &mut PgConnection,
    new: &NewAnswer<'_>,
    question: MessageId,
    now: DateTime<Utc>,
) -> Result<MessageId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at,
                                 reserved_tokens, notice)
           VALUES ($1, $2, $3, 'assistant', '', 'sending', $4, $4, $5, $6) RETURNING id"#,
        new.conversation.0,
        new.user.0,
        question.0,
        now,
        new.reserved_tokens,
        new.notice,
    )
    .fetch_one(conn)
    .await?;
    Ok(MessageId(id))
}

/// A message of `user`, unless its conversation was deleted.
///
/// # Errors
/// When Postgres fails.
pub async fn find_owned(conn: &mut PgConnection, user: UserId, id: MessageId) -> Result<Option<Message>, StoreError> {
    let row = sqlx::query_as!(
        MessageRow,
        r#"SELECT m.id, m.conversation_id, m.parent_id, m.role, m.content, m.status, m.attempt, m.bases, m.model,
                  m.provider, m.finish_reason, m.input_tokens, m.output_tokens, m.usage_estimated, m.latency_ms,
                  m.ttft_ms, m.error_code, m.notice, m.created_at
           FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.id = $1 AND m.user_id = $2 AND c.deleted_at IS NULL"#,
        id.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Message::try_from).transpose()
}

/// An answer that is not final.
///
/// # Errors
/// When Postgres fails.
pub async fn find_running(conn: &mut PgConnection, id: MessageId) -> Result<Option<Message>, StoreError> {
    let row = sqlx::query_as!(
        MessageRow,
        r#"SELECT id, conversation_id, parent_id, role, content, status, attempt, bases, model, provider,
                  finish_reason, input_tokens, output_tokens, usage_estimated, latency_ms, ttft_ms, error_code,
                  notice, created_at
           FROM messages WHERE id = $1 AND status = 'sending'"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Message::try_from).transpose()
}

/// Those of these messages that are `user`'s, unless their conversation was deleted; without their texts, but for those
/// `with_text`.
///
/// # Errors
/// When Postgres fails.
pub async fn list_owned(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[MessageId],
    with_text: &[MessageId],
) -> Result<Vec<Message>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let with_text: Vec<i64> = with_text.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        MessageRow,
        r#"SELECT m.id, m.conversation_id, m.parent_id, m.role,
                  CASE WHEN m.id = ANY($3) THEN m.content ELSE '' END AS "content!", m.status, m.attempt, m.bases, m.model,
                  m.provider, m.finish_reason, m.input_tokens, m.output_tokens, m.usage_estimated, m.latency_ms,
                  m.ttft_ms, m.error_code, m.notice, m.created_at
           FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.id = ANY($1) AND m.user_id = $2 AND c.deleted_at IS NULL"#,
        &ids,
        user.0,
        &with_text,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Message::try_from).collect()
}

/// How long a message's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSize {
    /// The message.
    pub id: MessageId,
    /// Whose it is.
    pub role: Role,
    /// UTF-8 bytes of its text.
    pub bytes: i64,
}

/// How long the texts of these messages of `user` are.
///
/// # Errors
/// When Postgres fails.
pub async fn sizes(conn: &mut PgConnection, user: UserId, ids: &[MessageId]) -> Result<Vec<TextSize>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"SELECT id, role, octet_length(content)::bigint AS "bytes!" FROM messages WHERE id = ANY($1) AND user_id = $2"#,
        &ids,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(TextSize {
                id: MessageId(row.id),
                role: role(&row.role)?,
                bytes: row.bytes,
            })
        })
        .collect()
}

/// What was saved of a message's text; nothing of one that is not there.
///
/// # Errors
/// When Postgres fails.
pub async fn saved_text(conn: &mut PgConnection, id: MessageId) -> Result<String, StoreError> {
    let text = sqlx::query_scalar!("SELECT content FROM messages WHERE id = $1", id.0)
        .fetch_optional(conn)
        .await?;
    Ok(text.unwrap_or_default())
}

/// A page of a conversation's messages after `after` in the given order, at most `limit`. The caller has checked
/// that the conversation is the user's.
///
/// # Errors
/// When Postgres fails.
pub async fn list(
    conn: &mut PgConnection,
    conversation: ConversationId,
    order: Order,
    after: Option<MessageId>,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let rows = match order {
        Order::Descending => {
            sqlx::query_as!(
                MessageRow,
                r#"SELECT id, conversation_id, parent_id, role, content, status, attempt, bases, model, provider,
                          finish_reason, input_tokens, output_tokens, usage_estimated, latency_ms, ttft_ms, error_code,
                          notice, created_at
                   FROM messages WHERE conversation_id = $1 AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3"#,
                conversation.0,
                after.map_or(i64::MAX, |after| after.0),
                limit,
            )
            .fetch_all(conn)
            .await?
        }
        Order::Ascending => {
            sqlx::query_as!(
                MessageRow,
                r#"SELECT id, conversation_id, parent_id, role, content, status, attempt, bases, model, provider,
                          finish_reason, input_tokens, output_tokens, usage_estimated, latency_ms, ttft_ms, error_code,
                          notice, created_at
                   FROM messages WHERE conversation_id = $1 AND id + 0 > $2 ORDER BY id + 0 LIMIT $3"#,
                conversation.0,
                after.map_or(0, |after| after.0),
                limit,
            )
            .fetch_all(conn)
            .await?
        }
    };
    rows.into_iter().map(Message::try_from).collect()
}

struct MessageRow {
    id: MessageId,
    conversation_id: ConversationId,
    parent_id: Option<i64>,
    role: String,
    content: String,
    status: String,
    attempt: i32,
    bases: Vec<i64>,
    model: Option<String>,
    provider: Option<String>,
    finish_reason: Option<String>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    usage_estimated: Option<bool>,
    latency_ms: Option<i64>,
    ttft_ms: Option<i64>,
    error_code: Option<String>,
    notice: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
}

impl TryFrom<MessageRow> for Message {
    type Error = StoreError;

    fn try_from(row: MessageRow) -> Result<Self, StoreError> {
        let finish_reason = row
            .finish_reason
            .map(|word| FinishReason::from_word(&word).ok_or(StoreError::UnknownWord("finish reason")))
            .transpose()?;
        let usage = row
            .input_tokens
            .zip(row.output_tokens)
            .map(|(input_tokens, output_tokens)| Usage {
                input_tokens,
                output_tokens,
                estimated: row.usage_estimated.unwrap_or(true),
            });
        Ok(Self {
            id: row.id,
            conversation_id: row.conversation_id,
            parent_id: row.parent_id.map(MessageId),
            role: role(&row.role)?,
            content: row.content,
            status: MessageStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("message status"))?,
            attempt: Fence(row.attempt.unsigned_abs()),
            bases: Bases(row.bases.into_iter().map(i64::unsigned_abs).collect()),
            model: row.model,
            provider: row.provider,
            finish_reason,
            usage,
            latency_ms: row.latency_ms,
            ttft_ms: row.ttft_ms,
            error_code: row.error_code,
            notice: row.notice,
            created_at: row.created_at,
        })
    }
}

pub(crate) fn role(word: &str) -> Result<Role, StoreError> {
    Role::from_word(word).ok_or(StoreError::UnknownWord("role"))
}
