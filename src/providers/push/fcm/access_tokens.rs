//! Tokens for Google's services. gcp_auth signs for them and fetches them, but has no timeout, fetches one for each that waits, and
//! cannot be told that a token is bad: here one is fetched at a time, in bounded time, and one that was refused is forgotten. It
//! also asks five times each: that none came is remembered for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::Clock;
use gcp_auth::{CustomServiceAccount, Token, TokenProvider};
use http::Uri;
use secrecy::ExposeSecret;
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use super::is_safe;
use crate::Secret;
use crate::push::news::is_news;

const SCOPES: [&str; 1] = ["https://www.googleapis.com/auth/firebase.messaging"];
/// How long fetching a token may take. Whoever waits for it waits no longer, unless whoever fetches it gives up meanwhile.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nobody asks again after no token came: the pause of a push whose service is not ready (`NOT_READY_PAUSE` in
/// `jobs/devices/deliver.rs`), so that a push that waited for it asks, and those that come meanwhile keep nobody.
const NOT_ASKED_FOR: TimeDelta = TimeDelta::seconds(15);
/// A token that is valid for less is replaced.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// Credentials that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidCredentials {
    /// Something else.
    #[error("is not the key file of a service account")]
    NotAKey,
    /// Nobody can be asked for a token there.
    #[error("has a `token_uri` that is no https address")]
    TokenUri,
}

/// What gcp_auth does not show of a key file.
#[derive(Deserialize)]
struct KeyFile {
    token_uri: String,
}

/// No token came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no access token")]
pub(super) struct NoToken;

pub(super) struct AccessTokens {
    credentials: Secret,
    clock: Clock,
    /// One fetches at a time.
    fetching: tokio::sync::Mutex<CustomServiceAccount>,
    known: Mutex<Known>,
}

/// What came of fetching.
#[derive(Default)]
struct Known {
    token: Option<Arc<Token>>,
    /// When no token came last, unless one has come since.
    failed_at: Option<DateTime<Utc>>,
}

impl AccessTokens {
    /// For the key file of a service account. Gives its project, too.
    pub(super) fn new(credentials: Secret, clock: Clock) -> Result<(Self, String), InvalidCredentials> {
        let account = account(&credentials)?;
        let project = account.project_id().ok_or(InvalidCredentials::NotAKey)?.to_owned();
        let file = serde_json::from_str::<KeyFile>(credentials.expose_secret());
        // At one that is no address, gcp_auth would panic.
        if !file.is_ok_and(|file| is_token_uri(&file.token_uri)) {
            return Err(InvalidCredentials::TokenUri);
        }
        let tokens = Self {
            credentials,
            clock,
            fetching: tokio::sync::Mutex::new(account),
            known: Mutex::default(),
        };
        Ok((tokens, project))
    }

    /// A token that is valid for a minute at least. If none came a moment ago, there is none now.
    pub(super) async fn get(&self) -> Result<Arc<Token>, NoToken> {
        if let Some(known) = self.known_at(self.clock.now()) {
            return known;
        }
        let mut account = self.fetching.lock().await;
        // Somebody else may have fetched one meanwhile, or asked in vain.
        if let Some(known) = self.known_at(self.clock.now()) {
            return known;
        }
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch(&mut account)).await;
        let fetched = fetched.unwrap_or(Err(NoToken));
        // Before anybody else may fetch.
        self.remember(fetched.as_ref().ok());
        fetched
    }

    /// Whether no token came when one was needed last, as far as is known.
    pub(super) fn has_failed(&self) -> bool {
        let now = self.clock.now();
        self.known().failed_at.is_some_and(|failed_at| is_news(failed_at, now))
    }

    /// Forgets a token that was refused, unless another one is there already.
    pub(super) fn refused(&self, token: &Arc<Token>) {
        self.known().token.take_if(|current| Arc::ptr_eq(current, token));
    }

    async fn fetch(&self, account: &mut CustomServiceAccount) -> Result<Arc<Token>, NoToken> {
        // Its own memory may hold one that was refused.
        *account = self::account(&self.credentials).map_err(|_| NoToken)?;
        // What went wrong may quote the endpoint: it is not shown.
        account.token(&SCOPES).await.map_err(|_| NoToken)
    }

    fn remember(&self, token: Option<&Arc<Token>>) {
        let mut known = self.known();
        let failed_before = known.failed_at.take().is_some();
        if let Some(token) = token {
            known.token = Some(Arc::clone(token));
            return;
        }
        known.failed_at = Some(self.clock.now());
        drop(known);
        if !failed_before {
            tracing::error!(
                "Google gives no access token; nothing is pushed by Firebase: check FIREBASE_CREDENTIALS_PATH and the way to Google"
            );
        }
    }

    /// What is known without asking: a token that is valid, or that there is none at the moment.
    fn known_at(&self, now: DateTime<Utc>) -> Option<Result<Arc<Token>, NoToken>> {
        let known = self.known();
        let valid = known.token.as_ref().filter(|token| token.expires_at() > now + MARGIN);
        if let Some(valid) = valid {
            return Some(Ok(Arc::clone(valid)));
        }
        // A clock that was set back keeps nobody waiting.
        let is_recent = |failed_at| (TimeDelta::zero()..NOT_ASKED_FOR).contains(&(now - failed_at));
        known.failed_at.is_some_and(is_recent).then_some(Err(NoToken))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while holding it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn account(credentials: &Secret) -> Result<CustomServiceAccount, InvalidCredentials> {
    CustomServiceAccount::from_json(credentials.expose_secret()).map_err(|_| InvalidCredentials::NotAKey)
}

/// Whether our signature may be sent there, and gcp_auth can: it takes the address as it is written.
fn is_token_uri(raw: &str) -> bool {
    raw.parse::<Uri>().is_ok() && Url::parse(raw).is_ok_and(|url| is_safe(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_asked_for_by_https_or_on_this_machine() {
        for good in [
            "https://oauth2.googleapis.com/token",
            "http://127.0.0.1:9/token",
            "http://localhost:9/token",
        ] {
            assert!(is_token_uri(good), "{good}");
        }
        for bad in [
            "",
            "u",
            "/token",
            "oauth2.googleapis.com/token",
            "http://oauth2.googleapis.com/token",
            "https://",
            "https://oauth2.googleapis.com/to ken",
            " https://oauth2.googleapis.com/token",
            "https://oauth2.googleapis.com/token\n",
        ] {
            assert!(!is_token_uri(bad), "{bad:?}");
        }
    }
}
