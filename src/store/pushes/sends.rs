//! The sends of a push. Each is claimed before it is made, and what came of it is recorded.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::device::{DeviceAddress, DeviceKind, Subscription};
use cura_domain::push_endpoint::PushHosts;
use cura_domain::push_log::{SendOutcome, TestedDevice};
use cura_domain::{ConversationId, DeviceId, MessageId, UserId};
use sqlx::PgConnection;

use super::kind_of;
use crate::StoreError;
use crate::devices::AddressHash;

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

/// What sends are claimed for.
#[derive(Debug, Clone, Copy)]
pub struct ClaimFor {
    /// The push.
    pub push: i64,
    /// Whose devices it goes to.
    pub user: UserId,
    /// What it is about: nothing is claimed once that is deleted.
    pub conversation: Option<ConversationId>,
    /// The message that it shows something of: nothing is claimed once that is read, or for a device that was sent something newer of
    /// the conversation, whose place it would take.
    pub shows: Option<MessageId>,
}

/// Claims the sends of a push to some devices of its person: those that are still there, that have a session and whose person is not
/// suspended, and to which it was not sent before, unless that may be repeated. Nothing may be sent that is not claimed. Whoever reads
/// the conversation at the same moment has done so before, or will find the claim.
pub async fn claim(
    conn: &mut PgConnection,
    of: &ClaimFor,
    devices: &[DeviceId],
    hosts: &PushHosts,
    now: DateTime<Utc>,
) -> Result<Vec<ClaimedSend>, StoreError> {
    let devices: Vec<i64> = devices.iter().map(|device| device.0).collect();
    let rows = sqlx::query!(
        r#"WITH open AS MATERIALIZED (
               SELECT 1 FROM conversations c
               WHERE c.id = $5 AND c.deleted_at IS NULL AND ($6::bigint IS NULL OR COALESCE(c.last_read_message_id, 0) < $6)
               FOR SHARE
           ), claimed AS (
               INSERT INTO push_sends AS p (push_id, device_id, claimed_at)
               SELECT $1, d.id, $4
               FROM devices d JOIN sessions s ON s.id = d.session_id JOIN users u ON u.id = d.user_id
               WHERE d.id = ANY($2) AND d.user_id = $3 AND d.is_active AND d.removed_at IS NULL
                 AND s.ended_at IS NULL AND s.expires_at > $4 AND u.suspended_at IS NULL AND u.erased_at IS NULL
                 AND ($5::bigint IS NULL OR EXISTS (SELECT FROM open))
                 AND ($6::bigint IS NULL
                      OR NOT EXISTS (SELECT FROM pushes n JOIN push_sends s ON s.push_id = n.id
                                     WHERE n.user_id = $3 AND n.conversation_id = $5 AND n.message_id > $6
                                       AND n.kind IN ('answer', 'answer_failed') AND s.device_id = d.id))
               ON CONFLICT (push_id, device_id) DO UPDATE
               SET attempts = p.attempts + 1, outcome = NULL, code = NULL, claimed_at = EXCLUDED.claimed_at, ended_at = NULL
               WHERE p.outcome = 'retry'
               RETURNING device_id
           )
           SELECT d.id, d.kind, d.address, d.address_hash, d.p256dh, d.auth, d.vapid_key
           FROM claimed JOIN devices d ON d.id = claimed.device_id"#,
        of.push,
        &devices,
        of.user.0,
        now,
        of.conversation.map(|conversation| conversation.0),
        of.shows.map(|message| message.0),
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
        "UPDATE devices SET removed_at = NULL
         WHERE id IN (SELECT id FROM devices WHERE removed_at > $1 ORDER BY id FOR UPDATE)",
        now - SUSPECT_WINDOW
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE devices SET is_active = true, inactive_since = NULL, inactive_reason = NULL
         WHERE id IN (SELECT id FROM devices
                      WHERE NOT is_active AND inactive_reason = 'other_sender' AND inactive_since > $1 ORDER BY id FOR UPDATE)",
        now - SUSPECT_WINDOW,
    )
    .execute(conn)
    .await?;
    Ok(())
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
