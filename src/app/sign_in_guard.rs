//! What stands between a password and those who guess it: failures make tries wait, but not where the user has signed in from before.
//!
//! They are counted by account and place, and by account. Of the failures from one place, too few count for the account to make it
//! wait: whoever guesses from one address keeps the owner from signing in nowhere else.
//! Failed tries are logged with keyed hashes, so that one sees that it is the same address or
//! account, and not which.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use cura_domain::UserId;
use cura_domain::account::Email;
use cura_live::{FailureWaits, Live};
use cura_store::known_places::PlaceHash;

use crate::derived_key::{DerivedKey, DerivedKeys, SecretKeys};
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

/// The waits of those who guess. Cheap to clone.
#[derive(Clone)]
pub struct SignInWaits {
    accounts: FailureWaits,
    /// Of one account at one place.
    places: FailureWaits,
    /// While this is not reached, a failure at one place counts for its account: one less than makes the account wait. `None` if that
    /// would be none.
    counted: Option<FailureWaits>,
}

impl SignInWaits {
    /// Waits that begin after so many failures a minute.
    pub fn new(live: &Live, free: NonZeroU32) -> Self {
        Self {
            accounts: live.failure_waits("sign-in", free),
            places: live.failure_waits("sign-in-place", free),
            counted: NonZeroU32::new(free.get() - 1).map(|free| live.failure_waits("sign-in-counted", free)),
        }
    }

    /// Counts a try as a failure in advance, and says where it was counted.
    async fn begin(&self, account: &str, place: &str) -> Result<Counted, Duration> {
        self.places.begin(place).await?;
        let of_account = match &self.counted {
            Some(counted) => counted.begin(place).await.is_ok(),
            None => true,
        };
        let begun = if of_account {
            self.accounts.begin(account).await
        } else {
            self.accounts.look(account).await
        };
        let counted = Counted {
            place: place.to_owned(),
            account: of_account.then(|| account.to_owned()),
        };
        if let Err(wait) = begun {
            self.take_back_at_place(&counted).await;
            return Err(wait);
        }
        Ok(counted)
    }

    async fn take_back(&self, counted: &Counted) {
        self.take_back_at_place(counted).await;
        if let Some(account) = &counted.account {
            self.accounts.take_back(account).await;
        }
    }

    async fn take_back_at_place(&self, counted: &Counted) {
        self.places.take_back(&counted.place).await;
        if let (Some(waits), Some(_)) = (&self.counted, &counted.account) {
            waits.take_back(&counted.place).await;
        }
    }
}

/// Where a try was counted.
struct Counted {
    place: String,
    account: Option<String>,
}

/// Counts and logs failed tries. Cheap to clone.
#[derive(Clone)]
pub struct SignInGuard {
    /// `None`: no limit.
    waits: Option<SignInWaits>,
    accounts: DerivedKey,
    places: DerivedKeys,
    logs: LogKey,
}

/// A try that was counted as a failure in advance.
pub(crate) struct CountedTry<'a> {
    guard: &'a SignInGuard,
    counted: Option<Counted>,
}

impl SignInGuard {
    /// Counts with `waits`, if there are any. Hashes are made with keys derived from `secrets`.
    pub fn new(secrets: SecretKeys<'_>, waits: Option<SignInWaits>) -> Self {
        Self {
            waits,
            accounts: DerivedKey::new(secrets.current, "cura failures of accounts 1"),
            places: DerivedKeys::new(secrets, "cura known places 1"),
            logs: LogKey::new(secrets.current),
        }
    }

    /// What is stored of a place.
    pub(crate) fn hash_of(&self, place: &Place) -> PlaceHash {
        half(self.places.mac(place.0.as_bytes()))
    }

    /// What may be stored of a place: with the previous secret key, too, if it is set.
    pub(crate) fn hashes_of(&self, place: &Place) -> Vec<PlaceHash> {
        self.places.macs(place.0.as_bytes()).map(half).collect()
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
            return Ok(CountedTry {
                guard: self,
                counted: None,
            });
        };
        let key = self.key_of(&account.text());
        let begun = waits.begin(&key, &self.key_at_place(account, place)).await;
        self.counted(waits, account, place, begun)
    }

    /// Counts a try at an account by its place only, before its password is checked: for a place that the user has signed in from, and
    /// from which too many have tried.
    pub(crate) async fn begin_at_place(
        &self,
        account: Account<'_>,
        place: &Place,
    ) -> Result<CountedTry<'_>, TooManyFailures> {
        let Some(waits) = self.waits.as_ref() else {
            return Ok(CountedTry {
                guard: self,
                counted: None,
            });
        };
        let key = self.key_at_place(account, place);
        let begun = waits.places.begin(&key).await;
        let counted = begun.map(|()| Counted {
            place: key,
            account: None,
        });
        self.counted(waits, account, place, counted)
    }

    fn counted(
        &self,
        waits: &SignInWaits,
        account: Account<'_>,
        place: &Place,
        begun: Result<Counted, Duration>,
    ) -> Result<CountedTry<'_>, TooManyFailures> {
        match begun {
            Ok(counted) => Ok(CountedTry {
                guard: self,
                counted: Some(counted),
            }),
            Err(wait) => {
                let (address, account) = (self.log_name(&place.0), self.log_name(&account.text()));
                tracing::info!(%address, %account, wait_seconds = wait.as_secs(),
                    "a sign-in has to wait, because too many of its account have failed");
                let free = waits.accounts.free();
                Err(TooManyFailures { wait, free })
            }
        }
    }

    fn key_of(&self, text: &str) -> String {
        hex(half(self.accounts.mac(text.as_bytes())))
    }

    fn key_at_place(&self, account: Account<'_>, place: &Place) -> String {
        self.key_of(&format!("{} at {}", account.text(), place.0))
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

    fn log_name(&self, text: &str) -> String {
        self.logs.hide(text)
    }
}

impl CountedTry<'_> {
    /// It did not fail.
    pub(crate) async fn take_back(self) {
        if let (Some(waits), Some(counted)) = (&self.guard.waits, &self.counted) {
            waits.take_back(counted).await;
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
        let guard = |secret: &[u8]| SignInGuard::new(SecretKeys::only(secret), None);
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
