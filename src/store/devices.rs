//! Devices that pushes go to. Each belongs to the session that registered it, and goes with it (migration 0042).

mod known;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::device::{Device, DeviceAddress, DeviceKind, Platform};
use cura_domain::{DeviceId, SessionId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

pub use known::{KnownDevices, find_known, list_known, list_known_of};

/// How long a silent device is kept: Firebase forgets Android devices after 270 days.
const SILENT: TimeDelta = TimeDelta::days(90);
/// How long a device is kept that its push service called gone: so long it can be taken back.
const GONE: TimeDelta = TimeDelta::minutes(10);

/// SHA-256 of a device's kind and address: two registrations of one device are one.
pub type AddressHash = [u8; 32];

/// What a client says of its device.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// Who registers it.
    pub user: UserId,
    /// The session that it belongs to from now on.
    pub session: SessionId,
    /// What it runs.
    pub platform: Platform,
    /// Where its pushes go.
    pub address: &'a DeviceAddress,
    /// Of the address.
    pub hash: &'a AddressHash,
    /// Our public key that it subscribed for.
    pub vapid_key: Option<&'a [u8]>,
    /// The client's name for it.
    pub name: Option<&'a str>,
}

/// Removes the device with this address from whoever has it, unless it is `kept`: nothing of another account comes along.
pub async fn remove_elsewhere(
    conn: &mut PgConnection,
    user: UserId,
    hash: &AddressHash,
    kept: Option<DeviceId>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM devices WHERE address_hash = $1 AND (user_id <> $2 OR id <> $3)",
        hash.as_slice(),
        user.0,
        kept.map(|device| device.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Registers a device, or again. The device, and whether it is new; `None` when another account registers the same address at this
/// moment: try again.
pub async fn register(
    conn: &mut PgConnection,
    registration: Registration<'_>,
    now: DateTime<Utc>,
) -> Result<Option<(Device, bool)>, StoreError> {
    let subscription = registration.address.subscription();
    let row = sqlx::query!(
        r#"INSERT INTO devices AS d (user_id, session_id, platform, kind, address_hash, address, p256dh, auth, vapid_key, device_name,
                                     last_active, created_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
           ON CONFLICT (address_hash) DO UPDATE
           SET session_id = EXCLUDED.session_id, platform = EXCLUDED.platform, p256dh = EXCLUDED.p256dh, auth = EXCLUDED.auth,
               vapid_key = EXCLUDED.vapid_key, device_name = EXCLUDED.device_name, last_active = EXCLUDED.last_active,
               is_active = true, inactive_since = NULL, inactive_reason = NULL, removed_at = NULL
           WHERE d.user_id = EXCLUDED.user_id
           RETURNING id, platform, kind, device_name, is_active, session_id, last_active, created_at, xmax = 0 AS "is_new!""#,
        registration.user.0,
        registration.session.0,
        registration.platform.as_str(),
        registration.address.kind().as_str(),
        registration.hash.as_slice(),
        registration.address.as_str(),
        subscription.map(|subscription| subscription.p256dh.as_slice()),
        subscription.map(|subscription| subscription.auth.as_slice()),
        registration.vapid_key,
        registration.name,
        now,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let is_new = row.is_new;
        let device = DeviceRow {
            id: row.id,
            platform: row.platform,
            kind: row.kind,
            device_name: row.device_name,
            is_active: row.is_active,
            session_id: row.session_id,
            last_active: row.last_active,
            created_at: row.created_at,
        };
        Ok((device.seen_by(registration.session)?, is_new))
    })
    .transpose()
}

/// Gives a device of `user`, which is locked, another address. `None` when another account registers the same address at this moment:
/// the transaction is over, try again.
pub async fn replace(
    conn: &mut PgConnection,
    device: DeviceId,
    registration: Registration<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Device>, StoreError> {
    let subscription = registration.address.subscription();
    let row = sqlx::query_as!(
        DeviceRow,
        r#"UPDATE devices
           SET session_id = $3, platform = $4, kind = $5, address_hash = $6, address = $7, p256dh = $8, auth = $9, vapid_key = $10,
               device_name = $11, last_active = $12, is_active = true, inactive_since = NULL, inactive_reason = NULL, removed_at = NULL
           WHERE id = $1 AND user_id = $2
           RETURNING id, platform, kind, device_name, is_active, session_id, last_active, created_at"#,
        device.0,
        registration.user.0,
        registration.session.0,
        registration.platform.as_str(),
        registration.address.kind().as_str(),
        registration.hash.as_slice(),
        registration.address.as_str(),
        subscription.map(|subscription| subscription.p256dh.as_slice()),
        subscription.map(|subscription| subscription.auth.as_slice()),
        registration.vapid_key,
        registration.name,
        now,
    )
    .fetch_optional(conn)
    .await;
    match row {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(None),
        row => row?.map(|row| row.seen_by(registration.session)).transpose(),
    }
}

/// Whether `user` has this device, which is locked until the transaction ends.
pub async fn lock_owned(conn: &mut PgConnection, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
    let locked = sqlx::query_scalar!(
        "SELECT id FROM devices WHERE id = $1 AND user_id = $2 AND removed_at IS NULL FOR UPDATE",
        device.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(locked.is_some())
}

/// Removes all but the `keep` devices of `user` that were seen last.
pub async fn remove_unseen_beyond(conn: &mut PgConnection, user: UserId, keep: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"DELETE FROM devices WHERE id IN (
               SELECT id FROM devices WHERE user_id = $1 ORDER BY removed_at IS NULL DESC, last_active DESC, id DESC OFFSET $2)"#,
        user.0,
        keep,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The devices of `user`, the one seen last first, as `session` sees them.
pub async fn list(conn: &mut PgConnection, user: UserId, session: SessionId) -> Result<Vec<Device>, StoreError> {
    let rows = sqlx::query_as!(
        DeviceRow,
        r#"SELECT id, platform, kind, device_name, is_active, session_id, last_active, created_at
           FROM devices WHERE user_id = $1 AND removed_at IS NULL ORDER BY last_active DESC, id DESC"#,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.seen_by(session)).collect()
}

/// Removes a device of `user`; `false` when there is none.
pub async fn remove_owned(conn: &mut PgConnection, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM devices WHERE id = $1 AND user_id = $2 AND removed_at IS NULL",
        device.0,
        user.0
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether `user` has a device that may be pushed to. The function `finish_answer` of the migrations asks the same.
pub async fn has_active(conn: &mut PgConnection, user: UserId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM devices WHERE user_id = $1 AND is_active AND removed_at IS NULL) AS "active!""#,
        user.0
    )
    .fetch_one(conn)
    .await?)
}

struct DeviceRow {
    id: i64,
    platform: String,
    kind: String,
    device_name: Option<String>,
    is_active: bool,
    session_id: i64,
    last_active: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl DeviceRow {
    fn seen_by(self, session: SessionId) -> Result<Device, StoreError> {
        Ok(Device {
            id: DeviceId(self.id),
            platform: Platform::from_word(&self.platform).ok_or(StoreError::UnknownWord("platform"))?,
            kind: DeviceKind::from_word(&self.kind).ok_or(StoreError::UnknownWord("device kind"))?,
            name: self.device_name,
            is_active: self.is_active,
            is_current: self.session_id == session.0,
            last_active: self.last_active,
            created_at: self.created_at,
        })
    }
}

/// Which devices are pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruned {
    /// Those that were called gone are removed.
    Gone,
    /// Those that are silent are removed.
    Silent,
    /// Those that were not seen become silent.
    Unseen,
}

impl Pruned {
    /// All of them, in the order in which they are pruned.
    pub const ALL: [Self; 3] = [Self::Gone, Self::Silent, Self::Unseen];

    /// The word for it in the record of what operators did.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Unseen => "unseen",
        }
    }

    /// Since when a device must be so at `now`; `unseen_after` is how long one may be unseen.
    pub fn before(self, now: DateTime<Utc>, unseen_after: TimeDelta) -> DateTime<Utc> {
        now - match self {
            Self::Gone => GONE,
            Self::Silent => SILENT,
            Self::Unseen => unseen_after,
        }
    }

    /// Changes at most `limit` of those that are so since `before`, and returns their number; 0 when none is left.
    pub async fn prune(
        self,
        conn: &mut PgConnection,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let done = match self {
            Self::Gone => {
                sqlx::query!(
                    "DELETE FROM devices WHERE id IN (SELECT id FROM devices WHERE removed_at < $1 LIMIT $2)",
                    before,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::Silent => {
                sqlx::query!(
                    "DELETE FROM devices WHERE id IN (
                         SELECT id FROM devices WHERE NOT is_active AND inactive_since < $1 LIMIT $2)",
                    before,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::Unseen => {
                sqlx::query!(
                    "UPDATE devices SET is_active = false, inactive_since = $3, inactive_reason = 'unseen'
                     WHERE is_active AND id IN (
                         SELECT id FROM devices WHERE is_active AND last_active < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
                    before,
                    limit,
                    now,
                )
                .execute(conn)
                .await?
            }
        };
        Ok(done.rows_affected())
    }
}
