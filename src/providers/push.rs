//! Push services: they take a message for a device, and say what became of it.

mod alert_pause;
mod fcm;
mod http;
mod message;
mod news;
mod permits;
mod verdict;
mod web;

use cura_domain::UserId;
use cura_domain::device::{DeviceAddress, DeviceKind};

pub use alert_pause::AlertPause;
pub use fcm::{Fcm, FcmUrl, InvalidCredentials, InvalidFcmUrl};
pub use message::{Banner, Dismissal, Push};
pub use permits::SendPermit;
pub use verdict::{Meaning, Verdict};
pub use web::{InvalidVapidKey, InvalidVapidSubject, NoWebPush, VapidKey, VapidSubject, WebPush, is_public_key};

/// Firebase Cloud Messaging, where services are named.
pub const FCM: &str = "fcm";
/// The push services of browsers, where services are named.
pub const WEB_PUSH: &str = "web_push";

/// Every push service that is configured. Cheap to clone; clones share connections, tokens and permits.
#[derive(Clone, Default)]
pub struct PushProviders {
    fcm: Option<Fcm>,
    web: Option<WebPush>,
}

impl PushProviders {
    /// These services; with none of them, push is off.
    pub const fn new(fcm: Option<Fcm>, web: Option<WebPush>) -> Self {
        Self { fcm, web }
    }

    /// Whether there is no service at all.
    pub const fn are_off(&self) -> bool {
        self.fcm.is_none() && self.web.is_none()
    }

    /// Firebase Cloud Messaging.
    pub const fn fcm(&self) -> Option<&Fcm> {
        self.fcm.as_ref()
    }

    /// The push services of browsers.
    pub const fn web(&self) -> Option<&WebPush> {
        self.web.as_ref()
    }

    /// The services that take nothing from us, as far as is known from the last five minutes: by the names that [`FCM`] and [`WEB_PUSH`] are.
    pub fn failing(&self) -> Vec<&'static str> {
        let fcm = self.fcm.iter().filter(|fcm| fcm.is_failing()).map(|_| FCM);
        let web = self.web.iter().filter(|web| web.is_failing()).map(|_| WEB_PUSH);
        fcm.chain(web).collect()
    }

    /// Whether devices of this kind can be sent to at the moment: their service is configured and takes our messages,
    /// and we have a token for it.
    pub async fn is_ready(&self, kind: DeviceKind) -> bool {
        match (kind, &self.fcm, &self.web) {
            (DeviceKind::Fcm | DeviceKind::Fid, Some(fcm), _) => !fcm.is_closed() && fcm.is_authorized().await,
            (DeviceKind::WebPush, _, web) => web.is_some(),
            _ => false,
        }
    }

    /// The kinds of devices whose service is configured.
    pub fn kinds(&self) -> Vec<DeviceKind> {
        let fcm = self.fcm.iter().flat_map(|_| [DeviceKind::Fcm, DeviceKind::Fid]);
        let web = self.web.iter().map(|_| DeviceKind::WebPush);
        fcm.chain(web).collect()
    }

    /// Waits for the right to send to a device of this kind, and takes as many rights as there are at that moment, up to `most`. None
    /// if its service is not configured.
    pub async fn permits(&self, kind: DeviceKind, most: usize) -> Vec<SendPermit> {
        let first = match kind {
            DeviceKind::Fcm | DeviceKind::Fid => match &self.fcm {
                Some(fcm) => fcm.permit().await,
                None => None,
            },
            DeviceKind::WebPush => match &self.web {
                Some(web) => web.permit().await,
                None => None,
            },
        };
        let more = || match kind {
            DeviceKind::Fcm | DeviceKind::Fid => self.fcm.as_ref()?.try_permit(),
            DeviceKind::WebPush => self.web.as_ref()?.try_permit(),
        };
        let Some(first) = first else { return Vec::new() };
        std::iter::once(first)
            .chain(std::iter::from_fn(more))
            .take(most.max(1))
            .collect()
    }

    /// Whether a browser that subscribed for `key` has subscribed for another one than the present one.
    pub fn is_old_key(&self, key: Option<&[u8]>) -> bool {
        self.web
            .as_ref()
            .is_some_and(|web| key != Some(web.public_key().as_slice()))
    }

    /// Sends a push to a device of `person` with a permit for its kind. `is_of_old_key` says that a browser subscribed for a
    /// key that we had before.
    pub async fn send(
        &self,
        permit: SendPermit,
        person: UserId,
        address: &DeviceAddress,
        is_of_old_key: bool,
        push: &Push<'_>,
    ) -> Verdict {
        match (address, &self.fcm, &self.web) {
            (DeviceAddress::Fcm(_) | DeviceAddress::Fid(_), Some(fcm), _) => fcm.send(permit, address, push).await,
            (DeviceAddress::WebPush(subscription), _, Some(web)) => {
                web.send(permit, person, subscription, is_of_old_key, push).await
            }
            _ => Verdict::new(Meaning::Misconfigured, "service_not_configured"),
        }
    }
}
