//! Tokens for Google's services. gcp_auth signs for them and fetches them, but has no timeout, fetches one for each that waits, and
//! cannot be told that a token is bad: here one is fetched at a time, in bounded time, and one that was refused is forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::Clock;
use gcp_auth::{CustomServiceAccount, Token, TokenProvider};
use secrecy::ExposeSecret;
use thiserror::Error;

use crate::Secret;

const SCOPES: [&str; 1] = ["https://www.googleapis.com/auth/firebase.messaging"];
/// How long fetching a token may take, waiting for somebody else who fetches one included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// A token that is valid for less is replaced.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// Credentials that cannot be used.
#[derive(Debug, Error)]
#[error("is not the key file of a service account")]
pub struct InvalidCredentials;

/// No token came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no access token")]
pub(super) struct NoToken;

pub(super) struct AccessTokens {
    credentials: Secret,
    clock: Clock,
    /// One fetches at a time.
    fetching: tokio::sync::Mutex<CustomServiceAccount>,
    current: Mutex<Option<Arc<Token>>>,
    has_failed: AtomicBool,
}

impl AccessTokens {
    /// For the key file of a service account. Gives its project, too.
    pub(super) fn new(credentials: Secret, clock: Clock) -> Result<(Self, String), InvalidCredentials> {
        let account = account(&credentials)?;
        let project = account.project_id().ok_or(InvalidCredentials)?.to_owned();
        let tokens = Self {
            credentials,
            clock,
            fetching: tokio::sync::Mutex::new(account),
            current: Mutex::default(),
            has_failed: AtomicBool::new(false),
        };
        Ok((tokens, project))
    }

    /// A token that is valid for a minute at least.
    pub(super) async fn get(&self) -> Result<Arc<Token>, NoToken> {
        if let Some(valid) = self.valid() {
            return Ok(valid);
        }
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch())
            .await
            .unwrap_or(Err(NoToken));
        let had_failed = self.has_failed.swap(fetched.is_err(), Ordering::Relaxed);
        if fetched.is_err() && !had_failed {
            tracing::error!(
                "Google gives no access token; nothing is pushed by Firebase: check FIREBASE_CREDENTIALS_PATH and the way to Google"
            );
        }
        fetched
    }

    /// Whether no token came when one was needed last.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    async fn fetch(&self) -> Result<Arc<Token>, NoToken> {
        let mut account = self.fetching.lock().await;
        // Somebody else may have fetched one meanwhile.
        if let Some(valid) = self.valid() {
            return Ok(valid);
        }
        // Its own memory may hold one that was refused.
        *account = self::account(&self.credentials).map_err(|_| NoToken)?;
        // What went wrong may quote the endpoint: it is not shown.
        let token = account.token(&SCOPES).await.map_err(|_| NoToken)?;
        *self.current() = Some(Arc::clone(&token));
        Ok(token)
    }

    /// Forgets a token that was refused, unless another one is there already.
    pub(super) fn refused(&self, token: &Arc<Token>) {
        self.current().take_if(|current| Arc::ptr_eq(current, token));
    }

    fn valid(&self) -> Option<Arc<Token>> {
        let until = self.clock.now() + MARGIN;
        self.current()
            .as_ref()
            .filter(|token| token.expires_at() > until)
            .cloned()
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Token>>> {
        // Nothing panics while holding it.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn account(credentials: &Secret) -> Result<CustomServiceAccount, InvalidCredentials> {
    CustomServiceAccount::from_json(credentials.expose_secret()).map_err(|_| InvalidCredentials)
}
