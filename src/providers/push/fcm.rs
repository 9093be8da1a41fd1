//! Firebase Cloud Messaging, HTTP v1: Android, iOS and browsers with Firebase.

mod access_tokens;
mod message;

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::Clock;
use cura_domain::device::DeviceAddress;
use gcp_auth::Token;
use reqwest::Client;
use thiserror::Error;
use tokio::time::Instant;
use url::{Host, Url};

use self::access_tokens::AccessTokens;
pub use self::access_tokens::InvalidCredentials;
use crate::Secret;
use crate::push::alert_pause::AlertPause;
use crate::push::http::{self, no_answer, retry_after};
use crate::push::message::Push;
use crate::push::permits::{Permits, SendPermit};
use crate::push::verdict::{Meaning, Verdict, of_fcm};
use crate::short_answer::beginning;

/// How long nothing is sent after an answer that is not Firebase's.
const CLOSED_FOR: Duration = Duration::from_secs(5 * 60);

/// The client of one Firebase project. Cheap to clone.
#[derive(Clone)]
pub struct Fcm(Arc<Parts>);

struct Parts {
    http: Client,
    url: String,
    project: String,
    tokens: AccessTokens,
    clock: Clock,
    permits: Permits,
    closed_until: Mutex<Option<Instant>>,
    apple_alert: AlertPause,
}

/// Where Firebase is: `https`, or `http` on this machine. [`Default`] is Google's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FcmUrl(String);

/// Not where Firebase can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be an https address without a query; http only on this machine")]
pub struct InvalidFcmUrl;

impl Default for FcmUrl {
    fn default() -> Self {
        Self("https://fcm.googleapis.com".to_owned())
    }
}

impl FromStr for FcmUrl {
    type Err = InvalidFcmUrl;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(raw).map_err(|_| InvalidFcmUrl)?;
        let is_base = url.query().is_none() && url.fragment().is_none();
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let base = url.as_str().trim_end_matches('/').to_owned();
        // The token of our project goes there.
        (is_safe(&url) && is_base && !has_credentials)
            .then_some(Self(base))
            .ok_or(InvalidFcmUrl)
    }
}

/// Whether what is sent there is read by nobody on the way: by `https`, or on this machine.
fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

impl Fcm {
    /// A client with the key file of a service account.
    ///
    /// # Errors
    /// When the credentials cannot be used.
    pub fn new(credentials: Secret, base: &FcmUrl, clock: Clock) -> Result<Self, InvalidCredentials> {
        let (tokens, project) = AccessTokens::new(credentials, clock.clone())?;
        Ok(Self(Arc::new(Parts {
            http: http::client().build().map_err(|_| InvalidCredentials::NotAKey)?,
            url: format!("{}/v1/projects/{project}/messages:send", base.0),
            project,
            tokens,
            clock,
            permits: Permits::default(),
            closed_until: Mutex::default(),
            apple_alert: AlertPause::default(),
        })))
    }

    /// The project whose devices are reached.
    pub fn project(&self) -> &str {
        &self.0.project
    }

    /// Waits for the right to send, before anything is recorded of it.
    pub async fn permit(&self) -> Option<SendPermit> {
        self.0.permits.acquire().await
    }

    /// The right to send, if there is one at this moment.
    pub(super) fn try_permit(&self) -> Option<SendPermit> {
        self.0.permits.try_acquire()
    }

    /// Whether nothing is sent at the moment, because an answer was not Firebase's.
    pub fn is_closed(&self) -> bool {
        self.closed_until().is_some_and(|until| until > Instant::now())
    }

    /// Whether it takes nothing from us: its answers are not Firebase's, or there is no access token.
    pub(super) fn is_failing(&self) -> bool {
        self.is_closed() || self.0.tokens.has_failed()
    }

    /// Makes sure that there is an access token; `false` when there is none.
    pub async fn is_authorized(&self) -> bool {
        self.0.tokens.get().await.is_ok()
    }

    /// Sends a push to a device of Firebase. A token of ours that is refused is replaced once.
    pub async fn send(&self, _permit: SendPermit, address: &DeviceAddress, push: &Push<'_>) -> Verdict {
        if self.is_closed() {
            return Verdict::new(Meaning::Again(Some(CLOSED_FOR)), "closed");
        }
        let (first, token) = self.try_to_send(address, push).await;
        let verdict = match (first.meaning, token) {
            (Meaning::NewToken, Some(token)) => {
                // The next one is not fetched anew when it is refused, too: others try with it at this moment.
                self.0.tokens.refused(&token);
                self.try_to_send(address, push).await.0
            }
            _ => first,
        };
        match verdict.meaning {
            // Refused twice: the credentials are wrong, not the device.
            Meaning::NewToken | Meaning::Closed => {
                self.close(&verdict.code);
                Verdict::new(Meaning::Again(Some(CLOSED_FOR)), verdict.code)
            }
            Meaning::Misconfigured => {
                if self.0.apple_alert.is_due() {
                    tracing::error!(
                        code = verdict.code,
                        "Firebase cannot push to Apple devices: check the APNs key of the project"
                    );
                }
                verdict
            }
            _ => verdict,
        }
    }

    /// One request, and the token that it was sent with.
    async fn try_to_send(&self, address: &DeviceAddress, push: &Push<'_>) -> (Verdict, Option<Arc<Token>>) {
        let Some(body) = message::body(address, push, self.0.clock.now()) else {
            return (Verdict::new(Meaning::OurFault, "not_a_device_of_firebase"), None);
        };
        let Ok(token) = self.0.tokens.get().await else {
            return (Verdict::new(Meaning::Again(None), "no_access_token"), None);
        };
        let request = self.0.http.post(&self.0.url).bearer_auth(token.as_str()).json(&body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return (Verdict::new(Meaning::Again(None), no_answer(&error)), None),
        };
        let (status, retry_after) = (response.status(), retry_after(&response, self.0.clock.now()));
        let verdict = match beginning(response).await {
            Ok(answer) => of_fcm(status.as_u16(), retry_after, &answer),
            // Whatever it was, it is not known: not even whether it was Firebase.
            Err(error) => Verdict::new(Meaning::Again(None), no_answer(&error)),
        };
        (verdict, Some(token))
    }

    fn close(&self, code: &str) {
        let was_closed = self.closed_until().replace(Instant::now() + CLOSED_FOR);
        if was_closed.is_none_or(|until| until <= Instant::now()) {
            tracing::error!(
                code,
                "Firebase does not answer as it should; nothing is pushed for five minutes: check FIREBASE_CREDENTIALS_PATH and FCM_URL"
            );
        }
    }

    fn closed_until(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing panics while holding it.
        self.0.closed_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firebase_is_reached_by_https_or_on_this_machine() {
        let url = |raw: &str| raw.parse::<FcmUrl>().map(|url| url.0);
        assert_eq!(url("https://fcm.googleapis.com/"), Ok(FcmUrl::default().0));
        assert_eq!(url("http://127.0.0.1:9/a/"), Ok("http://127.0.0.1:9/a".to_owned()));
        for bad in [
            "",
            "fcm.googleapis.com",
            "http://fcm.googleapis.com",
            "ftp://fcm.googleapis.com",
            "https://fcm.googleapis.com/?a",
            "https://user@fcm.googleapis.com",
            "https://:password@fcm.googleapis.com",
            "https://user:password@fcm.googleapis.com",
        ] {
            assert_eq!(url(bad), Err(InvalidFcmUrl), "{bad}");
        }
    }
}
