//! The history of a message: the messages before it on its own branch. Regenerated and edited siblings are other branches.

use chrono::{DateTime, Utc};
use cura_domain::file::{AttachedFile, FileStatus};
use cura_domain::file_type::FileType;
use cura_domain::message::Role;
use cura_domain::prompt::{HistoryMessage, PromptMessage};
use cura_domain::{ConversationId, MessageId, UserId, attachment_note};
use serde::Deserialize;
use sqlx::PgConnection;

use crate::owners::ConversationOwner;
use crate::{StoreError, messages};

/// The most messages of a history.
pub(crate) const MAX_MESSAGES: i32 = 500;

/// The messages up to a message.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Messages newest first, back to those that `summary` covers, without failed ones and empty answers; a message's files are named after its text.
    pub newest_first: Vec<HistoryMessage>,
    /// A summary of the messages before.
    pub summary: Option<String>,
}

/// The history of `message`, including it, of about `bytes` UTF-8 bytes, within its conversation.
pub async fn load(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
    message: MessageId,
    bytes: i64,
) -> Result<History, StoreError> {
    let rows = sqlx::query!(
        r#"WITH RECURSIVE past AS (
               SELECT m.id, m.parent_id, m.role, m.content, m.status, 1 AS depth,
                      octet_length(m.content)::bigint AS bytes, NULL::text AS summary
               FROM messages m WHERE m.id = $1 AND m.conversation_id = $2
               UNION ALL
               SELECT m.id, m.parent_id, m.role, m.content, m.status, p.depth + 1,
                      p.bytes + octet_length(m.content), s.content
               FROM past p JOIN messages m ON m.id = p.parent_id AND m.conversation_id = $2
                    LEFT JOIN summaries s ON s.message_id = m.id
               WHERE p.summary IS NULL AND p.depth < $3 AND p.bytes < $4
           )
           SELECT id AS "id!", role AS "role!", content AS "content!", summary,
                  (SELECT jsonb_agg(jsonb_build_object('name', f.filename, 'type', f.file_type, 'status', f.status) ORDER BY a.position)
                   FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = past.id AND f.user_id = $5) AS files
           FROM past
           WHERE summary IS NOT NULL OR (status = 'sent' AND (content <> '' OR role = 'user')) ORDER BY depth"#,
        message.0,
        owner.conversation().0,
        MAX_MESSAGES,
        bytes,
        owner.user().0,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Said {
        id: row.id,
        role: row.role,
        content: row.content,
        summary: row.summary,
        files: row.files,
    });
    collect(rows)
}

/// A row of a history: a message, or the summary of it and all before.
pub(crate) struct Said {
    pub(crate) id: i64,
    pub(crate) role: String,
    pub(crate) content: String,
    pub(crate) summary: Option<String>,
    /// Its files: a list of [`ToldFile`].
    pub(crate) files: Option<serde_json::Value>,
}

/// A file of a message, as the statements of a history give it.
#[derive(Deserialize)]
struct ToldFile {
    name: String,
    #[serde(rename = "type")]
    file_type: String,
    status: String,
}

impl TryFrom<ToldFile> for AttachedFile {
    type Error = StoreError;

    fn try_from(file: ToldFile) -> Result<Self, StoreError> {
        Ok(Self {
            file_type: FileType::from_word(&file.file_type).ok_or(StoreError::UnknownWord("type of a file"))?,
            status: FileStatus::from_word(&file.status).ok_or(StoreError::UnknownWord("status of a file"))?,
            name: file.name,
        })
    }
}

/// Makes a history of rows, newest first.
pub(crate) fn collect(rows: impl Iterator<Item = Said>) -> Result<History, StoreError> {
    let mut history = History::default();
    for said in rows {
        if said.summary.is_some() {
            history.summary = said.summary;
            break;
        }
        let role = messages::role(&said.role)?;
        let content = if role == Role::User {
            with_notes(said.content, said.files)?
        } else {
            said.content
        };
        history.newest_first.push(HistoryMessage {
            id: MessageId(said.id),
            message: PromptMessage { role, content },
        });
    }
    Ok(history)
}

/// What the model reads of a message of a user: its text, and a line for each of its files. Never blank.
fn with_notes(mut text: String, files: Option<serde_json::Value>) -> Result<String, StoreError> {
    let files: Vec<ToldFile> = match files {
        Some(files) => serde_json::from_value(files).map_err(|_| StoreError::UnknownWord("files of a message"))?,
        None => Vec::new(),
    };
    let files: Vec<AttachedFile> = files.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?;
    attachment_note::add_notes(&mut text, &files);
    Ok(text)
}

/// Where a past ends that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastOf {
    /// A new message after the last one.
    TheLast,
    /// A new message beside this one.
    Beside(MessageId),
    /// This message, which is part of it.
    Message(MessageId),
}

/// The UTF-8 bytes of the past that a prompt will hold, as [`load`] would read it, measured up to about `most`. An unfinished
/// answer counts `unfinished` bytes, which it may have by then. A failed one counts nothing, and nothing of another user's does.
pub async fn measure(
    conn: &mut PgConnection,
    owner: UserId,
    conversation: ConversationId,
    past: PastOf,
    unfinished: i64,
    most: i64,
) -> Result<i64, StoreError> {
    let (beside, message) = match past {
        PastOf::TheLast => (None, None),
        PastOf::Beside(message) => (Some(message.0), None),
        PastOf::Message(message) => (None, Some(message.0)),
    };
    let bytes = sqlx::query_scalar!(
        r#"WITH RECURSIVE measured AS (
               SELECT m.id, m.parent_id, 1 AS depth, s.message_id IS NOT NULL AS summarized,
                      COALESCE(octet_length(s.content),
                               CASE m.status WHEN 'sent' THEN octet_length(m.content) + notes.bytes
                                             WHEN 'sending' THEN $4::bigint ELSE 0 END
                      )::bigint AS bytes
               FROM messages m LEFT JOIN summaries s ON s.message_id = m.id
                    CROSS JOIN LATERAL (SELECT COALESCE(sum(octet_length(f.filename) + $8), 0)::bigint AS bytes
                                        FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = m.id) notes
               WHERE m.conversation_id = $1 AND m.user_id = $7
                 AND m.id = COALESCE($3, CASE WHEN $2::bigint IS NULL
                                              THEN (SELECT max(id + 0) FROM messages
                                                    WHERE conversation_id = $1 AND user_id = $7)
                                              ELSE (SELECT parent_id FROM messages WHERE id = $2 AND user_id = $7) END)
               UNION ALL
               SELECT m.id, m.parent_id, p.depth + 1, s.message_id IS NOT NULL,
                      p.bytes + COALESCE(octet_length(s.content),
                                         CASE m.status WHEN 'sent' THEN octet_length(m.content) + notes.bytes
                                                       WHEN 'sending' THEN $4::bigint ELSE 0 END)
               FROM measured p JOIN messages m ON m.id = p.parent_id AND m.conversation_id = $1
                    LEFT JOIN summaries s ON s.message_id = m.id
                    CROSS JOIN LATERAL (SELECT COALESCE(sum(octet_length(f.filename) + $8), 0)::bigint AS bytes
                                        FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = m.id) notes
               WHERE NOT p.summarized AND p.depth < $6 AND p.bytes < $5
           )
           SELECT COALESCE(max(bytes), 0) AS "bytes!" FROM measured"#,
        conversation.0,
        beside,
        message,
        unfinished,
        most,
        MAX_MESSAGES,
        owner.0,
        attachment_note::BYTES_BESIDE_THE_NAME,
    )
    .fetch_one(conn)
    .await?;
    Ok(bytes)
}

/// The first message of a conversation, with the names of its files, and the answer to it, if both exist.
pub async fn find_first_exchange(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
) -> Result<Option<(String, String)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT q.content AS question, a.content AS answer,
                  (SELECT jsonb_agg(jsonb_build_object('name', f.filename, 'type', f.file_type, 'status', f.status) ORDER BY a.position)
                   FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = q.id AND f.user_id = $3) AS files
           FROM messages q JOIN messages a ON a.parent_id = q.id AND a.status = 'sent' AND a.content <> ''
           WHERE q.conversation_id = $1 AND q.role = $2 ORDER BY q.id + 0, a.id LIMIT 1"#,
        owner.conversation().0,
        Role::User.as_str(),
        owner.user().0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((with_notes(row.question, row.files)?, row.answer)))
        .transpose()
}

/// Whether the messages up to and including `message` have a summary.
pub async fn has_summary(conn: &mut PgConnection, message: MessageId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM summaries WHERE message_id = $1) AS "found!""#,
        message.0,
    )
    .fetch_one(conn)
    .await?)
}

/// Stores a summary of the messages up to and including `message`, unless there is one.
pub async fn insert_summary(
    conn: &mut PgConnection,
    user: UserId,
    message: MessageId,
    content: &str,
    model: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO summaries (message_id, user_id, content, model, created_at)
           SELECT id, $2, $3, $4, $5 FROM messages WHERE id = $1 ON CONFLICT DO NOTHING"#,
        message.0,
        user.0,
        content,
        model,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
