//! Devices: where a person is told that an answer is there although nobody looks.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use thiserror::Error;

use crate::push_endpoint::PushEndpoint;
use crate::stored_words::stored_words;
use crate::{DeviceId, SessionId, UserId};

/// The most devices of a person. Beyond it, the one unseen longest is removed.
pub const MAX_DEVICES: i64 = 20;
/// The longest token of Firebase Cloud Messaging, in bytes.
pub const MAX_TOKEN_BYTES: usize = 4096;
/// The longest Firebase installation id, in bytes. They have 22; Google promises nothing.
const MAX_FID_BYTES: usize = 256;
/// An uncompressed point of P-256 (RFC 8291, section 3.1), and the secret beside it (section 3.2).
const POINT_BYTES: usize = 65;
const SECRET_BYTES: usize = 16;

stored_words!(
    /// What a device runs.
    Platform {
        /// iOS or iPadOS.
        Ios = "ios",
        /// Android.
        Android = "android",
        /// A browser.
        Web = "web",
    }
);

stored_words!(
    /// How a device is reached.
    DeviceKind {
        /// By a registration token of Firebase Cloud Messaging.
        Fcm = "fcm",
        /// By a Firebase installation id, which takes the place of tokens.
        Fid = "fid",
        /// By the Web Push standard (RFC 8030).
        WebPush = "webpush",
    }
);

impl DeviceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Fcm, Self::Fid, Self::WebPush];
}

stored_words!(
    /// Why a device is not pushed to.
    InactiveReason {
        /// It was not seen for long.
        Unseen = "unseen",
        /// It is registered for another sender than us.
        OtherSender = "other_sender",
        /// Its push service calls it gone.
        Gone = "gone",
    }
);

/// Where the pushes of a device go. It is a secret, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum DeviceAddress {
    /// A registration token.
    Fcm(String),
    /// An installation id.
    Fid(String),
    /// A browser's subscription.
    WebPush(Subscription),
}

/// A browser's subscription: where its pushes go, and the keys that they are encrypted for.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The address at the push service.
    pub endpoint: PushEndpoint,
    /// The browser's public key.
    pub p256dh: Vec<u8>,
    /// The secret that the push service does not know.
    pub auth: Vec<u8>,
}

/// Only the kind.
impl fmt::Debug for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceAddress").field(&self.kind()).finish()
    }
}

/// Only where it is.
impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.endpoint).finish()
    }
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// Empty, too long, or with characters that no token has.
    #[error("must be a token of 1 to {MAX_TOKEN_BYTES} visible ASCII characters")]
    Token,
    /// Not an installation id.
    #[error("must be a Firebase installation id")]
    InstallationId,
    /// Not a public key of a browser.
    #[error("must be an uncompressed point of P-256, 65 bytes in base64url")]
    PublicKey,
    /// Not the secret of a subscription.
    #[error("must be 16 bytes in base64url")]
    Secret,
}

impl DeviceAddress {
    /// A registration token.
    ///
    /// # Errors
    /// [`InvalidAddress::Token`].
    pub fn fcm(token: String) -> Result<Self, InvalidAddress> {
        let is_token =
            (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then_some(Self::Fcm(token)).ok_or(InvalidAddress::Token)
    }

    /// An installation id.
    ///
    /// # Errors
    /// [`InvalidAddress::InstallationId`].
    pub fn fid(id: String) -> Result<Self, InvalidAddress> {
        let is_id = (1..=MAX_FID_BYTES).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_id.then_some(Self::Fid(id)).ok_or(InvalidAddress::InstallationId)
    }

    /// How it is reached.
    pub const fn kind(&self) -> DeviceKind {
        match self {
            Self::Fcm(_) => DeviceKind::Fcm,
            Self::Fid(_) => DeviceKind::Fid,
            Self::WebPush(_) => DeviceKind::WebPush,
        }
    }

    /// The token, id or endpoint.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Fcm(token) => token,
            Self::Fid(id) => id,
            Self::WebPush(subscription) => subscription.endpoint.as_str(),
        }
    }

    /// The subscription of a browser.
    pub const fn subscription(&self) -> Option<&Subscription> {
        match self {
            Self::WebPush(subscription) => Some(subscription),
            Self::Fcm(_) | Self::Fid(_) => None,
        }
    }
}

impl Subscription {
    /// A subscription with these keys.
    ///
    /// # Errors
    /// The key that is none. Whether a point is on the curve is not looked at: that takes arithmetic (`is_public_key` of the
    /// providers).
    pub fn new(endpoint: PushEndpoint, p256dh: Vec<u8>, auth: Vec<u8>) -> Result<Self, InvalidAddress> {
        if p256dh.len() != POINT_BYTES || p256dh.first() != Some(&4) {
            return Err(InvalidAddress::PublicKey);
        }
        if auth.len() != SECRET_BYTES {
            return Err(InvalidAddress::Secret);
        }
        Ok(Self { endpoint, p256dh, auth })
    }
}

/// A device, as its person sees it.
#[derive(Debug, Clone)]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// What it runs.
    pub platform: Platform,
    /// How it is reached.
    pub kind: DeviceKind,
    /// The client's name for it.
    pub name: Option<String>,
    /// Whether it is pushed to.
    pub is_active: bool,
    /// Whether it was registered by the session that asks.
    pub is_current: bool,
    /// When it was registered, or its session was refreshed, to the day.
    pub last_active: DateTime<Utc>,
    /// When it was registered first.
    pub created_at: DateTime<Utc>,
}

/// A device, as operators see it: nothing by which it could be reached.
#[derive(Debug, Clone, Serialize)]
pub struct KnownDevice {
    /// The device.
    pub id: DeviceId,
    /// Whose it is.
    pub user_id: UserId,
    /// What it runs.
    pub platform: Platform,
    /// How it is reached.
    pub kind: DeviceKind,
    /// Whether it is pushed to while its session lasts.
    pub is_active: bool,
    /// Why it is not.
    pub inactive_reason: Option<InactiveReason>,
    /// Since when it is not.
    pub inactive_since: Option<DateTime<Utc>>,
    /// When it was registered, or its session was refreshed, to the day.
    pub last_active: DateTime<Utc>,
    /// When it was registered first.
    pub created_at: DateTime<Utc>,
}

/// What else operators see of a single device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceDetails {
    /// The device.
    #[serde(flatten)]
    pub device: KnownDevice,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// Whether that session is over: then it is not pushed to, active or not.
    pub session_is_over: bool,
    /// The host of a browser's push service.
    pub push_service_host: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push_endpoint::PushHosts;

    #[test]
    fn tokens_and_ids_are_what_their_services_give_out() {
        assert_eq!(
            DeviceAddress::fcm("dQw4:APA91b_-x".to_owned()).unwrap().kind(),
            DeviceKind::Fcm
        );
        for bad in ["", "a b", "a\n", "ü", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert_eq!(DeviceAddress::fcm(bad.to_owned()), Err(InvalidAddress::Token));
        }
        assert!(DeviceAddress::fid("fJ1c8mRkT0-dQw4_w9WgXc".to_owned()).is_ok());
        for bad in ["", "a:b", &"x".repeat(MAX_FID_BYTES + 1)] {
            assert_eq!(DeviceAddress::fid(bad.to_owned()), Err(InvalidAddress::InstallationId));
        }
    }

    #[test]
    fn a_subscription_has_the_keys_of_the_standard_and_shows_none_of_it() {
        let endpoint = PushHosts::default()
            .endpoint("https://web.push.apple.com/secret")
            .unwrap();
        let point = [&[4][..], &[7; 64]].concat();
        let subscription = Subscription::new(endpoint.clone(), point.clone(), vec![9; 16]).unwrap();
        let shown = format!("{:?}", DeviceAddress::WebPush(subscription.clone())) + &format!("{subscription:?}");
        assert!(!shown.contains("secret") && !shown.contains("7, 7"), "{shown}");
        let compressed = Subscription::new(endpoint.clone(), vec![2; 33], vec![9; 16]);
        assert_eq!(compressed.err(), Some(InvalidAddress::PublicKey));
        assert_eq!(
            Subscription::new(endpoint, point, vec![9; 15]).err(),
            Some(InvalidAddress::Secret)
        );
    }
}
