//! The log of pushes: what was decided for a message, and what came of each send. A send is claimed before it is made: a push is never
//! sent twice to a device, whoever dies and whenever.

mod dismissals;
mod logged;
mod sends;

use chrono::{DateTime, Utc};
use cura_domain::device::DeviceKind;
use cura_domain::notifications::Notifications;
use cura_domain::profile::TimeZone;
use cura_domain::push_decision::PushFacts;
use cura_domain::push_log::{PushDecision, PushKind};
use cura_domain::push_text::AnswerOutcome;
use cura_domain::{ConversationId, DeviceId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;
use crate::owners::ConversationOwner;

pub use dismissals::{are_being_sent, are_shown, list_showing, set_dismissed};
pub use logged::{EndedMessage, find_ended, find_logged, list_logged_sends, list_logged_sends_to, log_began_at};
pub use sends::{ClaimFor, ClaimedSend, EndedSend, claim, has_failed, list_sends, record};

/// How much of an answer is read for a push, in characters.
const MAX_READ_CHARS: i32 = 8 * 1024;

/// What there is to say of an answer, for its push.
#[derive(Debug, Clone)]
pub struct Pushable {
    /// Its person and conversation.
    pub owner: ConversationOwner,
    /// What decides whether it is pushed.
    pub facts: PushFacts,
    /// The person's language.
    pub language: String,
}

/// What is known of an answer that may be pushed to a device of one of `kinds`; `None` when there is no such message.
pub async fn find(
    conn: &mut PgConnection,
    message: MessageId,
    kinds: &[DeviceKind],
    now: DateTime<Utc>,
) -> Result<Option<Pushable>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT m.user_id, m.conversation_id, m.status, m.finish_reason, m.updated_at,
                  m.role = 'assistant' AND c.deleted_at IS NULL AND u.erased_at IS NULL AS "is_answer!", c.muted,
                  m.id <= COALESCE(c.last_read_message_id, 0)
                      OR EXISTS (SELECT FROM messages l
                                 WHERE l.conversation_id = m.conversation_id AND l.id + 0 > m.id AND l.role = 'user'
                                   AND l.created_at > m.updated_at)
                      OR EXISTS (SELECT FROM messages l
                                 WHERE l.parent_id = m.parent_id AND l.id > m.id AND l.created_at > m.updated_at) AS "is_read!",
                  EXISTS (SELECT FROM messages l
                          WHERE l.conversation_id = m.conversation_id AND l.id + 0 > m.id AND l.role = 'assistant'
                            AND l.status <> 'sending' AND l.finish_reason IS DISTINCT FROM 'cancelled') AS "has_newer!",
                  EXISTS (SELECT FROM pushes n
                          WHERE n.user_id = m.user_id AND n.conversation_id = m.conversation_id AND n.message_id > m.id
                            AND n.decision = 'pushed' AND n.kind IN ('answer', 'answer_failed')) AS "is_superseded!",
                  u.suspended_at IS NULL
                      AND EXISTS (SELECT FROM devices d JOIN sessions s ON s.id = d.session_id
                                  WHERE d.user_id = m.user_id AND d.is_active AND d.removed_at IS NULL AND d.kind = ANY($2)
                                    AND s.ended_at IS NULL AND s.expires_at > $3) AS "has_device!",
                  u.preferences, u.timezone, u.language, p.quiet_until AS "quiet_until?"
           FROM messages m
           JOIN conversations c ON c.id = m.conversation_id
           JOIN users u ON u.id = m.user_id
           LEFT JOIN pushes p ON p.message_id = m.id AND p.kind = CASE m.status WHEN 'error' THEN 'answer_failed' ELSE 'answer' END
           WHERE m.id = $1"#,
        message.0,
        &words(kinds),
        now,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let is_cancelled = row.finish_reason.as_deref() == Some("cancelled");
    let outcome = match row.status.as_str() {
        "sent" if !is_cancelled => Some(AnswerOutcome::Completed),
        "error" => Some(AnswerOutcome::Failed),
        _ => None,
    };
    Ok(Some(Pushable {
        owner: ConversationOwner::read(UserId(row.user_id), ConversationId(row.conversation_id)),
        facts: PushFacts {
            outcome: outcome.filter(|_| row.is_answer),
            ended_at: row.updated_at,
            quiet_until: row.quiet_until,
            is_muted: row.muted,
            is_read: row.is_read,
            has_newer: row.has_newer,
            is_superseded: row.is_superseded,
            has_device: row.has_device,
            notifications: Notifications::of(&row.preferences),
            // A zone that has left the database since it was chosen.
            zone: TimeZone::new(&row.timezone).unwrap_or_default(),
        },
        language: row.language,
    }))
}

/// The title of a conversation and the beginning of an answer, for a person who lets pushes show them; `None` when they are deleted.
pub async fn find_text(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
    message: MessageId,
) -> Result<Option<(Option<String>, String)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT c.title, left(m.content, $3) AS "beginning!" FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.id = $1 AND c.id = $2 AND c.deleted_at IS NULL"#,
        message.0,
        owner.conversation().0,
        MAX_READ_CHARS,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.title, row.beginning)))
}

/// What is written into the log for a message.
#[derive(Debug, Clone, Copy)]
pub struct Decided {
    /// Its person and conversation.
    pub owner: ConversationOwner,
    /// The message.
    pub message: MessageId,
    /// What the push is about.
    pub kind: PushKind,
    /// What was decided.
    pub decision: PushDecision,
    /// Until when it waits.
    pub quiet_until: Option<DateTime<Utc>>,
}

/// A push in the log.
#[derive(Debug, Clone, Copy)]
pub struct Logged {
    /// Its number.
    pub id: i64,
    /// When something was decided first.
    pub created_at: DateTime<Utc>,
}

/// Records what was decided for a message; what was sent to a device stays pushed.
pub async fn decide(conn: &mut PgConnection, decided: &Decided, now: DateTime<Utc>) -> Result<Logged, StoreError> {
    Ok(sqlx::query_as!(
        Logged,
        r#"INSERT INTO pushes AS p (user_id, conversation_id, message_id, kind, decision, quiet_until, decided_at, created_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
           ON CONFLICT (message_id, kind) DO UPDATE
           SET decision = CASE WHEN p.decision = 'pushed' AND EXISTS (SELECT FROM push_sends s WHERE s.push_id = p.id)
                               THEN p.decision ELSE EXCLUDED.decision END,
               decided_at = EXCLUDED.decided_at,
               quiet_until = COALESCE(EXCLUDED.quiet_until, p.quiet_until)
           RETURNING id, created_at"#,
        decided.owner.user().0,
        decided.owner.conversation().0,
        decided.message.0,
        decided.kind.as_str(),
        decided.decision.as_str(),
        decided.quiet_until,
        now,
    )
    .fetch_one(conn)
    .await?)
}

/// How many conversations of `user` have something unread that was pushed.
pub async fn badge(conn: &mut PgConnection, user: UserId) -> Result<u32, StoreError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(DISTINCT p.conversation_id) AS "count!" FROM pushes p JOIN conversations c ON c.id = p.conversation_id
           WHERE p.user_id = $1 AND p.decision = 'pushed' AND p.kind IN ('answer', 'answer_failed') AND p.dismissed_at IS NULL
             AND p.message_id > COALESCE(c.last_read_message_id, 0) AND c.deleted_at IS NULL
             AND NOT EXISTS (SELECT FROM messages l
                             WHERE l.conversation_id = c.id AND l.id + 0 > p.message_id AND l.role = 'user'
                               AND l.created_at > p.created_at)"#,
        user.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The devices of `user` that can be pushed to, the one seen last first.
pub async fn list_devices(
    conn: &mut PgConnection,
    user: UserId,
    kinds: &[DeviceKind],
    now: DateTime<Utc>,
) -> Result<Vec<(DeviceId, DeviceKind)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT d.id, d.kind FROM devices d JOIN sessions s ON s.id = d.session_id
         WHERE d.user_id = $1 AND d.is_active AND d.removed_at IS NULL AND d.kind = ANY($2)
           AND s.ended_at IS NULL AND s.expires_at > $3
         ORDER BY d.last_active DESC, d.id DESC",
        user.0,
        &words(kinds),
        now,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((DeviceId(row.id), kind_of(&row.kind)?)))
        .collect()
}

/// Adds a test to the log. Returns its id.
pub async fn add_test(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO pushes (user_id, kind, decision, decided_at, created_at) VALUES ($1, 'test', 'pushed', $2, $2) RETURNING id",
        user.0,
        now,
    )
    .fetch_one(conn)
    .await?)
}

/// Whose test it is; `None` when it is no test, or its person is being erased.
pub async fn find_test(conn: &mut PgConnection, push: i64) -> Result<Option<UserId>, StoreError> {
    let user = sqlx::query_scalar!(
        "SELECT p.user_id FROM pushes p JOIN users u ON u.id = p.user_id WHERE p.id = $1 AND p.kind = 'test' AND u.erased_at IS NULL",
        push,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user.map(UserId))
}

fn words(kinds: &[DeviceKind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
}

fn kind_of(word: &str) -> Result<DeviceKind, StoreError> {
    DeviceKind::from_word(word).ok_or(StoreError::UnknownWord("device kind"))
}
