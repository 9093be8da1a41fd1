//! The log of pushes: what was decided for a message, and what came of each send. A send is claimed before it is made: a push is never
//! sent twice to a device, whoever dies and whenever.

mod logged;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::device::{DeviceAddress, DeviceKind, Subscription};
use cura_domain::notifications::Notifications;
use cura_domain::profile::TimeZone;
use cura_domain::push_decision::PushFacts;
use cura_domain::push_endpoint::PushHosts;
use cura_domain::push_log::{PushDecision, PushKind, SendOutcome, TestedDevice};
use cura_domain::push_text::AnswerOutcome;
use cura_domain::{ConversationId, DeviceId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;
use crate::devices::AddressHash;
use crate::owners::ConversationOwner;

pub use logged::{EndedMessage, find_ended, find_logged, list_logged_sends, list_logged_sends_to, log_began_at};

/// How much of an answer is read for a push, in characters.
const MAX_READ_CHARS: i32 = 8 * 1024;
/// How many silent pushes a device of Apple gets in an hour: it ignores further ones.
const MAX_DISMISSALS_PER_HOUR: i64 = 3;
/// When a fifth of so many sends, the last ones within this time, would cost a device, our credentials are wrong, not the devices.
const SUSPECT_WINDOW: TimeDelta = TimeDelta::minutes(10);
const SUSPECT_AFTER: i64 = 50;
const SUSPECT_SHARE: i64 = 5;
/// Only if they were for so many people: what one person registers decides nothing for others.
const SUSPECT_PEOPLE: i64 = 3;
/// The lock of those who record that a device is lost, until their transaction ends.
const LOSSES_LOCK: i64 = 0x6375_7261_6c6f_7373;
/// The most sends that are looked at for it.
const MAX_SENDS_LOOKED_AT: i64 = 2_000;
/// What the code of a send begins with that would have cost a device.
const SUSPECT: &str = "suspect.";

/// What there is to say of an answer, for its push.
#[derive(Debug, Clone)]
pub struct Pushable {
    /// Its person and conversation.
    pub owner: ConversationOwner,
    /// What decides whether it is pushed.
    pub facts: PushFacts,
    /// Whether it was decided before that it is pushed.
    pub is_pushed: bool,
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
                            AND l.status <> 'sending') AS "is_superseded!",
                  u.suspended_at IS NULL
                      AND EXISTS (SELECT FROM devices d JOIN sessions s ON s.id = d.session_id
                                  WHERE d.user_id = m.user_id AND d.is_active AND d.removed_at IS NULL AND d.kind = ANY($2)
                                    AND s.ended_at IS NULL AND s.expires_at > $3) AS "has_device!",
                  u.preferences, u.timezone, u.language, p.decision AS "decision?", p.quiet_until AS "quiet_until?"
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
            is_superseded: row.is_superseded,
            has_device: row.has_device,
            notifications: Notifications::of(&row.preferences),
            // A zone that has left the database since it was chosen.
            zone: TimeZone::new(&row.timezone).unwrap_or_default(),
        },
        is_pushed: row.decision.as_deref() == Some(PushDecision::Pushed.as_str()),
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

/// Records what was decided for a message; what was sent to a device stays pushed. Returns the id of the push.
pub async fn decide(conn: &mut PgConnection, decided: &Decided, now: DateTime<Utc>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO pushes AS p (user_id, conversation_id, message_id, kind, decision, quiet_until, decided_at, created_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
           ON CONFLICT (message_id, kind) DO UPDATE
           SET decision = CASE WHEN p.decision = 'pushed' AND EXISTS (SELECT FROM push_sends s WHERE s.push_id = p.id)
                               THEN p.decision ELSE EXCLUDED.decision END,
               decided_at = EXCLUDED.decided_at,
               quiet_until = COALESCE(EXCLUDED.quiet_until, p.quiet_until)
           RETURNING id"#,
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

/// A send that is claimed.
#[derive(Debug, Clone)]
pub struct ClaimedSend {
    /// The device.
    pub device: DeviceId,
    /// Where it goes; `None` if it may not go there any more.
    pub address: Option<DeviceAddress>,
    /// Of the address, by which it is known later whether the device still has it.
    pub hash: AddressHash,
    /// Our public key that a browser subscribed for.
    pub vapid_key: Option<Vec<u8>>,
}

/// Claims the sends of a push to some devices of `user`: those that are still there, that have a session and whose person is not
/// suspended, and to which it was not sent before, unless that may be repeated. Nothing may be sent that is not claimed. For a push
/// about a conversation, nothing is claimed once that is deleted.
pub async fn claim(
    conn: &mut PgConnection,
    (push, user, conversation): (i64, UserId, Option<ConversationId>),
    devices: &[DeviceId],
    hosts: &PushHosts,
    now: DateTime<Utc>,
) -> Result<Vec<ClaimedSend>, StoreError> {
    let devices: Vec<i64> = devices.iter().map(|device| device.0).collect();
    let rows = sqlx::query!(
        r#"WITH claimed AS (
               INSERT INTO push_sends AS p (push_id, device_id, claimed_at)
               SELECT $1, d.id, $4
               FROM devices d JOIN sessions s ON s.id = d.session_id JOIN users u ON u.id = d.user_id
               WHERE d.id = ANY($2) AND d.user_id = $3 AND d.is_active AND d.removed_at IS NULL
                 AND s.ended_at IS NULL AND s.expires_at > $4 AND u.suspended_at IS NULL AND u.erased_at IS NULL
                 AND ($5::bigint IS NULL OR EXISTS (SELECT FROM conversations c WHERE c.id = $5 AND c.deleted_at IS NULL))
               ON CONFLICT (push_id, device_id) DO UPDATE
               SET attempts = p.attempts + 1, outcome = NULL, code = NULL, claimed_at = EXCLUDED.claimed_at, ended_at = NULL
               WHERE p.outcome = 'retry'
               RETURNING device_id
           )
           SELECT d.id, d.kind, d.address, d.address_hash, d.p256dh, d.auth, d.vapid_key
           FROM claimed JOIN devices d ON d.id = claimed.device_id"#,
        push,
        &devices,
        user.0,
        now,
        conversation.map(|conversation| conversation.0),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let keys = row.p256dh.zip(row.auth);
            Ok(ClaimedSend {
                device: DeviceId(row.id),
                address: match kind_of(&row.kind)? {
                    DeviceKind::Fcm => DeviceAddress::fcm(row.address).ok(),
                    DeviceKind::Fid => DeviceAddress::fid(row.address).ok(),
                    DeviceKind::WebPush => hosts
                        .endpoint(&row.address)
                        .ok()
                        .zip(keys)
                        .and_then(|(endpoint, keys)| {
                            Subscription::new(endpoint, keys.0, keys.1)
                                .ok()
                                .map(DeviceAddress::WebPush)
                        }),
                },
                hash: row
                    .address_hash
                    .try_into()
                    .map_err(|_| StoreError::UnknownWord("address hash"))?,
                vapid_key: row.vapid_key,
            })
        })
        .collect()
}

/// What came of a send.
#[derive(Debug, Clone)]
pub struct EndedSend {
    /// The device.
    pub device: DeviceId,
    /// Of the address that it was sent to.
    pub hash: AddressHash,
    /// What came of it.
    pub outcome: SendOutcome,
    /// What the push service said, in one word.
    pub code: String,
}

/// Records what came of sends, and takes away devices that their service calls gone, for ten minutes in a way that can be taken back.
/// When too many would go, none goes, and those that went within that time come back; then `true`.
pub async fn record(
    conn: &mut PgConnection,
    (push, user): (i64, UserId),
    ended: &[EndedSend],
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let costs_device = |send: &EndedSend| matches!(send.outcome, SendOutcome::Gone | SendOutcome::Inactive);
    let lost = ended.iter().filter(|send| costs_device(send)).count();
    let is_suspect = lost > 0 && are_suspect(conn, user, ended.len(), lost, now).await?;
    let (mut devices, mut outcomes, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for send in ended {
        let is_kept = is_suspect && costs_device(send);
        devices.push(send.device.0);
        outcomes.push(
            if is_kept { SendOutcome::Kept } else { send.outcome }
                .as_str()
                .to_owned(),
        );
        codes.push(if is_kept {
            format!("{SUSPECT}{}", send.code)
        } else {
            send.code.clone()
        });
    }
    sqlx::query!(
        "UPDATE push_sends p SET outcome = o.outcome, code = o.code, ended_at = $5
         FROM unnest($2::bigint[], $3::text[], $4::text[]) AS o (device_id, outcome, code)
         WHERE p.push_id = $1 AND p.device_id = o.device_id",
        push,
        &devices,
        &outcomes,
        &codes,
        now,
    )
    .execute(&mut *conn)
    .await?;
    if is_suspect {
        take_back(conn, now).await?;
    } else if lost > 0 {
        let (gone, others): (Vec<_>, Vec<_>) = ended
            .iter()
            .filter(|send| costs_device(send))
            .partition(|send| send.outcome == SendOutcome::Gone);
        let hashes = |sends: Vec<&EndedSend>| sends.iter().map(|send| send.hash.to_vec()).collect::<Vec<_>>();
        // By the address: a device that has another one meanwhile is not meant.
        sqlx::query!(
            "UPDATE devices SET removed_at = $2 WHERE address_hash = ANY($1) AND removed_at IS NULL",
            &hashes(gone),
            now,
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!(
            "UPDATE devices SET is_active = false, inactive_since = $2, inactive_reason = 'other_sender'
             WHERE address_hash = ANY($1) AND is_active",
            &hashes(others),
            now,
        )
        .execute(conn)
        .await?;
    }
    Ok(is_suspect)
}

/// Whether, with `lost` of `more` sends to `user`, more than a fifth of the last ones would have cost a device.
async fn are_suspect(
    conn: &mut PgConnection,
    user: UserId,
    more: usize,
    lost: usize,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    // One at a time: those who record at the same moment would not see each other.
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOSSES_LOCK)
        .execute(&mut *conn)
        .await?;
    let row = sqlx::query!(
        r#"SELECT count(*) AS "ended!",
                  count(*) FILTER (WHERE outcome IN ('gone', 'inactive') OR code LIKE 'suspect.%') AS "lost!",
                  count(DISTINCT (SELECT NULLIF(user_id, $3) FROM pushes WHERE id = push_id))
                      FILTER (WHERE outcome IN ('gone', 'inactive') OR code LIKE 'suspect.%') AS "others!"
           FROM (SELECT push_id, outcome, code FROM push_sends
                 WHERE claimed_at > $1 AND outcome IS NOT NULL ORDER BY claimed_at DESC LIMIT $2) last"#,
        now - SUSPECT_WINDOW,
        MAX_SENDS_LOOKED_AT,
        user.0,
    )
    .fetch_one(conn)
    .await?;
    let ended = row.ended + i64::try_from(more).unwrap_or(i64::MAX);
    let lost = row.lost + i64::try_from(lost).unwrap_or(i64::MAX);
    Ok(ended >= SUSPECT_AFTER && lost * SUSPECT_SHARE > ended && row.others + 1 >= SUSPECT_PEOPLE)
}

/// Takes back what the last sends have cost.
async fn take_back(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE devices SET removed_at = NULL WHERE removed_at > $1",
        now - SUSPECT_WINDOW
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE devices SET is_active = true, inactive_since = NULL, inactive_reason = NULL
         WHERE NOT is_active AND inactive_reason = 'other_sender' AND inactive_since > $1",
        now - SUSPECT_WINDOW,
    )
    .execute(conn)
    .await?;
    Ok(())
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

/// What came of the sends of a push, by device. One of which nobody lived to say it may have been sent.
pub async fn list_sends(conn: &mut PgConnection, push: i64) -> Result<Vec<TestedDevice>, StoreError> {
    let rows = sqlx::query!(
        "SELECT device_id, outcome, code FROM push_sends WHERE push_id = $1 ORDER BY device_id",
        push
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .filter_map(|row| {
            let outcome = SendOutcome::from_word(&row.outcome?).ok_or(StoreError::UnknownWord("outcome of a send"));
            Some(outcome.map(|outcome| TestedDevice {
                device_id: DeviceId(row.device_id),
                outcome,
                code: row.code,
            }))
        })
        .collect()
}

/// Whether a send of this push has failed because of what we wanted to send.
pub async fn has_failed(conn: &mut PgConnection, push: i64) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM push_sends WHERE push_id = $1 AND outcome = 'failed') AS "failed!""#,
        push
    )
    .fetch_one(conn)
    .await?)
}

/// Whether a device of `user` may show something about a conversation that was read up to `message`.
pub async fn are_shown(
    conn: &mut PgConnection,
    user: UserId,
    conversation: ConversationId,
    message: MessageId,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pushes
                          WHERE user_id = $1 AND conversation_id = $2 AND message_id <= $3 AND decision = 'pushed'
                            AND kind IN ('answer', 'answer_failed') AND dismissed_at IS NULL) AS "shown!""#,
        user.0,
        conversation.0,
        message.0,
    )
    .fetch_one(conn)
    .await?)
}

/// The phones that show something about a conversation that was read up to `message`, and nothing newer about it; an Apple device only
/// as often as it listens.
pub async fn list_showing(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
    message: MessageId,
    kinds: &[DeviceKind],
    now: DateTime<Utc>,
) -> Result<Vec<(DeviceId, DeviceKind)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT d.id, d.kind FROM devices d
           WHERE d.user_id = $1 AND d.kind IN ('fcm', 'fid') AND d.kind = ANY($6) AND d.platform IN ('ios', 'android')
             AND EXISTS (SELECT FROM pushes p JOIN push_sends s ON s.push_id = p.id
                         WHERE p.user_id = $1 AND p.conversation_id = $2 AND p.decision = 'pushed' AND p.dismissed_at IS NULL
                           AND p.kind IN ('answer', 'answer_failed') AND p.message_id <= $3
                           AND s.device_id = d.id AND s.outcome = 'sent')
             -- Of a conversation a device shows the newest only, which is not read.
             AND NOT EXISTS (SELECT FROM pushes p JOIN push_sends s ON s.push_id = p.id
                             WHERE p.user_id = $1 AND p.conversation_id = $2 AND p.decision = 'pushed'
                               AND p.kind IN ('answer', 'answer_failed') AND p.message_id > $3 AND s.device_id = d.id)
             AND (d.platform <> 'ios'
                  OR (SELECT count(*) FROM push_sends s JOIN pushes p ON p.id = s.push_id
                      WHERE s.device_id = d.id AND s.claimed_at > $4 AND p.kind = 'read') < $5)"#,
        owner.user().0,
        owner.conversation().0,
        message.0,
        now - TimeDelta::hours(1),
        MAX_DISMISSALS_PER_HOUR,
        &words(kinds),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((DeviceId(row.id), kind_of(&row.kind)?)))
        .collect()
}

/// Records that no device shows anything about a conversation up to `message`.
pub async fn set_dismissed(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
    message: MessageId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE pushes SET dismissed_at = $4
         WHERE user_id = $1 AND conversation_id = $2 AND message_id <= $3 AND kind IN ('answer', 'answer_failed')
           AND dismissed_at IS NULL",
        owner.user().0,
        owner.conversation().0,
        message.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn words(kinds: &[DeviceKind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
}

fn kind_of(word: &str) -> Result<DeviceKind, StoreError> {
    DeviceKind::from_word(word).ok_or(StoreError::UnknownWord("device kind"))
}
