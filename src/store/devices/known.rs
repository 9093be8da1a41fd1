//! Devices of anybody, as operators see them, newest first. None of these queries returns how a device is reached.

use chrono::{DateTime, Utc};
use cura_domain::device::{DeviceDetails, DeviceKind, InactiveReason, KnownDevice, Platform};
use cura_domain::push_endpoint;
use cura_domain::{DeviceId, SessionId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// Which devices are listed.
#[derive(Debug, Clone)]
pub struct KnownDevices {
    /// Of these kinds.
    pub kinds: Vec<DeviceKind>,
    /// Only those that are not pushed to.
    pub only_inactive: bool,
    /// Only those that are older than this one.
    pub before: Option<DeviceId>,
}

impl KnownDevices {
    fn kinds(&self) -> Vec<String> {
        self.kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
    }

    fn before(&self) -> i64 {
        self.before.map_or(i64::MAX, |before| before.0)
    }
}

/// At most `limit` of these devices of all users.
pub async fn list_known(
    conn: &mut PgConnection,
    which: &KnownDevices,
    limit: i64,
) -> Result<Vec<KnownDevice>, StoreError> {
    // Each kind by itself: in the order of an index, and past no device of another kind. By `id + 0`, which only that
    // index has: see migration 0041.
    let rows = if which.only_inactive {
        sqlx::query_as!(
            KnownRow,
            r#"SELECT d.id AS "id!", d.user_id AS "user_id!", d.platform AS "platform!", d.kind AS "kind!",
                      d.is_active AS "is_active!", d.inactive_since, d.inactive_reason, d.removed_at,
                      d.last_active AS "last_active!", d.created_at AS "created_at!"
               FROM unnest($1::text[]) AS wanted (kind)
               CROSS JOIN LATERAL (SELECT * FROM devices o
                                   WHERE o.kind = wanted.kind AND (NOT o.is_active OR o.removed_at IS NOT NULL)
                                     AND o.id + 0 < $2
                                   ORDER BY o.id + 0 DESC LIMIT $3) d
               ORDER BY d.id DESC LIMIT $3"#,
            &which.kinds(),
            which.before(),
            limit,
        )
        .fetch_all(conn)
        .await?
    } else {
        sqlx::query_as!(
            KnownRow,
            r#"SELECT d.id AS "id!", d.user_id AS "user_id!", d.platform AS "platform!", d.kind AS "kind!",
                      d.is_active AS "is_active!", d.inactive_since, d.inactive_reason, d.removed_at,
                      d.last_active AS "last_active!", d.created_at AS "created_at!"
               FROM unnest($1::text[]) AS wanted (kind)
               CROSS JOIN LATERAL (SELECT * FROM devices o
                                   WHERE o.kind = wanted.kind AND o.id + 0 < $2 ORDER BY o.id + 0 DESC LIMIT $3) d
               ORDER BY d.id DESC LIMIT $3"#,
            &which.kinds(),
            which.before(),
            limit,
        )
        .fetch_all(conn)
        .await?
    };
    rows.into_iter().map(KnownDevice::try_from).collect()
}

/// At most `limit` of these devices of `user`.
pub async fn list_known_of(
    conn: &mut PgConnection,
    user: UserId,
    which: &KnownDevices,
    limit: i64,
) -> Result<Vec<KnownDevice>, StoreError> {
    // By expressions that no index has: the planner must not walk one past everybody else's devices.
    let rows = sqlx::query_as!(
        KnownRow,
        r#"SELECT id, user_id, platform, kind, is_active, inactive_since, inactive_reason, removed_at, last_active,
                  created_at
           FROM devices
           WHERE user_id = $1 AND kind || '' = ANY($2) AND (NOT $3 OR NOT is_active OR removed_at IS NOT NULL)
             AND id + 0 < $4
           ORDER BY id + 0 DESC LIMIT $5"#,
        user.0,
        &which.kinds(),
        which.only_inactive,
        which.before(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(KnownDevice::try_from).collect()
}

/// A device of anybody.
pub async fn find_known(
    conn: &mut PgConnection,
    device: DeviceId,
    now: DateTime<Utc>,
) -> Result<Option<DeviceDetails>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT d.id, d.user_id, d.platform, d.kind, d.is_active, d.inactive_since, d.inactive_reason, d.removed_at,
                  d.last_active, d.created_at, d.session_id, d.address,
                  s.ended_at IS NOT NULL OR s.expires_at <= $2 AS "session_is_over!"
           FROM devices d JOIN sessions s ON s.id = d.session_id WHERE d.id = $1"#,
        device.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let known = KnownRow {
        id: row.id,
        user_id: row.user_id,
        platform: row.platform,
        kind: row.kind,
        is_active: row.is_active,
        inactive_since: row.inactive_since,
        inactive_reason: row.inactive_reason,
        removed_at: row.removed_at,
        last_active: row.last_active,
        created_at: row.created_at,
    };
    let device = KnownDevice::try_from(known)?;
    let is_browser = device.kind == DeviceKind::WebPush;
    Ok(Some(DeviceDetails {
        device,
        session_id: SessionId(row.session_id),
        session_is_over: row.session_is_over,
        push_service_host: is_browser.then(|| push_endpoint::host_of(&row.address)).flatten(),
    }))
}

struct KnownRow {
    id: i64,
    user_id: i64,
    platform: String,
    kind: String,
    is_active: bool,
    inactive_since: Option<DateTime<Utc>>,
    inactive_reason: Option<String>,
    removed_at: Option<DateTime<Utc>>,
    last_active: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl TryFrom<KnownRow> for KnownDevice {
    type Error = StoreError;

    fn try_from(row: KnownRow) -> Result<Self, StoreError> {
        let reason = match (row.removed_at, row.inactive_reason) {
            (Some(_), _) => Some(InactiveReason::Gone),
            (None, None) => None,
            (None, Some(word)) => {
                Some(InactiveReason::from_word(&word).ok_or(StoreError::UnknownWord("reason of an inactive device"))?)
            }
        };
        Ok(Self {
            id: DeviceId(row.id),
            user_id: UserId(row.user_id),
            platform: Platform::from_word(&row.platform).ok_or(StoreError::UnknownWord("platform"))?,
            kind: DeviceKind::from_word(&row.kind).ok_or(StoreError::UnknownWord("device kind"))?,
            is_active: row.is_active && row.removed_at.is_none(),
            inactive_reason: reason,
            inactive_since: row.removed_at.or(row.inactive_since),
            last_active: row.last_active,
            created_at: row.created_at,
        })
    }
}
