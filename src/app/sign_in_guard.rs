//! What stands between a password and those who guess it: failures are counted by account, and make tries wait, but not where the
//! user has signed in from before. Failed tries are logged with keyed hashes, so that one sees that it is the same address or
//! account, and not which.

use std::fmt;
use std::time::Duration;

use cura_domain::UserId;
use cura_domain::account::Email;
use cura_live::FailureWaits;
use cura_store::known_places::PlaceHash;

use crate::derived_key::DerivedKey;
use crate::log_key::LogKey;

/// Where a client is: an IPv4 address, or the /64 of an IPv6 address. Never logged.
#[derive(Clone)]
pub struct Place(String);

impl Place {
    /// The place with this name.
    pub fn new(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// Too many passwords of this account were wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords were wrong")]
pub struct TooManyFailures {
    /// How long the account has to wait, at places it has not signed in from.
    pub wait: Duration,
    /// How many failures a minute are free.
    pub free: u32,
}

/// An account, as failures are counted and logged.
#[derive(Clone, Copy)]
pub(crate) enum Account<'a> {
    /// Of somebody who signs in.
    Named(&'a Email),
    /// Of somebody who is signed in.
    Known(UserId),
}

impl Account<'_> {
    fn text(self) -> String {
        match self {
            Self::Named(email) => format!("e:{}", email.as_str()),
            Self::Known(user) => format!("u:{user}"),
        }
    }
}

/// Counts and logs failed tries. Cheap to clone.
#[derive(Clone)]
pub struct SignInGuard {
    /// `None`: no limit.
    waits: Option<FailureWaits>,
    accounts: DerivedKey,
    places: DerivedKey,
    logs: LogKey,
}

/// A try that was counted as a failure in advance.
pub(crate) struct CountedTry<'a> {
    guard: &'a SignInGuard,
    key: Option<String>,
}

impl SignInGuard {
    /// Counts with `waits`, if there are any. Hashes are made with keys derived from `secret`.
    pub fn new(secret: &[u8], waits: Option<FailureWaits>) -> Self {
        Self {
            waits,
            accounts: DerivedKey::new(secret, "cura failures of accounts 1"),
            places: DerivedKey::new(secret, "cura known places 1"),
            logs: LogKey::new(secret),
        }
    }

    /// What is stored of a place.
    pub(crate) fn hash_of(&self, place: &Place) -> PlaceHash {
        half(self.places.mac(place.0.as_bytes()))
    }

    /// Counts a try at an account, before its password is checked. At a place that the user has signed in from, nothing is counted.
    pub(crate) async fn begin(
        &self,
        account: Account<'_>,
        place: &Place,
        knows_place: bool,
    ) -> Result<CountedTry<'_>, TooManyFailures> {
        let waits = self.waits.as_ref().filter(|_| !knows_place);
        let Some(waits) = waits else {
            return Ok(CountedTry { guard: self, key: None });
        };
        let key = hex(half(self.accounts.mac(account.text().as_bytes())));
        match waits.begin(&key).await {
            Ok(()) => Ok(CountedTry {
                guard: self,
                key: Some(key),
            }),
            Err(wait) => {
                let (address, account) = (self.log_name(&place.0), self.log_name(&account.text()));
                tracing::info!(%address, %account, wait_seconds = wait.as_secs(),
                    "a sign-in has to wait, because too many of its account have failed");
                let free = waits.free();
                Err(TooManyFailures { wait, free })
            }
        }
    }

    /// Logs a wrong password, or one of an account that does not exist.
    pub(crate) fn log_failure(&self, account: Account<'_>, place: &Place) {
        let (address, account) = (self.log_name(&place.0), self.log_name(&account.text()));
        tracing::info!(%address, %account, "a sign-in failed: wrong password or unknown account");
    }

    /// Logs a registration of an address that has an account: that, too, tells who has one.
    pub(crate) fn log_taken(&self, account: Account<'_>, place: &Place) {
        let (address, account) = (self.log_name(&place.0), self.log_name(&account.text()));
        tracing::info!(%address, %account, "a registration was refused: the account exists already");
    }

    /// Half as long as a place's hash: enough to tell apart what an operator sees.
    fn log_name(&self, text: &str) -> String {
        self.logs.hide(text)
    }
}

impl CountedTry<'_> {
    /// It did not fail.
    pub(crate) async fn take_back(self) {
        if let (Some(waits), Some(key)) = (&self.guard.waits, &self.key) {
            waits.take_back(key).await;
        }
    }
}

/// Half of a MAC: enough to tell any two apart.
fn half(mac: [u8; 32]) -> [u8; 16] {
    std::array::from_fn(|n| mac[n])
}

fn hex(hash: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_log_is_the_same_each_time_and_says_nothing() {
        let guard = |secret: &[u8]| SignInGuard::new(secret, None);
        let name = guard(b"secret").log_name("203.0.113.1");
        assert_eq!((name.len(), &name), (16, &guard(b"secret").log_name("203.0.113.1")));
        assert_ne!(name, guard(b"secret").log_name("203.0.113.2"));
        assert_ne!(
            name,
            guard(b"other").log_name("203.0.113.1"),
            "nobody can make it without the key"
        );
        assert_eq!(format!("{:?}", Place::new("203.0.113.1".to_owned())), "Place");
    }
}
