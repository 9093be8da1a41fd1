//! Passwords: argon2id, computed off the async threads, a bounded number at a time.
//!
//! A hash costs 19 MiB and tens of milliseconds of a core. Whoever floods the sign-in gets "busy", and everybody else
//! keeps their pace. The hashing threads are a few of our own: the allocator keeps each thread's 19 MiB for its next hash,
//! and on the runtime's many blocking threads that came to hundreds of megabytes.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use cura_domain::Entropy;
use cura_domain::account::NewPassword;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

/// How long a caller waits for its turn before it is told to come back.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// How expensive a hash is. The default is OWASP's first recommendation for argon2id (19 MiB, 2 passes, 1 lane).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl Default for HashCost {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
        }
    }
}

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    cost: HashCost,
    /// What an unknown address is checked against, so that it takes as long as a known one.
    decoy: Arc<str>,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    threads: SyncSender<Work>,
    entropy: Entropy,
}

type Work = Box<dyn FnOnce() + Send>;

/// Why a password could not be hashed or checked.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// Too many people sign in at this moment.
    #[error("too many passwords are being checked")]
    Busy,
    /// The hash function refused its input or the stored hash is broken.
    #[error("argon2 failed: {0}")]
    Hash(String),
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The password is another one.
    Wrong,
    /// The password is right.
    Right {
        /// Whether the stored hash is cheaper than what we make today.
        outdated: bool,
    },
}

impl Passwords {
    /// Hashes with `cost`, at most `parallel` at a time.
    ///
    /// # Errors
    /// When argon2 does not accept the cost.
    pub fn new(cost: HashCost, parallel: usize, entropy: Entropy) -> Result<Self, PasswordError> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash_now(&argon2, &entropy.bytes::<32>(), &entropy.bytes())?;
        Ok(Self {
            argon2,
            cost,
            decoy: decoy.into(),
            threads: start_threads(parallel)?,
            turns: Arc::new(Semaphore::new(parallel)),
            waiting: Arc::new(Semaphore::new(parallel * 32)),
            entropy,
        })
    }

    /// The PHC string of `password`, with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] when no turn comes in time.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let (argon2, salt, password) = (self.argon2.clone(), self.entropy.bytes(), password.to_owned());
        self.in_turn(move || hash_now(&argon2, password.as_bytes(), &salt))
            .await
    }

    /// Checks `password` against `stored`; without a stored hash it takes the same time and is wrong.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] when no turn comes in time; [`PasswordError::Hash`] when the stored hash is broken.
    pub async fn check(&self, password: &str, stored: Option<&str>) -> Result<Checked, PasswordError> {
        let (argon2, cost, password) = (self.argon2.clone(), self.cost, NewPassword::typed(password));
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.decoy).to_owned();
        self.in_turn(move || {
            let hash = PasswordHash::new(&stored).map_err(failed)?;
            // The stored parameters decide how it is computed, not ours.
            if argon2.verify_password(password.as_bytes(), &hash).is_err() || !known {
                return Ok(Checked::Wrong);
            }
            let params = Params::try_from(&hash).map_err(failed)?;
            Ok(Checked::Right {
                outdated: params.m_cost() < cost.memory_kib || params.t_cost() < cost.passes,
            })
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Busy)?;
        let (done, outcome) = oneshot::channel();
        let work = Box::new(move || {
            // Held by the work, not by the caller: a caller that hangs up does not free a core that is still busy.
            let _turn = turn;
            // Nobody may be waiting any more.
            let _ = done.send(work());
        });
        // There is a place for everybody who has a turn.
        self.threads.try_send(work).map_err(|_| PasswordError::Busy)?;
        outcome.await.map_err(failed)?
    }
}

/// Threads that do nothing but hash; they end when the last [`Passwords`] is dropped.
fn start_threads(count: usize) -> Result<SyncSender<Work>, PasswordError> {
    let (sender, receiver) = sync_channel::<Work>(count);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..count {
        let receiver = Arc::clone(&receiver);
        let next = move || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        std::thread::Builder::new()
            .name("password-hash".to_owned())
            .spawn(move || {
                while let Ok(work) = next() {
                    work();
                }
            })
            .map_err(failed)?;
    }
    Ok(sender)
}

fn hash_now(argon2: &Argon2<'_>, password: &[u8], salt: &[u8; 16]) -> Result<String, PasswordError> {
    Ok(argon2
        .hash_password_with_salt(password, salt)
        .map_err(failed)?
        .to_string())
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
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
    async fn without_a_stored_hash_nothing_is_right() {
        assert_eq!(passwords(64).check("anything", None).await.unwrap(), Checked::Wrong);
    }

    #[tokio::test]
    async fn a_flood_is_told_to_come_back() {
        let passwords = passwords(64);
        let everybody = Arc::clone(&passwords.waiting).acquire_many_owned(32).await.unwrap();
        assert!(matches!(passwords.hash("x").await, Err(PasswordError::Busy)));
        drop(everybody);
        assert!(passwords.hash("x").await.is_ok());
    }
}
