//! Rate limits: a budget per minute for each rate class, by user, by session, and by address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cura_app::Caller;
use cura_app::limits::{Limit, RateDecision, RateLimiter};
use cura_app::sign_in_guard::Place;
use cura_domain::SessionId;
use poem::http::{HeaderMap, StatusCode};
use poem::{FromRequest, Request, RequestBody, Result};

use crate::http::client_address::{TrustedProxies, client_key};
use crate::http::policy::RateClass;
use crate::http::problem::Problem;
use crate::http::rate_limit_headers;

/// Requests per minute for each rate class; 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Operations that check a password.
    pub auth: u32,
    /// Operations that start an answer.
    pub chat: u32,
    /// Operations that receive files.
    pub upload: u32,
    /// Everything else.
    pub default: u32,
}

/// The rate limits of a server. Cheap to clone.
#[derive(Clone)]
pub struct RateLimits(Arc<Parts>);

struct Parts {
    auth: Option<Limit>,
    chat: Option<Limit>,
    upload: Option<Limit>,
    default: Option<Limit>,
    proxies: TrustedProxies,
}

impl RateLimits {
    /// Counts with `limiter`. The client's address is taken from `X-Forwarded-For` if the request comes from one of `proxies`.
    pub fn new(limiter: &RateLimiter, rates: Rates, proxies: TrustedProxies) -> Self {
        let limit = |name, per_minute| NonZeroU32::new(per_minute).map(|rate| limiter.limit(name, rate));
        Self(Arc::new(Parts {
            auth: limit("auth", rates.auth),
            chat: limit("chat", rates.chat),
            upload: limit("upload", rates.upload),
            default: limit("default", rates.default),
            proxies,
        }))
    }

    /// The limits of one request, of which nothing is charged yet.
    pub(crate) fn of_request(&self, request: &Request, class: RateClass) -> RateLimit {
        RateLimit(Arc::new(RateLimitParts {
            limits: self.clone(),
            class,
            address: self.0.proxies.client(&request.remote_addr().0, request.headers()),
            caller: OnceLock::new(),
            tightest: Mutex::new(None),
        }))
    }

    fn limit(&self, class: RateClass) -> Option<&Limit> {
        match class {
            RateClass::Auth => self.0.auth.as_ref(),
            RateClass::Chat => self.0.chat.as_ref(),
            RateClass::Upload => self.0.upload.as_ref(),
            RateClass::Default => self.0.default.as_ref(),
            RateClass::Free => None,
        }
    }
}

/// What one request is charged. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RateLimit(Arc<RateLimitParts>);

struct RateLimitParts {
    limits: RateLimits,
    class: RateClass,
    address: IpAddr,
    /// Set once the caller is authenticated.
    caller: OnceLock<Caller>,
    /// Of all limits charged, the decision with the least remaining.
    tightest: Mutex<Option<RateDecision>>,
}

impl RateLimit {
    /// Charges an authenticated caller, unless the operation is charged later.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_caller(&self, caller: Caller) -> Result<(), Problem> {
        self.0.caller.get_or_init(|| caller);
        match self.0.class {
            // Charged after the idempotency key was looked up: repeating a request is free.
            RateClass::Chat => Ok(()),
            // Wrong passwords are counted by account: who presents a right one does not pay for those who guess.
            RateClass::Auth => self.charge_address().await,
            class => self.charge(class, &by_user(caller)).await,
        }
    }

    /// Charges the caller for starting an answer.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_chat(&self, caller: Caller) -> Result<(), Problem> {
        self.charge(RateClass::Chat, &by_user(caller)).await
    }

    /// Counts a repeated request, which is answered even if the limit is reached.
    pub(crate) async fn charge_repetition(&self, caller: Caller) {
        let _ = self.charge(RateClass::Default, &by_user(caller)).await;
    }

    /// Charges a request that was refused before anything was charged: to the caller, or to the address if the caller is unknown.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_refused(&self) -> Result<(), Problem> {
        match self.0.caller.get() {
            Some(caller) => self.charge(self.0.class, &by_user(*caller)).await,
            None => self.charge_address().await,
        }
    }

    /// Charges the client's address.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_address(&self) -> Result<(), Problem> {
        let class = if self.0.class == RateClass::Auth {
            RateClass::Auth
        } else {
            RateClass::Default
        };
        self.charge(class, &format!("a:{}", client_key(self.0.address))).await
    }

    /// Charges a session whose refresh token or ticket is presented, as the token proves.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_session(&self, session: SessionId) -> Result<(), Problem> {
        self.charge(RateClass::Default, &format!("s:{session}")).await
    }

    /// Where the client is, for what is counted by account.
    pub(crate) fn place(&self) -> Place {
        Place::new(client_key(self.0.address))
    }

    /// Whether anything was charged, or nothing has to be.
    pub(crate) fn is_charged(&self) -> bool {
        self.tightest().is_some() || self.0.class == RateClass::Free
    }

    /// Sets the headers that say how much remains.
    pub(crate) fn announce(&self, headers: &mut HeaderMap) {
        // Unless a used-up quota is announced, which is tighter.
        if let Some(decision) = self.tightest().filter(|_| !rate_limit_headers::are_set(headers)) {
            let reset = whole_seconds(decision.reset);
            rate_limit_headers::insert(headers, decision.limit.into(), decision.remaining.into(), reset);
        }
    }

    async fn charge(&self, class: RateClass, key: &str) -> Result<(), Problem> {
        let Some(limit) = self.0.limits.limit(class) else {
            return Ok(());
        };
        let decision = limit.spend(key).await;
        {
            let mut tightest = self.0.tightest.lock().unwrap_or_else(PoisonError::into_inner);
            let is_tighter =
                |known: &RateDecision| (decision.allowed, decision.remaining) < (known.allowed, known.remaining);
            if tightest.as_ref().is_none_or(is_tighter) {
                *tightest = Some(decision);
            }
        }
        if decision.allowed {
            return Ok(());
        }
        let retry_after = Duration::from_secs(whole_seconds(decision.retry_after));
        let detail = "Too many requests; please try again later.";
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).with_retry_after(retry_after))
    }

    fn tightest(&self) -> Option<RateDecision> {
        *self.0.tightest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> FromRequest<'a> for &'a RateLimit {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(request.data::<RateLimit>().ok_or_else(Problem::internal)?)
    }
}

fn by_user(caller: Caller) -> String {
    format!("u:{}", caller.user)
}

/// Rounded up: a client that comes back too early would be refused again.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
