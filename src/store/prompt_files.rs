//! What prompts give of files: pictures and texts that scans have made of them, and how much of each file an answer's model had.

use cura_domain::answer::Fence;
use cura_domain::file::{FileUse, UsedFile};
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use cura_domain::prompt::FileContent;
use cura_domain::{FileId, MessageId, UserId};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::StoreError;

/// What a clean file holds.
#[derive(Debug, Clone)]
pub struct StoredContent {
    /// The file.
    pub id: FileId,
    /// What it holds.
    pub content: FileContent,
    /// The UTF-8 bytes of all of its text.
    pub text_bytes: u64,
    /// What goes beside the text of a prompt: the picture that was made of it, or the PDF itself.
    pub object: Option<StoredObject>,
}

/// An object that may go beside the text of a prompt.
#[derive(Debug, Clone)]
pub struct StoredObject {
    /// Where it is.
    pub key: ObjectKey,
    /// Its media type.
    pub media_type: String,
    /// In bytes.
    pub bytes: u64,
}

/// What those of these files hold that are clean and belong to `user`, with at most so many characters of each text.
pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[FileId],
    text_chars: i32,
) -> Result<Vec<StoredContent>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT f.id, f.file_type, f.object_key, f.size, p.object_key AS "picture_key?", p.media_type AS "picture_type?",
                  p.width AS "width?", p.height AS "height?", p.size AS "picture_size?", t.page_count, t.is_cut AS "is_cut?",
                  left(t.content, $3) AS text, octet_length(t.content) AS text_bytes
           FROM files f LEFT JOIN file_pictures p ON p.file_id = f.id AND p.variant = 'model' AND p.is_stored
                LEFT JOIN file_texts t ON t.file_id = f.id
           WHERE f.id = ANY($1) AND f.user_id = $2 AND f.status = 'clean'"#,
        &ids,
        user.0,
        text_chars,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(StoredContent::try_from).collect()
}

/// Whether all of these files are clean and belong to `user`. Asks nothing for none.
pub async fn are_clean(conn: &mut PgConnection, user: UserId, ids: &[FileId]) -> Result<bool, StoreError> {
    if ids.is_empty() {
        return Ok(true);
    }
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let clean = sqlx::query_scalar!(
        r#"SELECT count(*) AS "clean!" FROM files WHERE id = ANY($1) AND user_id = $2 AND status = 'clean'"#,
        &ids,
        user.0,
    );
    Ok(usize::try_from(clean.fetch_one(conn).await?) == Ok(ids.len()))
}

struct Row {
    id: i64,
    file_type: String,
    object_key: String,
    size: i64,
    picture_key: Option<String>,
    picture_type: Option<String>,
    width: Option<i32>,
    height: Option<i32>,
    picture_size: Option<i64>,
    page_count: Option<i32>,
    is_cut: Option<bool>,
    text: Option<String>,
    text_bytes: Option<i32>,
}

impl TryFrom<Row> for StoredContent {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let file_type = FileType::from_word(&row.file_type).ok_or(StoreError::UnknownWord("type of a file"))?;
        let page_count = row.page_count.map(i32::unsigned_abs);
        let text_bytes = u64::from(row.text_bytes.unwrap_or_default().unsigned_abs());
        let text = row.text.unwrap_or_default();
        let (content, object) = match (row.picture_key, row.picture_type, page_count) {
            (Some(key), Some(media_type), _) => {
                let bytes = row.picture_size.unwrap_or_default().unsigned_abs();
                let content = FileContent::Picture {
                    width: row.width.unwrap_or_default().unsigned_abs(),
                    height: row.height.unwrap_or_default().unsigned_abs(),
                    bytes,
                };
                (content, Some((key, media_type, bytes)))
            }
            _ if text_bytes > 0 => {
                let content = FileContent::Text {
                    is_all: row.is_cut == Some(false) && text.len() as u64 == text_bytes,
                    text,
                    page_count,
                };
                (content, None)
            }
            (.., Some(pages)) if file_type == FileType::Pdf => {
                let bytes = row.size.unsigned_abs();
                let media_type = file_type.media_type().to_owned();
                (
                    FileContent::Pdf { pages, bytes },
                    Some((row.object_key, media_type, bytes)),
                )
            }
            _ => (FileContent::Nothing, None),
        };
        let object = object.map(|(key, media_type, bytes)| {
            let key = key.parse().map_err(|_| StoreError::UnknownWord("object key"))?;
            Ok::<_, StoreError>(StoredObject { key, media_type, bytes })
        });
        Ok(Self {
            id: FileId(row.id),
            content,
            text_bytes,
            object: object.transpose()?,
        })
    }
}

/// As a row of `messages` has it.
#[derive(Serialize, Deserialize)]
struct StoredUse {
    id: i64,
    used: FileUse,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_count: Option<u32>,
}

/// Notes how much of each file the model of an attempt was given, in a prompt of so many tokens, or that there was none. Changes nothing if
/// the fence is old.
pub async fn record_used(
    conn: &mut PgConnection,
    answer: MessageId,
    fence: Fence,
    files: &[UsedFile],
    prompt_tokens: usize,
) -> Result<(), StoreError> {
    let files = files.iter().map(|file| StoredUse {
        id: file.id.0,
        used: file.used,
        pages: file.pages,
        page_count: file.page_count,
    });
    let files: Vec<StoredUse> = files.collect();
    let has_some = !files.is_empty();
    let files = serde_json::to_value(files).map_err(|_| StoreError::UnknownWord("files of an answer"))?;
    sqlx::query!(
        "UPDATE messages SET files_used = $3, prompt_tokens = $4
         WHERE id = $1 AND attempt = $2 AND status = 'sending' AND ($3::jsonb IS NOT NULL OR files_used IS NOT NULL)",
        answer.0,
        i32::from(fence),
        has_some.then_some(files),
        has_some.then_some(i64::try_from(prompt_tokens).unwrap_or(i64::MAX)),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads what [`record_used`] has noted. `None` for what only a newer version knows.
pub(crate) fn read_used(files: serde_json::Value) -> Option<Vec<UsedFile>> {
    let files: Vec<StoredUse> = serde_json::from_value(files).ok()?;
    let used = files.into_iter().map(|file| UsedFile {
        id: FileId(file.id),
        used: file.used,
        pages: file.pages,
        page_count: file.page_count,
    });
    Some(used.collect())
}
