//! Devices that pushes go to: registering, listing and removing them. A device belongs to the session that registered it, and goes
//! with it.

use std::sync::Arc;

use cura_domain::account::DeviceName;
use cura_domain::device::{DeviceAddress, InvalidAddress, MAX_DEVICES, Platform, Subscription};
use cura_domain::push_endpoint::{PushEndpoint, PushHosts};
use cura_domain::{Clock, DeviceId};
use cura_providers::push::is_public_key;
use cura_queue::{EnqueueOptions, JobOwner, SendTestPush};
use cura_store::devices::{AddressHash, Registration};
use cura_store::{Database, StoreError, devices, pushes, users};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use cura_domain::device::Device;

use crate::caller::Caller;
use crate::still_signed_in::{self, NotAnyMore};

/// How often a registration is tried that meets another account's of the same address.
const TRIES: u32 = 3;

/// What pushes can go through.
#[derive(Debug, Clone, Default)]
pub struct PushServices {
    /// The Firebase project whose devices can be reached.
    pub firebase_project: Option<String>,
    /// Our public key, for which browsers subscribe: an uncompressed point of P-256.
    pub web_push_key: Option<Vec<u8>>,
    /// Push services beside those of browsers.
    pub hosts: PushHosts,
    /// Whether people may try out pushes.
    pub allows_tests: bool,
}

/// A browser's subscription with these keys.
///
/// # Errors
/// The key that is none; also a public key that is no point of the curve, for which nothing could ever be encrypted.
pub fn subscription(endpoint: PushEndpoint, p256dh: Vec<u8>, auth: Vec<u8>) -> Result<Subscription, InvalidAddress> {
    let subscription = Subscription::new(endpoint, p256dh, auth)?;
    if is_public_key(&subscription.p256dh) {
        Ok(subscription)
    } else {
        Err(InvalidAddress::PublicKey)
    }
}

/// What a client says of its device.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// What it runs.
    pub platform: Platform,
    /// Where its pushes go.
    pub address: DeviceAddress,
    /// The client's name for it.
    pub name: Option<DeviceName>,
    /// The known device whose address this replaces.
    pub replaces: Option<DeviceId>,
}

/// Why a device was not registered or removed.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// It does not exist, or belongs to another user.
    #[error("no such device")]
    NotFound,
    /// The session has ended meanwhile.
    #[error("not signed in")]
    NotSignedIn,
    /// The account was suspended meanwhile.
    #[error("the account is suspended")]
    Suspended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotAnyMore> for DeviceError {
    fn from(error: NotAnyMore) -> Self {
        match error {
            NotAnyMore::NotSignedIn => Self::NotSignedIn,
            NotAnyMore::Suspended => Self::Suspended,
            NotAnyMore::Store(error) => Self::Store(error),
        }
    }
}

/// Why one try to register did not succeed.
enum Attempt {
    /// Another account registers the same address at this moment.
    Raced,
    Failed(DeviceError),
}

impl<E: Into<DeviceError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The use cases of devices. Cheap to clone.
#[derive(Clone)]
pub struct Devices {
    database: Database,
    clock: Clock,
    services: Arc<PushServices>,
}

impl Devices {
    /// Puts the parts together.
    pub fn new(database: Database, clock: Clock, services: PushServices) -> Self {
        Self {
            database,
            clock,
            services: Arc::new(services),
        }
    }

    /// What pushes can go through.
    pub fn services(&self) -> &PushServices {
        &self.services
    }

    /// Registers a device, or again, for the caller's session; says whether it is new. Another account that has the same device loses
    /// it; the device unseen longest leaves when there are too many.
    ///
    /// # Errors
    /// [`DeviceError::NotFound`] also when the device to replace belongs to another user.
    pub async fn register(&self, caller: Caller, new: &NewDevice) -> Result<(Device, bool), DeviceError> {
        let hash = hash(&new.address);
        for _ in 0..TRIES {
            match self.try_to_register(caller, new, &hash).await {
                Ok(registered) => return Ok(registered),
                Err(Attempt::Raced) => {}
                Err(Attempt::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError::TookTooLong.into())
    }

    async fn try_to_register(
        &self,
        caller: Caller,
        new: &NewDevice,
        hash: &AddressHash,
    ) -> Result<(Device, bool), Attempt> {
        let now = self.clock.now_micros();
        let is_browser = new.address.subscription().is_some();
        let registration = Registration {
            user: caller.user,
            session: caller.session,
            platform: new.platform,
            address: &new.address,
            hash,
            vapid_key: self.services.web_push_key.as_deref().filter(|_| is_browser),
            name: new.name.as_ref().map(DeviceName::as_str),
        };
        self.database
            .transaction(async |connection| {
                // In this order, as a session that ends and takes its devices along.
                still_signed_in::hold(connection, caller, now).await?;
                if let Some(known) = new.replaces
                    && !devices::lock_owned(connection, caller.user, known).await?
                {
                    return Err(DeviceError::NotFound.into());
                }
                devices::remove_elsewhere(connection, caller.user, hash, new.replaces).await?;
                let registered = match new.replaces {
                    Some(known) => {
                        let replaced = devices::replace(connection, known, registration, now).await?;
                        replaced.map(|device| (device, false))
                    }
                    None => devices::register(connection, registration, now).await?,
                };
                let registered = registered.ok_or(Attempt::Raced)?;
                devices::remove_unseen_beyond(connection, caller.user, MAX_DEVICES).await?;
                Ok(registered)
            })
            .await
    }

    /// Pushes a test to the caller's devices; an event tells what came of it. Returns the id of the push; `None` where tests are not
    /// allowed.
    pub async fn test(&self, caller: Caller) -> Result<Option<i64>, StoreError> {
        if !self.services.allows_tests {
            return Ok(None);
        }
        let now = self.clock.now_micros();
        let added = self.database.transaction(async |connection| {
            users::hold(connection, caller.user)
                .await?
                .ok_or(StoreError::UserGone)?;
            let push_id = pushes::add_test(connection, caller.user, now).await?;
            let options = EnqueueOptions {
                owner: Some(JobOwner::user(caller.user)),
                ..EnqueueOptions::default()
            };
            cura_queue::enqueue_with(connection, &SendTestPush { push_id }, options).await?;
            Ok::<_, StoreError>(push_id)
        });
        added.await.map(Some)
    }

    /// The caller's devices, the one seen last first.
    pub async fn list(&self, caller: Caller) -> Result<Vec<Device>, StoreError> {
        self.database
            .connection(async |connection| devices::list(connection, caller.user, caller.session).await)
            .await
    }

    /// Removes a device of the caller.
    ///
    /// # Errors
    /// [`DeviceError::NotFound`] also when it belongs to another user.
    pub async fn remove(&self, caller: Caller, device: DeviceId) -> Result<(), DeviceError> {
        let removed = self
            .database
            .connection(async |connection| devices::remove_owned(connection, caller.user, device).await);
        if removed.await? {
            Ok(())
        } else {
            Err(DeviceError::NotFound)
        }
    }
}

/// Two registrations with this hash are of one device.
fn hash(address: &DeviceAddress) -> AddressHash {
    let mut hash = Sha256::new();
    hash.update(address.kind().as_str());
    hash.update([0]);
    hash.update(address.as_str());
    hash.finalize().into()
}
