//! Passwords: argon2id, computed off the async threads, a bounded number at a time.
//!
//! A hash costs 19 MiB and tens of milliseconds of a core. As many are computed at a time as there are permits, each in the
//! memory of its permit, so hashing holds `permits × 19 MiB` and no more, however many sign in. (A stored hash that is more
//! expensive than today's gets memory of its own while it is checked.) Callers beyond a bounded queue get
//! [`PasswordError::Busy`], so a flood of sign-ins does not slow down other requests.

mod argon2id;
mod permits;

use std::sync::Arc;

use argon2::Block;
use cura_domain::Entropy;
use cura_domain::account::NewPassword;
use thiserror::Error;

pub use argon2id::{Checked, HashCost};
use argon2id::{HashError, Hasher};
use permits::{PermitError, Permits};

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    hasher: Hasher,
    /// Checked for an unknown address, so that the answer takes as long as for a known one.
    decoy: Arc<str>,
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
        let decoy = hasher.hash(
            &entropy.bytes::<32>(),
            &entropy.bytes(),
            &mut vec![Block::new(); hasher.memory_blocks()],
        )?;
        Ok(Self {
            permits: Permits::new(parallel, hasher.memory_blocks()),
            hasher,
            decoy: decoy.into(),
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

    /// Checks `password` against `stored`. Without a stored hash it takes the same time and is wrong.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] when no permit is free in time; [`PasswordError::Hash`] when the stored hash is broken.
    pub async fn check(&self, password: &str, stored: Option<&str>) -> Result<Checked, PasswordError> {
        let (hasher, password) = (self.hasher.clone(), NewPassword::normalized(password));
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.decoy).to_owned();
        let check = move |memory: &mut [Block]| hasher.check(password.as_bytes(), &stored, memory);
        match self.permits.run(check).await?? {
            Checked::Right { .. } if !known => Ok(Checked::Wrong),
            checked => Ok(checked),
        }
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
