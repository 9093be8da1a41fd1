//! The history of a message: the messages before it on its own branch. Regenerated and edited siblings are other branches.

use chrono::{DateTime, Utc};
use cura_domain::file::{AttachedFile, FileStatus};
use cura_domain::file_type::FileType;
use cura_domain::message::Role;
use cura_domain::prompt::{self, HistoryMessage, PromptFile, PromptMessage};
use cura_domain::text::is_blank;
use cura_domain::{ConversationId, FileId, MessageId, UserId};
use serde::Deserialize;
use sqlx::PgConnection;

use crate::owners::ConversationOwner;
use crate::{StoreError, messages};

/// What stands for a message of files alone that have been deleted since: a message is never blank.
const ALL_DELETED: &str = "[The person had attached files, which were deleted.]";
/// The most messages of a history.
pub(crate) const MAX_MESSAGES: i32 = 500;

/// The messages up to a message.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Messages newest first, back to those that `summary` covers, without failed ones and empty answers; of their files no more than what they
    /// are.
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
                  (SELECT jsonb_agg(jsonb_build_object('id', f.id, 'name', f.filename, 'type', f.file_type, 'status', f.status) ORDER BY a.position)
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
    id: i64,
    name: String,
    #[serde(rename = "type")]
    file_type: String,
    status: String,
}

impl TryFrom<ToldFile> for AttachedFile {
    type Error = StoreError;

    fn try_from(file: ToldFile) -> Result<Self, StoreError> {
        Ok(Self {
            id: FileId(file.id),
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
        let message = match messages::role(&said.role)? {
            Role::User => said_by_user(said.content, said.files)?,
            role => PromptMessage::plain(role, said.content),
        };
        history.newest_first.push(HistoryMessage {
            id: MessageId(said.id),
            message,
        });
    }
    Ok(history)
}

/// A message of a user. Never blank without files.
fn said_by_user(content: String, files: Option<serde_json::Value>) -> Result<PromptMessage, StoreError> {
    let files: Vec<ToldFile> = match files {
        Some(files) => serde_json::from_value(files).map_err(|_| StoreError::UnknownWord("files of a message"))?,
        None => Vec::new(),
    };
    let files = files
        .into_iter()
        .map(|file| AttachedFile::try_from(file).map(PromptFile::named));
    let files: Vec<PromptFile> = files.collect::<Result<_, _>>()?;
    let all_are_deleted = files.is_empty() && is_blank(&content);
    Ok(PromptMessage {
        role: Role::User,
        content: if all_are_deleted {
            ALL_DELETED.to_owned()
        } else {
            content
        },
        files,
    })
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

/// What a prompt will hold of a past.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeasuredPast {
    /// The UTF-8 bytes of its texts, those of documents and the lines of files included.
    pub bytes: i64,
    /// Its pictures.
    pub pictures: i64,
    /// The pages of its PDFs without text.
    pub pdf_pages: i64,
}

/// What a prompt will hold of the past, as [`load`] would read it, measured up to about `most` bytes. An unfinished answer counts
/// `unfinished` bytes, which it may have by then, a document `document` bytes at most. A failed answer counts nothing, and nothing of
/// another user's does.
pub async fn measure(
    conn: &mut PgConnection,
    owner: UserId,
    conversation: ConversationId,
    past: PastOf,
    (unfinished, document): (i64, i64),
    most: i64,
) -> Result<MeasuredPast, StoreError> {
    let (beside, message) = match past {
        PastOf::TheLast => (None, None),
        PastOf::Beside(message) => (Some(message.0), None),
        PastOf::Message(message) => (None, Some(message.0)),
    };
    let measured = sqlx::query!(
        r#"WITH RECURSIVE measured AS (
               SELECT m.id, m.parent_id, 1 AS depth, s.message_id IS NOT NULL AS summarized,
                      COALESCE(octet_length(s.content),
                               CASE m.status WHEN 'sent' THEN octet_length(m.content) + files.bytes
                                             WHEN 'sending' THEN $4::bigint ELSE 0 END
                      )::bigint AS bytes, files.pictures, files.pdf_pages
               FROM messages m LEFT JOIN summaries s ON s.message_id = m.id
                    CROSS JOIN LATERAL (
                        SELECT COALESCE(sum(octet_length(f.filename) + $8 + LEAST(f.text_size, $9)), 0)::bigint AS bytes,
                               count(*) FILTER (WHERE f.is_picture) AS pictures, COALESCE(sum(f.pdf_pages), 0)::bigint AS pdf_pages
                        FROM (SELECT f.filename, f.is_picture, CASE WHEN f.is_picture THEN 0 ELSE f.made_size END AS text_size,
                                     CASE WHEN f.file_type = 'pdf' AND f.status = 'clean' AND f.made_size = 0
                                          THEN (SELECT t.page_count FROM file_texts t WHERE t.file_id = f.id AND t.page_count <= $10)
                                          END AS pdf_pages
                              FROM (SELECT *, file_type IN ('jpeg', 'png', 'gif', 'webp') AS is_picture
                                    FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = m.id) f) f) files
               WHERE m.conversation_id = $1 AND m.user_id = $7
                 AND m.id = COALESCE($3, CASE WHEN $2::bigint IS NULL
                                              THEN (SELECT max(id + 0) FROM messages
                                                    WHERE conversation_id = $1 AND user_id = $7)
                                              ELSE (SELECT parent_id FROM messages WHERE id = $2 AND user_id = $7) END)
               UNION ALL
               SELECT m.id, m.parent_id, p.depth + 1, s.message_id IS NOT NULL,
                      p.bytes + COALESCE(octet_length(s.content),
                                         CASE m.status WHEN 'sent' THEN octet_length(m.content) + files.bytes
                                                       WHEN 'sending' THEN $4::bigint ELSE 0 END),
                      p.pictures + files.pictures, p.pdf_pages + files.pdf_pages
               FROM measured p JOIN messages m ON m.id = p.parent_id AND m.conversation_id = $1
                    LEFT JOIN summaries s ON s.message_id = m.id
                    CROSS JOIN LATERAL (
                        SELECT COALESCE(sum(octet_length(f.filename) + $8 + LEAST(f.text_size, $9)), 0)::bigint AS bytes,
                               count(*) FILTER (WHERE f.is_picture) AS pictures, COALESCE(sum(f.pdf_pages), 0)::bigint AS pdf_pages
                        FROM (SELECT f.filename, f.is_picture, CASE WHEN f.is_picture THEN 0 ELSE f.made_size END AS text_size,
                                     CASE WHEN f.file_type = 'pdf' AND f.status = 'clean' AND f.made_size = 0
                                          THEN (SELECT t.page_count FROM file_texts t WHERE t.file_id = f.id AND t.page_count <= $10)
                                          END AS pdf_pages
                              FROM (SELECT *, file_type IN ('jpeg', 'png', 'gif', 'webp') AS is_picture
                                    FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = m.id) f) f) files
               WHERE NOT p.summarized AND p.depth < $6 AND p.bytes < $5
           )
           SELECT COALESCE(max(bytes), 0) AS "bytes!", COALESCE(max(pictures), 0) AS "pictures!",
                  COALESCE(max(pdf_pages), 0) AS "pdf_pages!" FROM measured"#,
        conversation.0,
        beside,
        message,
        unfinished,
        most,
        MAX_MESSAGES,
        owner.0,
        prompt::LINE_BYTES_BESIDE_THE_NAME,
        document,
        i32::try_from(prompt::MAX_PDF_PAGES).unwrap_or(i32::MAX),
    )
    .fetch_one(conn)
    .await?;
    Ok(MeasuredPast {
        bytes: measured.bytes,
        pictures: measured.pictures,
        pdf_pages: measured.pdf_pages,
    })
}

/// The first message of a conversation, with the names of its files, and the answer to it, if both exist.
pub async fn find_first_exchange(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
) -> Result<Option<(String, String)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT q.content AS question, a.content AS answer,
                  (SELECT jsonb_agg(jsonb_build_object('id', f.id, 'name', f.filename, 'type', f.file_type, 'status', f.status) ORDER BY a.position)
                   FROM message_files a JOIN files f ON f.id = a.file_id WHERE a.message_id = q.id AND f.user_id = $3) AS files
           FROM messages q JOIN messages a ON a.parent_id = q.id AND a.status = 'sent' AND a.content <> ''
           WHERE q.conversation_id = $1 AND q.role = $2 ORDER BY q.id + 0, a.id LIMIT 1"#,
        owner.conversation().0,
        Role::User.as_str(),
        owner.user().0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let question = said_by_user(row.question, row.files)?;
        Ok((question.text_with_names().into_owned(), row.answer))
    })
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
