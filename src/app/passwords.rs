//! Passwords: argon2id, computed off the async threads, a bounded number at a time.
//!
//! A hash costs 19 MiB and tens of milliseconds of a core. As many are computed at a time as there are permits, each in the
//! memory of its permit, so hashing holds `permits × 19 MiB` and no more, however many sign in. (As long as stored hashes are
//! more expensive than today's, every check gets memory of its own for as much.) Callers beyond a bounded queue get
//! [`PasswordError::Busy`], so a flood of sign-ins does not slow down other requests.

mod argon2id;
mod permits;

use std::sync::{Arc, Mutex, PoisonError};

use argon2::Block;
use cura_domain::Entropy;
use cura_domain::account::NewPassword;
use thiserror::Error;

pub use argon2id::{Checked, HashCost};
use argon2id::{HashError, Hasher, cost_of, spend};
use permits::{PermitError, Permits};

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    hasher: Hasher,
    /// The dearest hash that was seen: every check does as much work, so that time does not say how old a hash is, or whether there
    /// is one.
    dearest: Arc<Mutex<HashCost>>,
    permits: Permits,
    entropy: Entropy,
}

/// Why a password could not be hashed or checked.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// Too many passwords are being hashed at this moment.
    #[error("too many passwords are being checked")]
    Busy,
    /// The hash function refused its input, or the stored hash is broken.
    #[error("argon2 failed: {0}")]
    Hash(String),
}

impl Passwords {
    /// Hashes with `cost`, at most `parallel` at a time.
    ///
    /// # Errors
    /// When argon2 does not accept the cost.
    pub fn new(cost: HashCost, parallel: usize, entropy: Entropy) -> Result<Self, PasswordError> {
        let hasher = Hasher::new(cost)?;
        Ok(Self {
            permits: Permits::new(parallel, hasher.memory_blocks()),
            hasher,
            dearest: Arc::new(Mutex::new(cost)),
            entropy,
        })
    }

    /// The PHC string of `password`, in its normal form, with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] when no permit is free in time.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let (hasher, salt) = (self.hasher.clone(), self.entropy.bytes());
        let password = NewPassword::normalized(password);
        let hash = move |memory: &mut [Block]| hasher.hash(password.as_bytes(), &salt, memory);
        Ok(self.permits.run(hash).await??)
    }

    /// Checks `password` against `stored`. Without a stored hash it does as much work and is wrong.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] when no permit is free in time; [`PasswordError::Hash`] when the stored hash is broken.
    pub async fn check(&self, password: &str, stored: Option<&str>) -> Result<Checked, PasswordError> {
        let (hasher, password) = (self.hasher.clone(), NewPassword::normalized(password));
        let spent = stored.map(cost_of).transpose()?;
        let dearest = self.dearest(spent);
        let left = spent.map_or(Some(dearest), |spent| dearest.minus(spent));
        let stored = stored.map(str::to_owned);
        let check = move |memory: &mut [Block]| {
            let password = password.as_bytes();
            let checked = match stored {
                Some(stored) => hasher.check(password, &stored, memory)?,
                None => Checked::Wrong,
            };
            left.map_or(Ok(()), |left| spend(left, password, memory))?;
            Ok::<_, HashError>(checked)
        };
        Ok(self.permits.run(check).await??)
    }

    /// The dearest hash that was seen, this one included.
    fn dearest(&self, seen: Option<HashCost>) -> HashCost {
        let mut dearest = self.dearest.lock().unwrap_or_else(PoisonError::into_inner);
        *dearest = dearest.max(seen.unwrap_or(*dearest));
        *dearest
    }
}

impl From<HashError> for PasswordError {
    fn from(error: HashError) -> Self {
        Self::Hash(error.to_string())
    }
}

impl From<PermitError> for PasswordError {
    fn from(error: PermitError) -> Self {
        match error {
            PermitError::Busy => Self::Busy,
            PermitError::Lost(error) => Self::Hash(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(memory_kib: u32) -> Passwords {
        let entropy = Entropy::new(|buffer| buffer.fill(7));
        Passwords::new(HashCost { memory_kib, passes: 1 }, 1, entropy).unwrap()
    }

    #[tokio::test]
    async fn a_right_password_is_right_and_a_wrong_one_wrong() {
        let passwords = passwords(64);
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert_eq!(
            passwords.check("correct horse", Some(&hash)).await.unwrap(),
            Checked::Right { outdated: false }
        );
        assert_eq!(
            passwords.check("wrong horse", Some(&hash)).await.unwrap(),
            Checked::Wrong
        );
    }

    #[tokio::test]
    async fn a_hash_cheaper_than_ours_is_outdated() {
        let old = passwords(64).hash("correct horse").await.unwrap();
        let checked = passwords(128).check("correct horse", Some(&old)).await.unwrap();
        assert_eq!(checked, Checked::Right { outdated: true });
    }

    #[test]
    fn what_is_left_of_a_cost_makes_it_whole() {
        let cost = |memory_kib, passes| HashCost { memory_kib, passes };
        for (whole, spent) in [
            (cost(19_456, 2), cost(8, 1)),
            (cost(65_536, 3), cost(19_456, 2)),
            (cost(64, 1), cost(8, 3)),
        ] {
            let left = whole.minus(spent).unwrap();
            let sum = [spent, left]
                .map(|cost| cost.memory_kib * cost.passes)
                .iter()
                .sum::<u32>();
            assert!(
                sum.abs_diff(whole.memory_kib * whole.passes) < whole.passes,
                "{whole:?} {spent:?} {left:?}"
            );
        }
        assert_eq!(cost(64, 1).minus(cost(64, 1)), None);
        assert_eq!(cost(64, 1).minus(cost(128, 1)), None);
        assert_eq!(cost(64, 1).minus(cost(60, 1)), None, "less than the smallest hash");
    }

    #[tokio::test]
    async fn every_check_does_the_work_of_the_dearest_hash_that_was_seen() {
        let passwords = passwords(64);
        let dear = HashCost {
            memory_kib: 256,
            passes: 1,
        };
        assert_eq!(passwords.dearest(None).memory_kib, 64);
        let hash = Passwords::new(dear, 1, Entropy::new(|buffer| buffer.fill(7))).unwrap();
        let hash = hash.hash("correct horse").await.unwrap();
        passwords.check("wrong horse", Some(&hash)).await.unwrap();
        assert_eq!(passwords.dearest(None), dear);
        assert_eq!(passwords.check("wrong horse", None).await.unwrap(), Checked::Wrong);
    }

    #[tokio::test]
    async fn a_password_is_hashed_and_checked_in_one_normal_form() {
        let passwords = passwords(64);
        let (composed, decomposed) = ("\u{fc}ber den Wolken", "u\u{308}ber den Wolken");
        for hashed in [composed, decomposed] {
            let hash = passwords.hash(hashed).await.unwrap();
            for typed in [composed, decomposed] {
                let checked = passwords.check(typed, Some(&hash)).await.unwrap();
                assert_eq!(checked, Checked::Right { outdated: false }, "{hashed:?} {typed:?}");
            }
        }
    }

    #[tokio::test]
    async fn without_a_stored_hash_nothing_is_right() {
        assert_eq!(passwords(64).check("anything", None).await.unwrap(), Checked::Wrong);
    }

    #[tokio::test]
    async fn a_hash_dearer_than_ours_still_verifies() {
        let dear = passwords(128).hash("correct horse").await.unwrap();
        let cheap = passwords(64);
        assert_eq!(
            cheap.check("correct horse", Some(&dear)).await.unwrap(),
            Checked::Right { outdated: false }
        );
        assert_eq!(cheap.check("wrong horse", Some(&dear)).await.unwrap(), Checked::Wrong);
    }

    #[tokio::test]
    async fn what_a_hash_leaves_in_the_memory_does_not_change_the_next() {
        let passwords = passwords(64);
        let first = passwords.hash("correct horse").await.unwrap();
        passwords.hash("battery staple").await.unwrap();
        assert_eq!(passwords.hash("correct horse").await.unwrap(), first);
    }

    #[tokio::test]
    async fn a_broken_stored_hash_is_an_error() {
        for broken in ["", "argon2id", "$argon2id$v=19$m=64,t=1,p=1"] {
            let checked = passwords(64).check("correct horse", Some(broken)).await;
            assert!(matches!(checked, Err(PasswordError::Hash(_))), "{broken}: {checked:?}");
        }
    }
}
