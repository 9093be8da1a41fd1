//! Files of anybody, as operators see them, newest first. None of these queries returns a name, or what is in a file.

use chrono::{DateTime, Utc};
use cura_domain::file::{
    FileDetails, FileReason, FileStatus, Finding, KnownFile, KnownPicture, KnownReason, KnownText, PictureVariant,
};
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use cura_domain::{FileId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// How many messages are named that a file is attached to.
const SHOWN_MESSAGES: i64 = 100;

/// Which files are listed.
#[derive(Debug, Clone, Copy)]
pub struct KnownFiles {
    /// Of this status; `None` is any.
    pub status: Option<FileStatus>,
    /// Only those that are older than this one.
    pub before: Option<FileId>,
}

impl KnownFiles {
    fn before(&self) -> i64 {
        self.before.map_or(i64::MAX, |before| before.0)
    }
}

/// At most `limit` of these files of all users.
pub async fn list_known(conn: &mut PgConnection, which: &KnownFiles, limit: i64) -> Result<Vec<KnownFile>, StoreError> {
    // By `id + 0`, which only the index of statuses has in this order: the planner must not walk the primary key past files of others.
    let rows = match which.status {
        Some(status) => {
            sqlx::query_as!(
                KnownRow,
                "SELECT id, user_id, file_type, size, status, reason_code, reason_signature, findings, created_at, updated_at
                 FROM files WHERE status = $1 AND id + 0 < $2 ORDER BY id + 0 DESC LIMIT $3",
                status.as_str(),
                which.before(),
                limit,
            )
            .fetch_all(conn)
            .await?
        }
        None => {
            sqlx::query_as!(
                KnownRow,
                "SELECT id, user_id, file_type, size, status, reason_code, reason_signature, findings, created_at, updated_at
                 FROM files WHERE id < $1 ORDER BY id DESC LIMIT $2",
                which.before(),
                limit,
            )
            .fetch_all(conn)
            .await?
        }
    };
    rows.into_iter().map(KnownFile::try_from).collect()
}

/// At most `limit` of these files of `user`.
pub async fn list_known_of(
    conn: &mut PgConnection,
    user: UserId,
    which: &KnownFiles,
    limit: i64,
) -> Result<Vec<KnownFile>, StoreError> {
    // By an expression that no index has: the planner must not walk one past everybody else's files.
    let rows = sqlx::query_as!(
        KnownRow,
        "SELECT id, user_id, file_type, size, status, reason_code, reason_signature, findings, created_at, updated_at
         FROM files WHERE user_id = $1 AND ($2::text IS NULL OR status || '' = $2) AND id + 0 < $3
         ORDER BY id + 0 DESC LIMIT $4",
        user.0,
        which.status.map(FileStatus::as_str),
        which.before(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(KnownFile::try_from).collect()
}

/// A file of anybody, and where its bytes are.
pub async fn find_known(conn: &mut PgConnection, id: FileId) -> Result<Option<(FileDetails, ObjectKey)>, StoreError> {
    let row = sqlx::query!(
        "SELECT id, user_id, file_type, size, status, reason_code, reason_signature, findings, created_at, updated_at,
                encode(sha256, 'hex') AS \"sha256!\", object_key, postponed_since
         FROM files WHERE id = $1",
        id.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let key = row
        .object_key
        .parse()
        .map_err(|_| StoreError::UnknownWord("object key"))?;
    let known = KnownRow {
        id: row.id,
        user_id: row.user_id,
        file_type: row.file_type,
        size: row.size,
        status: row.status,
        reason_code: row.reason_code,
        reason_signature: row.reason_signature,
        findings: row.findings,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    let details = FileDetails {
        file: known.try_into()?,
        sha256: row.sha256,
        postponed_since: row.postponed_since,
        pictures: list_pictures(conn, id).await?,
        text: find_text(conn, id).await?,
        message_ids: list_messages(conn, id).await?,
    };
    Ok(Some((details, key)))
}

/// Whose a file is, and what is known of it.
pub async fn find_owner(conn: &mut PgConnection, id: FileId) -> Result<Option<(UserId, FileStatus)>, StoreError> {
    let row = sqlx::query!("SELECT user_id, status FROM files WHERE id = $1", id.0)
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((UserId(row.user_id), read_status(&row.status)?)))
        .transpose()
}

async fn list_pictures(conn: &mut PgConnection, id: FileId) -> Result<Vec<KnownPicture>, StoreError> {
    let rows = sqlx::query!(
        "SELECT variant, media_type, width, height, size, is_stored FROM file_pictures WHERE file_id = $1 ORDER BY variant",
        id.0,
    )
    .fetch_all(conn)
    .await?;
    let pictures = rows.into_iter().map(|row| {
        Ok(KnownPicture {
            variant: PictureVariant::from_word(&row.variant).ok_or(StoreError::UnknownWord("variant of a picture"))?,
            content_type: row.media_type,
            width: row.width,
            height: row.height,
            size: row.size,
            is_stored: row.is_stored,
        })
    });
    pictures.collect()
}

async fn find_text(conn: &mut PgConnection, id: FileId) -> Result<Option<KnownText>, StoreError> {
    let text = sqlx::query_as!(
        KnownText,
        r#"SELECT (1 + length(content) - length(replace(content, E'\f', '')))::bigint AS "pages!", page_count,
                  octet_length(content)::bigint AS "size!", is_cut
           FROM file_texts WHERE file_id = $1"#,
        id.0,
    );
    Ok(text.fetch_optional(conn).await?)
}

async fn list_messages(conn: &mut PgConnection, id: FileId) -> Result<Vec<MessageId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT message_id FROM message_files WHERE file_id = $1 ORDER BY message_id LIMIT $2",
        id.0,
        SHOWN_MESSAGES,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(MessageId).collect())
}

fn read_status(word: &str) -> Result<FileStatus, StoreError> {
    FileStatus::from_word(word).ok_or(StoreError::UnknownWord("status of a file"))
}

struct KnownRow {
    id: i64,
    user_id: i64,
    file_type: String,
    size: i64,
    status: String,
    reason_code: Option<String>,
    reason_signature: Option<String>,
    findings: Vec<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<KnownRow> for KnownFile {
    type Error = StoreError;

    fn try_from(row: KnownRow) -> Result<Self, StoreError> {
        let file_type = FileType::from_word(&row.file_type).ok_or(StoreError::UnknownWord("type of a file"))?;
        let reason = row.reason_code.map(|word| {
            let code = FileReason::from_word(&word).ok_or(StoreError::UnknownWord("reason of a file"))?;
            Ok::<_, StoreError>(KnownReason {
                code,
                signature: row.reason_signature,
            })
        });
        let finding = |word: &String| Finding::from_word(word).ok_or(StoreError::UnknownWord("finding in a file"));
        Ok(Self {
            id: FileId(row.id),
            user_id: UserId(row.user_id),
            content_type: file_type.media_type(),
            size: row.size,
            status: read_status(&row.status)?,
            reason: reason.transpose()?,
            findings: row.findings.iter().map(finding).collect::<Result<_, _>>()?,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
