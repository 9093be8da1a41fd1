//! The log of pushes, as operators read it: why a phone rang, or stayed silent.

use chrono::{DateTime, Utc};
use cura_domain::message::MessageStatus;
use cura_domain::push_log::{LoggedPush, LoggedSend, PushDecision, PushKind, SendOutcome};
use cura_domain::{DeviceId, MessageId};
use sqlx::PgConnection;

use crate::StoreError;

/// The migration since which an answer's end enqueues its push.
const LOG_BEGAN_WITH: i64 = 44;

/// What was decided for a message, if anything was.
pub async fn find_logged(conn: &mut PgConnection, message: MessageId) -> Result<Option<LoggedPush>, StoreError> {
    let row = sqlx::query!(
        "SELECT id, kind, decision, decided_at, quiet_until, dismissed_at FROM pushes
         WHERE message_id = $1 AND kind IN ('answer', 'answer_failed') ORDER BY id DESC LIMIT 1",
        message.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(LoggedPush {
            push_id: row.id,
            kind: kind(&row.kind)?,
            decision: PushDecision::from_word(&row.decision).ok_or(StoreError::UnknownWord("decision of a push"))?,
            decided_at: row.decided_at,
            quiet_until: row.quiet_until,
            dismissed_at: row.dismissed_at,
        })
    })
    .transpose()
}

/// The sends of a push, by device.
pub async fn list_logged_sends(conn: &mut PgConnection, push: i64) -> Result<Vec<LoggedSend>, StoreError> {
    let rows = sqlx::query_as!(
        SendRow,
        "SELECT s.push_id, p.kind, p.message_id, s.device_id, s.outcome, s.code, s.attempts, s.claimed_at, s.ended_at
         FROM push_sends s JOIN pushes p ON p.id = s.push_id WHERE s.push_id = $1 ORDER BY s.device_id",
        push,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(LoggedSend::try_from).collect()
}

/// The last `limit` sends to a device, newest first.
pub async fn list_logged_sends_to(
    conn: &mut PgConnection,
    device: DeviceId,
    limit: i64,
) -> Result<Vec<LoggedSend>, StoreError> {
    let rows = sqlx::query_as!(
        SendRow,
        "SELECT s.push_id, p.kind, p.message_id, s.device_id, s.outcome, s.code, s.attempts, s.claimed_at, s.ended_at
         FROM push_sends s JOIN pushes p ON p.id = s.push_id
         WHERE s.device_id = $1 ORDER BY s.claimed_at DESC, s.push_id DESC LIMIT $2",
        device.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(LoggedSend::try_from).collect()
}

/// What explains why nothing was decided for a message.
#[derive(Debug, Clone)]
pub struct EndedMessage {
    /// Whether it is an answer: nothing else is pushed.
    pub is_answer: bool,
    /// Where it stands.
    pub status: MessageStatus,
    /// Whether its person stopped it.
    pub is_cancelled: bool,
    /// Whether its conversation or its person is deleted.
    pub is_deleted: bool,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// Whether a device that is known today was pushed to when it ended.
    pub had_device: bool,
}

/// A message of anybody, without its words.
pub async fn find_ended(conn: &mut PgConnection, message: MessageId) -> Result<Option<EndedMessage>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT m.role = 'assistant' AS "is_answer!", m.status,
                  COALESCE(m.finish_reason = 'cancelled', false) AS "is_cancelled!",
                  c.deleted_at IS NOT NULL OR u.erased_at IS NOT NULL AS "is_deleted!", m.updated_at,
                  EXISTS (SELECT FROM devices d
                          WHERE d.user_id = m.user_id AND d.created_at <= m.updated_at
                            AND (d.is_active OR d.inactive_since > m.updated_at)
                            AND (d.removed_at IS NULL OR d.removed_at > m.updated_at)) AS "had_device!"
           FROM messages m JOIN conversations c ON c.id = m.conversation_id JOIN users u ON u.id = m.user_id
           WHERE m.id = $1"#,
        message.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(EndedMessage {
            is_answer: row.is_answer,
            status: MessageStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("message status"))?,
            is_cancelled: row.is_cancelled,
            is_deleted: row.is_deleted,
            ended_at: row.updated_at,
            had_device: row.had_device,
        })
    })
    .transpose()
}

/// Since when ends of answers are pushed, and logged.
pub async fn log_began_at(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT installed_on FROM _sqlx_migrations WHERE version = $1",
        LOG_BEGAN_WITH
    )
    .fetch_optional(conn)
    .await?)
}

struct SendRow {
    push_id: i64,
    kind: String,
    message_id: Option<i64>,
    device_id: i64,
    outcome: Option<String>,
    code: Option<String>,
    attempts: i16,
    claimed_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl TryFrom<SendRow> for LoggedSend {
    type Error = StoreError;

    fn try_from(row: SendRow) -> Result<Self, StoreError> {
        let outcome = row
            .outcome
            .map(|word| SendOutcome::from_word(&word).ok_or(StoreError::UnknownWord("outcome of a send")));
        Ok(Self {
            push_id: row.push_id,
            kind: kind(&row.kind)?,
            message_id: row.message_id.map(MessageId),
            device_id: DeviceId(row.device_id),
            outcome: outcome.transpose()?,
            code: row.code,
            attempts: row.attempts,
            claimed_at: row.claimed_at,
            ended_at: row.ended_at,
        })
    }
}

fn kind(word: &str) -> Result<PushKind, StoreError> {
    PushKind::from_word(word).ok_or(StoreError::UnknownWord("kind of a push"))
}
