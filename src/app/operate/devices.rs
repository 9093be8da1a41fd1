//! Devices that pushes go to, for operators: which there are, why a phone rang or stayed silent, and pruning at once.

mod why;

use chrono::TimeDelta;
use cura_domain::push_log::LoggedSend;
use cura_domain::{DeviceId, MessageId};
use cura_queue::SendPush;
use cura_store::devices::{KnownDevices, Pruned};
use cura_store::{StoreError, devices, pushes, with_deadline};
use serde::Serialize;
use thiserror::Error;

use super::{Act, Acts, NamedUser, OperateError as _};
pub use cura_domain::device::{DeviceDetails, DeviceKind, KnownDevice};
pub use why::{Explanation, Verdict};

/// How many sends are shown of a device.
const SHOWN_SENDS: i64 = 20;
/// The devices of the first batch that is pruned. Batches are halved when the database does not finish one in time.
const BATCH: i64 = 500;

/// Which devices are listed.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter {
    /// Those of this user.
    pub user: Option<NamedUser>,
    /// Those of this kind.
    pub kind: Option<DeviceKind>,
    /// Those that are not pushed to.
    pub only_inactive: bool,
    /// Those that are older than this one.
    pub before: Option<DeviceId>,
}

/// A device and what was sent to it last.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceWithSends {
    /// The device.
    #[serde(flatten)]
    pub device: DeviceDetails,
    /// The last sends, newest first.
    pub sends: Vec<LoggedSend>,
}

/// How many devices were pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PrunedDevices {
    /// Removed, because their push service had called them gone.
    pub gone_removed: u64,
    /// Removed, because they were inactive for long.
    pub inactive_removed: u64,
    /// Inactive from now on, because they were not seen for long.
    pub made_inactive: u64,
}

/// Why devices were not listed.
#[derive(Debug, Error)]
pub enum ListDevicesError {
    /// The filter names no user.
    #[error("no such user")]
    NoSuchUser,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Devices {
    acts: Acts,
    unseen_after: TimeDelta,
    push_is_off: bool,
}

impl Devices {
    /// Puts the parts together. `unseen_after` is how long a device may be unseen; `push_is_off` says that no push
    /// service is set.
    pub const fn new(acts: Acts, unseen_after: TimeDelta, push_is_off: bool) -> Self {
        Self {
            acts,
            unseen_after,
            push_is_off,
        }
    }

    /// At most `limit` devices, newest first, and whether there are more.
    ///
    /// # Errors
    /// [`ListDevicesError::NoSuchUser`].
    pub async fn list(&self, filter: &DeviceFilter, limit: u32) -> Result<(Vec<KnownDevice>, bool), ListDevicesError> {
        let which = KnownDevices {
            kinds: filter.kind.map_or_else(|| DeviceKind::ALL.to_vec(), |kind| vec![kind]),
            only_inactive: filter.only_inactive,
            before: filter.before,
        };
        let (limit, wanted) = (limit as usize, i64::from(limit) + 1);
        let listed = self.acts.database().connection(async |connection| {
            let Some(user) = &filter.user else {
                return Ok(devices::list_known(connection, &which, wanted).await?);
            };
            let user = user.find(connection).await?.ok_or(ListDevicesError::NoSuchUser)?;
            Ok::<_, ListDevicesError>(devices::list_known_of(connection, user, &which, wanted).await?)
        });
        let mut listed = listed.await?;
        let has_more = listed.len() > limit;
        listed.truncate(limit);
        Ok((listed, has_more))
    }

    /// A device and its last sends; `None` when there is none.
    pub async fn show(&self, device: DeviceId) -> Result<Option<DeviceWithSends>, StoreError> {
        let now = self.acts.now();
        let found = self.acts.database().connection(async |connection| {
            let Some(details) = devices::find_known(connection, device, now).await? else {
                return Ok(None);
            };
            let sends = pushes::list_logged_sends_to(connection, device, SHOWN_SENDS).await?;
            Ok(Some(DeviceWithSends { device: details, sends }))
        });
        found.await
    }

    /// Why a phone rang, or stayed silent, for a message; `None` when there is no such message, nor was anything
    /// decided for it.
    pub async fn why(&self, message: MessageId) -> Result<Option<Explanation>, StoreError> {
        let key = message.to_string();
        // Of one moment: a job that decides something meanwhile would look as if it had not.
        let known = self.acts.database().snapshot(async |connection| {
            with_deadline(async {
                let push = pushes::find_logged(connection, message).await?;
                let sends = match &push {
                    Some(push) => pushes::list_logged_sends(connection, push.push_id).await?,
                    None => Vec::new(),
                };
                Ok::<_, StoreError>(why::Known {
                    message: pushes::find_ended(connection, message).await?,
                    job: cura_queue::find_job::<SendPush>(connection, &key).await?,
                    log_began_at: pushes::log_began_at(connection).await?,
                    push,
                    sends,
                    push_is_off: self.push_is_off,
                })
            })
            .await
        });
        Ok(known.await?.explain(message, self.acts.now()))
    }

    /// Does at once what a job does every hour. Each batch is either done or untouched, whenever this ends; the job may
    /// run beside it.
    ///
    /// # Errors
    /// Whatever was pruned before stays pruned.
    pub async fn prune(&self) -> Result<PrunedDevices, StoreError> {
        let mut pruned = PrunedDevices::default();
        for which in Pruned::ALL {
            let count = self.prune_all(which).await?;
            match which {
                Pruned::Gone => pruned.gone_removed = count,
                Pruned::Silent => pruned.inactive_removed = count,
                Pruned::Unseen => pruned.made_inactive = count,
            }
        }
        Ok(pruned)
    }

    async fn prune_all(&self, which: Pruned) -> Result<u64, StoreError> {
        let now = self.acts.now();
        let before = which.before(now, self.unseen_after);
        let (mut count, mut size) = (0, BATCH);
        loop {
            let act = Act::new("devices.prune").with("which", which.as_str());
            let batch = self.acts.database().batch(async |connection| {
                let rows = which.prune(connection, before, now, size).await?;
                if rows > 0 {
                    self.acts.done(connection, act.clone().with("devices", rows)).await?;
                }
                Ok(rows)
            });
            match batch.await {
                Ok(0) => return Ok(count),
                Ok(rows) => count += rows,
                Err(StoreError::TookTooLong) if size > 1 => size /= 2,
                Err(error) => {
                    self.acts.failed(act, error.code()).await;
                    return Err(error);
                }
            }
        }
    }
}
