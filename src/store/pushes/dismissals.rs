//! What devices still show of pushes, and that it was taken away.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::device::DeviceKind;
use cura_domain::{ConversationId, DeviceId, MessageId, UserId};
use sqlx::PgConnection;

use super::{kind_of, words};
use crate::StoreError;
use crate::owners::ConversationOwner;

/// How many silent pushes a device of Apple gets in an hour: it ignores further ones.
const MAX_DISMISSALS_PER_HOUR: i64 = 3;
/// How long a send may take from its claim to its outcome: twice ten seconds, a new access token between them, and some more.
const LONGEST_SEND: TimeDelta = TimeDelta::seconds(30);

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

/// Whether something about a conversation that was read up to `message` is being sent at this moment.
pub async fn are_being_sent(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
    message: MessageId,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pushes p JOIN push_sends s ON s.push_id = p.id
                          WHERE p.user_id = $1 AND p.conversation_id = $2 AND p.message_id <= $3 AND p.decision = 'pushed'
                            AND p.kind IN ('answer', 'answer_failed') AND s.outcome IS NULL AND s.claimed_at > $4) AS "sent!""#,
        owner.user().0,
        owner.conversation().0,
        message.0,
        now - LONGEST_SEND,
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
             -- What was sent, or may have been: services deliver what they answer 503 to, and nobody lived to say.
             AND EXISTS (SELECT FROM pushes p JOIN push_sends s ON s.push_id = p.id
                         WHERE p.user_id = $1 AND p.conversation_id = $2 AND p.decision = 'pushed' AND p.dismissed_at IS NULL
                           AND p.kind IN ('answer', 'answer_failed') AND p.message_id <= $3
                           AND s.device_id = d.id AND (s.outcome IN ('sent', 'retry') OR s.outcome IS NULL))
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
