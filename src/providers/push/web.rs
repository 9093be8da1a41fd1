//! Web Push (RFC 8030, 8291, 8292): browsers, and whatever else speaks the standard, with no account anywhere.
//!
//! The endpoint of a subscription comes from a client, so it is untrusted: it is checked again before each send, its
//! name must lead to public addresses, and redirects are not followed.

mod encryption;
mod message;
mod refusals;
mod resolver;
mod vapid;

use std::sync::Arc;
use std::time::Duration;

use cura_domain::app_link::AppLink;
use cura_domain::device::Subscription;
use cura_domain::push_endpoint::PushHosts;
use cura_domain::{Clock, UserId};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use thiserror::Error;

use self::encryption::encrypt;
pub use self::encryption::is_public_key;
use self::refusals::Refusals;
use self::resolver::{PublicAddresses, is_no_public_address};
use self::vapid::Signatures;
pub use self::vapid::{InvalidVapidKey, InvalidVapidSubject, VapidKey, VapidSubject};
use crate::push::alert_pause::AlertPause;
use crate::push::http::{self, no_answer, retry_after};
use crate::push::message::{Banner, LIFETIME_SECONDS, Push};
use crate::push::permits::{Permits, SendPermit};
use crate::push::verdict::{Meaning, Verdict, of_web_push};

/// How long a subscription is left alone whose service answers with a redirect.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(5 * 60);

/// The client of every push service. Cheap to clone.
#[derive(Clone)]
pub struct WebPush(Arc<Parts>);

struct Parts {
    http: Client,
    key: VapidKey,
    signatures: Signatures,
    hosts: PushHosts,
    app_link: Option<AppLink>,
    clock: Clock,
    permits: Permits,
    alert: AlertPause,
    refusals: Refusals,
}

/// The client cannot be built with what this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the client for push services cannot be built")]
pub struct NoWebPush;

impl WebPush {
    /// A client that signs with this key. `hosts` are the push services that are allowed beside those of browsers; a
    /// banner leads to `app_link`.
    ///
    /// # Errors
    /// When no TLS client can be built.
    pub fn new(
        key: VapidKey,
        subject: VapidSubject,
        hosts: PushHosts,
        app_link: Option<AppLink>,
        clock: Clock,
    ) -> Result<Self, NoWebPush> {
        let http = http::client().dns_resolver(PublicAddresses::new(hosts.clone()));
        Ok(Self(Arc::new(Parts {
            http: http.build().map_err(|_| NoWebPush)?,
            signatures: Signatures::new(&key, subject).map_err(|_| NoWebPush)?,
            key,
            hosts,
            app_link,
            clock,
            permits: Permits::default(),
            alert: AlertPause::default(),
            refusals: Refusals::default(),
        })))
    }

    /// The key that browsers subscribe for: an uncompressed point of P-256.
    pub fn public_key(&self) -> [u8; 65] {
        self.0.key.public_key()
    }

    /// Waits for the right to send, before anything is recorded of it.
    pub async fn permit(&self) -> Option<SendPermit> {
        self.0.permits.acquire().await
    }

    /// The right to send, if there is one at this moment.
    pub(super) fn try_permit(&self) -> Option<SendPermit> {
        self.0.permits.try_acquire()
    }

    /// Sends a banner to a browser of `person`. `is_of_old_key` says that the browser subscribed for a key that we had before. A
    /// dismissal is never sent: browsers show something for every push, and withdraw the permission after silent ones.
    pub async fn send(
        &self,
        _permit: SendPermit,
        person: UserId,
        subscription: &Subscription,
        is_of_old_key: bool,
        push: &Push<'_>,
    ) -> Verdict {
        let Push::Banner(banner) = push else {
            return Verdict::new(Meaning::OurFault, "not_for_browsers");
        };
        let request = match self.request(subscription, banner) {
            Ok(request) => request,
            Err(verdict) => return verdict,
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if is_no_public_address(&error) => {
                return Verdict::new(Meaning::Again(None), "no_public_address");
            }
            Err(error) => return Verdict::new(Meaning::Again(None), no_answer(&error)),
        };
        let retry_after = retry_after(&response, self.0.clock.now());
        let is_refused_signature = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let verdict = of_web_push(response.status().as_u16(), retry_after, is_of_old_key);
        match verdict.meaning {
            Meaning::Misconfigured if is_refused_signature => {
                self.0.refusals.add(person, self.0.clock.now());
                self.0.signatures.refused(&subscription.endpoint.origin());
                self.alert(subscription.endpoint.host(), &verdict.code);
                verdict
            }
            // Clients choose endpoints: what one of them answers says nothing of the others.
            Meaning::Closed => Verdict::new(Meaning::Again(Some(LEFT_ALONE_FOR)), verdict.code),
            Meaning::Sent => {
                self.0.refusals.end();
                verdict
            }
            _ => verdict,
        }
    }

    /// Whether nobody takes our signature, as far as is known.
    pub(super) fn is_failing(&self) -> bool {
        self.0.refusals.are_of_all(self.0.clock.now())
    }

    /// The request, or why there is none.
    fn request(&self, subscription: &Subscription, banner: &Banner<'_>) -> Result<RequestBuilder, Verdict> {
        let endpoint = &subscription.endpoint;
        // The operator may have taken the host from WEBPUSH_HOSTS since.
        if self.0.hosts.endpoint(endpoint.as_str()).as_ref() != Ok(endpoint) {
            return Err(Verdict::new(Meaning::Misconfigured, "endpoint_not_allowed"));
        }
        let plaintext = message::plaintext(banner, self.0.app_link.as_ref())
            .ok_or_else(|| Verdict::new(Meaning::OurFault, "too_large"))?;
        // It can never be pushed to.
        let body = encrypt(plaintext, subscription).map_err(|_| Verdict::new(Meaning::Gone, "invalid_key"))?;
        let authorization = self.0.signatures.authorization(&endpoint.origin(), self.0.clock.now());
        let mut authorization = authorization
            .ok()
            .and_then(|value| HeaderValue::try_from(value).ok())
            .ok_or_else(|| Verdict::new(Meaning::Misconfigured, "not_signed"))?;
        authorization.set_sensitive(true);
        let mut request = self
            .0
            .http
            .post(endpoint.as_str())
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_ENCODING, "aes128gcm")
            .header("TTL", LIFETIME_SECONDS)
            .header("Urgency", if banner.about.is_some() { "high" } else { "normal" })
            .body(body);
        // A newer push about the same conversation replaces one that is not delivered yet (RFC 8030, section 5.4).
        if let Some(tag) = Push::Banner(*banner).tag() {
            request = request.header("Topic", tag);
        }
        Ok(request)
    }

    fn alert(&self, host: &str, code: &str) {
        if self.0.alert.is_due() {
            tracing::error!(
                host,
                code,
                "a push service refuses our signature; browsers there get no pushes: check VAPID_SUBJECT and the clock"
            );
        }
    }
}
