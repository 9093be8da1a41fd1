//! What operators see of one user.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::UserId;
use cura_domain::device::{DeviceKind, KnownDevice};
use cura_domain::usage::UsageSum;
use cura_domain::user::{KnownAnswer, KnownSession, KnownUser, UserCounts};
use cura_queue::JobsOfUser;
use cura_store::devices::KnownDevices;
use cura_store::{PgConnection, StoreError, devices, files, usage, users};
use serde::Serialize;

use super::{NamedUser, OperateUsersError, Users};

/// How many sessions and devices are shown; a user has no more active sessions.
const SHOWN: i64 = 100;
/// How many days of usage are summed.
const USAGE_DAYS: i64 = 30;

/// What a user may use, as the settings say.
#[derive(Debug, Clone, Copy)]
pub struct UserLimits {
    /// Tokens in a day; `None` is no limit.
    pub daily_tokens: Option<u64>,
    /// How much a user may keep, in bytes; `None` is no limit.
    pub max_kept_bytes: Option<i64>,
}

/// A user, and what is theirs.
#[derive(Debug, Clone, Serialize)]
pub struct ShownUser {
    /// The user.
    #[serde(flatten)]
    pub user: KnownUser,
    /// Where they are signed in, the session that was used last first.
    pub sessions: Vec<KnownSession>,
    /// Where pushes go to, newest first.
    pub devices: Vec<KnownDevice>,
    /// How much there is.
    pub counts: UserCounts,
    /// How far that was counted.
    pub counted_to: i64,
    /// What they have used.
    pub usage: ShownUsage,
    /// What they keep.
    pub storage: ShownStorage,
    /// What is under way for them.
    pub running: ShownRunning,
}

/// What a user has used.
#[derive(Debug, Clone, Serialize)]
pub struct ShownUsage {
    /// Since midnight in UTC.
    pub today: UsageSum,
    /// In the last thirty days, this one included.
    pub last_30_days: UsageSum,
    /// Tokens that are reserved for what is under way.
    pub reserved_tokens: i64,
    /// Tokens that they may use in a day; `None` is no limit.
    pub daily_tokens: Option<u64>,
}

/// What a user keeps.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ShownStorage {
    /// In bytes, as it counts.
    pub bytes: i64,
    /// How much they may keep, in bytes; `None` is no limit.
    pub quota: Option<i64>,
}

/// What is under way for a user.
#[derive(Debug, Clone, Serialize)]
pub struct ShownRunning {
    /// Unfinished answers, oldest first.
    pub answers: Vec<KnownAnswer>,
    /// Unfinished jobs that work with what is theirs.
    pub jobs: Vec<JobsOfUser>,
}

impl Users {
    /// What is known of a user, who may be being erased.
    ///
    /// # Errors
    /// [`OperateUsersError::NotFound`]
    pub async fn show(&self, user: &NamedUser, limits: UserLimits) -> Result<ShownUser, OperateUsersError> {
        let now = self.acts.now();
        let shown = self.acts.database().connection(async |connection| {
            let id = user.find(connection).await?;
            let id = id.ok_or(OperateUsersError::NotFound)?;
            let known = users::find_known(connection, id).await?;
            let known = known.ok_or(OperateUsersError::NotFound)?;
            Ok(read(connection, id, known, limits, now).await?)
        });
        shown.await
    }
}

async fn read(
    connection: &mut PgConnection,
    id: UserId,
    user: KnownUser,
    limits: UserLimits,
    now: DateTime<Utc>,
) -> Result<ShownUser, StoreError> {
    let every_device = KnownDevices {
        kinds: DeviceKind::ALL.to_vec(),
        only_inactive: false,
        before: None,
    };
    let today = now.date_naive();
    let days = usage::list(connection, id, today - TimeDelta::days(USAGE_DAYS - 1)).await?;
    let load = usage::load(connection, id, now).await?;
    Ok(ShownUser {
        user,
        sessions: users::list_known_sessions(connection, id, now, SHOWN).await?,
        devices: devices::list_known_of(connection, id, &every_device, SHOWN).await?,
        counts: users::count_known(connection, id).await?,
        counted_to: users::MAX_COUNTED,
        usage: ShownUsage {
            today: UsageSum::of(days.iter().filter(|day| day.day == today)),
            last_30_days: UsageSum::of(&days),
            reserved_tokens: load.reserved,
            daily_tokens: limits.daily_tokens,
        },
        storage: ShownStorage {
            bytes: files::kept_bytes(connection, id).await?,
            quota: limits.max_kept_bytes,
        },
        running: ShownRunning {
            answers: users::list_known_answers(connection, id).await?,
            jobs: cura_queue::count_unfinished_of(connection, id).await?,
        },
    })
}
