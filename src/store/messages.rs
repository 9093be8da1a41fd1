//! Messages of both sides of a conversation, as clients see them.
//!
//! Lists are ordered by `id + 0`, which only the indexes of a conversation and of a user have: see migration 0003.

use chrono::{DateTime, Utc};
use cura_domain::answer::{AttemptOffsets, Fence};
use cura_domain::message::{FinishReason, Message, MessageStatus, Order, Role, TextSize, Usage};
use cura_domain::notice::StoredNotice;
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::{StoreError, prompt_files};

/// A message as it was read from its row.
pub type StoredMessage = Message<StoredNotice>;

/// A message of `user`, unless its conversation was deleted.
pub async fn find_owned(
    conn: &mut PgConnection,
    user: UserId,
    id: MessageId,
) -> Result<Option<StoredMessage>, StoreError> {
    let row = sqlx::query_as!(
        MessageRow,
        r#"SELECT m.id, m.conversation_id, m.parent_id, m.role, m.content, m.status, m.attempt, m.attempt_offsets, m.model,
                  m.provider, m.finish_reason, m.input_tokens, m.output_tokens, m.usage_estimated, m.reasoning_tokens, m.latency_ms,
                  m.ttft_ms, m.error_code, m.notice, m.files_used, m.created_at
           FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.id = $1 AND m.user_id = $2 AND c.deleted_at IS NULL"#,
        id.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(StoredMessage::try_from).transpose()
}

/// Those of these messages that are `user`'s, unless their conversation was deleted; without their texts, but for those
/// `with_text`.
pub async fn list_owned(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[MessageId],
    with_text: &[MessageId],
) -> Result<Vec<StoredMessage>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let with_text: Vec<i64> = with_text.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        MessageRow,
        r#"SELECT m.id, m.conversation_id, m.parent_id, m.role,
                  CASE WHEN m.id = ANY($3) THEN m.content ELSE '' END AS "content!", m.status, m.attempt, m.attempt_offsets, m.model,
                  m.provider, m.finish_reason, m.input_tokens, m.output_tokens, m.usage_estimated, m.reasoning_tokens, m.latency_ms,
                  m.ttft_ms, m.error_code, m.notice, m.files_used, m.created_at
           FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.id = ANY($1) AND m.user_id = $2 AND c.deleted_at IS NULL"#,
        &ids,
        user.0,
        &with_text,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(StoredMessage::try_from).collect()
}

/// The lengths of the texts of these messages of `user`.
pub async fn list_text_sizes(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[MessageId],
) -> Result<Vec<TextSize>, StoreError> {
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

/// The saved text of a message; empty when it does not exist.
pub async fn saved_text(conn: &mut PgConnection, id: MessageId) -> Result<String, StoreError> {
    let text = sqlx::query_scalar!("SELECT content FROM messages WHERE id = $1", id.0)
        .fetch_optional(conn)
        .await?;
    Ok(text.unwrap_or_default())
}

/// How many of these messages do not exist.
pub async fn count_missing(conn: &mut PgConnection, ids: &[i64]) -> Result<i64, StoreError> {
    let missing = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM unnest($1::bigint[]) AS asked (id)
           WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = asked.id)"#,
        ids,
    )
    .fetch_one(conn)
    .await?;
    Ok(missing)
}

/// The bytes of the texts that [`list`] would return, without reading them.
pub async fn list_sizes(
    conn: &mut PgConnection,
    conversation: ConversationId,
    order: Order,
    after: Option<MessageId>,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(match order {
        Order::Descending => {
            sqlx::query_scalar!(
                r#"SELECT octet_length(content)::bigint AS "bytes!"
                   FROM messages WHERE conversation_id = $1 AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3"#,
                conversation.0,
                after.map_or(i64::MAX, |after| after.0),
                limit,
            )
            .fetch_all(conn)
            .await?
        }
        Order::Ascending => {
            sqlx::query_scalar!(
                r#"SELECT octet_length(content)::bigint AS "bytes!"
                   FROM messages WHERE conversation_id = $1 AND id + 0 > $2 ORDER BY id + 0 LIMIT $3"#,
                conversation.0,
                after.map_or(0, |after| after.0),
                limit,
            )
            .fetch_all(conn)
            .await?
        }
    })
}

/// A page of a conversation, and how many messages it has.
#[derive(Debug)]
pub struct ListedMessages {
    /// The messages; `None` if one of them is too long to be read with the others.
    pub messages: Option<Vec<StoredMessage>>,
    /// All messages of the conversation.
    pub total: i64,
}

/// The message of a row that has its text as `short`, unless that is too long, with the `total` of its conversation.
macro_rules! listed {
    ($row:ident) => {
        (
            $row.short.map(|content| MessageRow {
                id: MessageId($row.id),
                conversation_id: ConversationId($row.conversation_id),
                parent_id: $row.parent_id,
                role: $row.role,
                content,
                status: $row.status,
                attempt: $row.attempt,
                attempt_offsets: $row.attempt_offsets,
                model: $row.model,
                provider: $row.provider,
                finish_reason: $row.finish_reason,
                input_tokens: $row.input_tokens,
                output_tokens: $row.output_tokens,
                usage_estimated: $row.usage_estimated,
                reasoning_tokens: $row.reasoning_tokens,
                latency_ms: $row.latency_ms,
                ttft_ms: $row.ttft_ms,
                error_code: $row.error_code,
                notice: $row.notice,
                files_used: $row.files_used,
                created_at: $row.created_at,
            }),
            $row.total,
        )
    };
}

/// What [`list`] returns, if the conversation is `user`'s and no text is longer than `longest` bytes: one statement. `None` if
/// there is no such conversation, or nothing on the page.
pub async fn list_owned_page(
    conn: &mut PgConnection,
    user: UserId,
    conversation: ConversationId,
    order: Order,
    after: Option<MessageId>,
    limit: i64,
    longest: i32,
) -> Result<Option<ListedMessages>, StoreError> {
    let rows: Vec<(Option<MessageRow>, i32)> = match order {
        Order::Descending => {
            sqlx::query!(
                r#"WITH owned AS MATERIALIZED (
                       SELECT message_count FROM conversations WHERE id = $1 AND user_id = $4 AND deleted_at IS NULL
                   )
                   SELECT id, conversation_id, parent_id, role, CASE WHEN octet_length(content) <= $5 THEN content END AS short, status, attempt,
                      attempt_offsets, model, provider, finish_reason, input_tokens, output_tokens, usage_estimated, reasoning_tokens,
                      latency_ms, ttft_ms, error_code, notice, files_used, created_at, (SELECT message_count FROM owned) AS "total!"
                   FROM messages WHERE conversation_id = $1 AND EXISTS (SELECT FROM owned) AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3"#,
                conversation.0,
                after.map_or(i64::MAX, |after| after.0),
                limit,
                user.0,
                longest,
            )
            .fetch_all(conn)
            .await?
            .into_iter()
            .map(|row| listed!(row))
            .collect()
        }
        Order::Ascending => {
            sqlx::query!(
                r#"WITH owned AS MATERIALIZED (
                       SELECT message_count FROM conversations WHERE id = $1 AND user_id = $4 AND deleted_at IS NULL
                   )
                   SELECT id, conversation_id, parent_id, role, CASE WHEN octet_length(content) <= $5 THEN content END AS short, status, attempt,
                      attempt_offsets, model, provider, finish_reason, input_tokens, output_tokens, usage_estimated, reasoning_tokens,
                      latency_ms, ttft_ms, error_code, notice, files_used, created_at, (SELECT message_count FROM owned) AS "total!"
                   FROM messages WHERE conversation_id = $1 AND EXISTS (SELECT FROM owned) AND id + 0 > $2 ORDER BY id + 0 LIMIT $3"#,
                conversation.0,
                after.map_or(0, |after| after.0),
                limit,
                user.0,
                longest,
            )
            .fetch_all(conn)
            .await?
            .into_iter()
            .map(|row| listed!(row))
            .collect()
        }
    };
    let Some((_, total)) = rows.first() else {
        return Ok(None);
    };
    let total = i64::from(*total);
    let messages = rows
        .into_iter()
        .map(|(row, _)| row.map(StoredMessage::try_from).transpose());
    Ok(Some(ListedMessages {
        messages: messages.collect::<Result<_, _>>()?,
        total,
    }))
}

/// A page of a conversation's messages after `after` in the given order, at most `limit`. The caller has checked
/// that the conversation is the user's.
pub async fn list(
    conn: &mut PgConnection,
    conversation: ConversationId,
    order: Order,
    after: Option<MessageId>,
    limit: i64,
) -> Result<Vec<StoredMessage>, StoreError> {
    let rows = match order {
        Order::Descending => sqlx::query_as!(
            MessageRow,
            r#"SELECT id, conversation_id, parent_id, role, content, status, attempt, attempt_offsets, model, provider,
                          finish_reason, input_tokens, output_tokens, usage_estimated, reasoning_tokens, latency_ms, ttft_ms,
                          error_code, notice, files_used, created_at
                   FROM messages WHERE conversation_id = $1 AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3"#,
            conversation.0,
            after.map_or(i64::MAX, |after| after.0),
            limit,
        )
        .fetch_all(conn)
        .await?,
        Order::Ascending => sqlx::query_as!(
            MessageRow,
            r#"SELECT id, conversation_id, parent_id, role, content, status, attempt, attempt_offsets, model, provider,
                          finish_reason, input_tokens, output_tokens, usage_estimated, reasoning_tokens, latency_ms, ttft_ms,
                          error_code, notice, files_used, created_at
                   FROM messages WHERE conversation_id = $1 AND id + 0 > $2 ORDER BY id + 0 LIMIT $3"#,
            conversation.0,
            after.map_or(0, |after| after.0),
            limit,
        )
        .fetch_all(conn)
        .await?,
    };
    rows.into_iter().map(StoredMessage::try_from).collect()
}

struct MessageRow {
    id: MessageId,
    conversation_id: ConversationId,
    parent_id: Option<i64>,
    role: String,
    content: String,
    status: String,
    attempt: i32,
    attempt_offsets: Vec<i64>,
    model: Option<String>,
    provider: Option<String>,
    finish_reason: Option<String>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    usage_estimated: Option<bool>,
    reasoning_tokens: Option<i64>,
    latency_ms: Option<i64>,
    ttft_ms: Option<i64>,
    error_code: Option<String>,
    notice: Option<serde_json::Value>,
    files_used: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
}

impl TryFrom<MessageRow> for StoredMessage {
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
            attachments: Vec::new(),
            status: MessageStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("message status"))?,
            attempt: Fence(row.attempt.unsigned_abs()),
            attempt_offsets: AttemptOffsets(row.attempt_offsets.into_iter().map(i64::unsigned_abs).collect()),
            model: row.model,
            provider: row.provider,
            finish_reason,
            usage,
            reasoning_tokens: row.reasoning_tokens,
            latency_ms: row.latency_ms,
            ttft_ms: row.ttft_ms,
            error_code: row.error_code,
            notice: row.notice.map(read_notice),
            files_used: row.files_used.and_then(prompt_files::read_used),
            created_at: row.created_at,
        })
    }
}

fn read_notice(stored: serde_json::Value) -> StoredNotice {
    serde_json::from_value(stored).map_or(StoredNotice::Unreadable, StoredNotice::Readable)
}

pub(crate) fn role(word: &str) -> Result<Role, StoreError> {
    Role::from_word(word).ok_or(StoreError::UnknownWord("role"))
}
