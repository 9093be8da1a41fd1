//! Who may call how often: a budget a minute for each kind of route, by account and by address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cura_app::Caller;
use cura_app::limits::{Limit, RateDecision, RateLimiter};
use cura_domain::account::Email;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::{FromRequest, Request, RequestBody, Result};
use sha2::{Digest, Sha256};

use crate::http::client_address::{TrustedProxies, client_key};
use crate::http::problem::Problem;
use crate::http::rate_limit_headers;

/// What a route costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Where passwords are tried: by address and by account.
    Auth,
    /// Where answers are asked for.
    Chat,
    /// Where files come in.
    Upload,
    /// Everything else.
    Default,
    /// Probes, documents, and what is not there.
    Free,
}

/// How often per minute; 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Where passwords are tried.
    pub auth: u32,
    /// Where answers are asked for.
    pub chat: u32,
    /// Where files come in.
    pub upload: u32,
    /// Everything else.
    pub default: u32,
}

/// The limits of a server. Cheap to clone.
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
    /// Counts with `limiter`; believes `proxies` about where requests come from.
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

    /// The budgets of one request.
    pub(crate) fn turn(&self, request: &Request, template: Option<&str>) -> RateLimit {
        RateLimit(Arc::new(RateLimitParts {
            limits: self.clone(),
            class: class_of(request.method(), template),
            address: self.0.proxies.client(&request.remote_addr().0, request.headers()),
            caller: OnceLock::new(),
            tightest: Mutex::new(None),
        }))
    }

    fn of(&self, class: Class) -> Option<&Limit> {
        match class {
            Class::Auth => self.0.auth.as_ref(),
            Class::Chat => self.0.chat.as_ref(),
            Class::Upload => self.0.upload.as_ref(),
            Class::Default => self.0.default.as_ref(),
            Class::Free => None,
        }
    }
}

/// Where passwords are tried.
const AUTH_ROUTES: [&str; 3] = ["/auth/register", "/auth/login", "/auth/password"];
/// Where answers are asked for.
const CHAT_ROUTES: [&str; 5] = [
    "/chat/send",
    "/chat/stream",
    "/chat/stream/{conversation_id}",
    "/chat/messages/{message_id}/regenerate",
    "/chat/messages/{message_id}/edit",
];

/// What a route of the OpenAPI document costs.
fn class_of(method: &Method, template: Option<&str>) -> Class {
    let Some(template) = template else {
        return Class::Free;
    };
    match (method.as_str(), template) {
        ("POST", path) if AUTH_ROUTES.contains(&path) => Class::Auth,
        ("DELETE", "/users/me") => Class::Auth,
        ("POST", path) if CHAT_ROUTES.contains(&path) => Class::Chat,
        ("POST", "/uploads/file" | "/users/me/avatar") => Class::Upload,
        (_, path) if path.starts_with("/health") => Class::Free,
        _ => Class::Default,
    }
}

/// One request and what it may spend.
#[derive(Clone)]
pub(crate) struct RateLimit(Arc<RateLimitParts>);

struct RateLimitParts {
    limits: RateLimits,
    class: Class,
    address: IpAddr,
    /// Who it turned out to be.
    caller: OnceLock<Caller>,
    /// Of all budgets looked at, the one with the least left.
    tightest: Mutex<Option<RateDecision>>,
}

impl RateLimit {
    /// Spends the caller's budget, as far as their route is one that costs before anything is known of the request.
    ///
    /// # Errors
    /// 429 when there is none left.
    pub(crate) async fn charge_caller(&self, caller: Caller) -> Result<(), Problem> {
        self.0.caller.get_or_init(|| caller);
        match self.0.class {
            // The key of a message is looked at first: a repetition is free.
            Class::Chat => Ok(()),
            Class::Auth => {
                self.charge_address().await?;
                self.spend(Class::Auth, &by_user(caller)).await
            }
            class => self.spend(class, &by_user(caller)).await,
        }
    }

    /// Spends the caller's budget for asking for answers.
    ///
    /// # Errors
    /// 429 when there is none left.
    pub(crate) async fn charge_chat(&self, caller: Caller) -> Result<(), Problem> {
        self.spend(Class::Chat, &by_user(caller)).await
    }

    /// Counts a repetition of what was asked before: it is answered whatever is left.
    pub(crate) async fn charge_repetition(&self, caller: Caller) {
        let _ = self.spend(Class::Default, &by_user(caller)).await;
    }

    /// Spends the budget of whoever is refused before anything was counted: the caller's, or, of somebody unknown, that of
    /// their address.
    ///
    /// # Errors
    /// 429 when there is none left.
    pub(crate) async fn charge_refused(&self) -> Result<(), Problem> {
        match self.0.caller.get() {
            Some(caller) => self.spend(self.0.class, &by_user(*caller)).await,
            None => self.charge_address().await,
        }
    }

    /// Spends the budget of the address the request comes from.
    ///
    /// # Errors
    /// 429 when there is none left.
    pub(crate) async fn charge_address(&self) -> Result<(), Problem> {
        let class = if self.0.class == Class::Auth {
            Class::Auth
        } else {
            Class::Default
        };
        self.spend(class, &format!("a:{}", client_key(self.0.address))).await
    }

    /// Spends the budget of a refresh token.
    ///
    /// # Errors
    /// 429 when there is none left.
    pub(crate) async fn charge_token(&self, token: &str) -> Result<(), Problem> {
        self.spend(Class::Default, &format!("t:{}", fingerprint(token))).await
    }

    /// Spends the budgets of the address the request comes from, and of the account it is about.
    ///
    /// # Errors
    /// 429 when one of them is empty.
    pub(crate) async fn charge_account(&self, email: &Email) -> Result<(), Problem> {
        self.charge_address().await?;
        // The address of a person goes nowhere in clear.
        self.spend(Class::Auth, &format!("e:{}", fingerprint(email.as_str())))
            .await
    }

    /// Whether anything was looked at.
    pub(crate) fn is_counted(&self) -> bool {
        self.tightest().is_some() || self.0.class == Class::Free
    }

    /// Says in an answer what is left.
    pub(crate) fn announce(&self, headers: &mut HeaderMap) {
        // Unless something tighter has been said.
        if let Some(verdict) = self.tightest().filter(|_| !rate_limit_headers::are_set(headers)) {
            let reset = whole_seconds(verdict.reset);
            rate_limit_headers::insert(headers, verdict.limit.into(), verdict.remaining.into(), reset);
        }
    }

    async fn spend(&self, class: Class, who: &str) -> Result<(), Problem> {
        let Some(limit) = self.0.limits.of(class) else {
            return Ok(());
        };
        let verdict = limit.spend(who).await;
        {
            let mut tightest = self.0.tightest.lock().unwrap_or_else(PoisonError::into_inner);
            let tighter =
                |known: &RateDecision| (verdict.allowed, verdict.remaining) < (known.allowed, known.remaining);
            if tightest.as_ref().is_none_or(tighter) {
                *tightest = Some(verdict);
            }
        }
        if verdict.allowed {
            return Ok(());
        }
        let retry_after = Duration::from_secs(whole_seconds(verdict.retry_after));
        let detail = "Too many requests; come back later.";
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

/// Half of a hash: enough to tell any two apart.
fn fingerprint(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let half: [u8; 16] = std::array::from_fn(|n| hash[n]);
    format!("{:032x}", u128::from_be_bytes(half))
}

fn by_user(caller: Caller) -> String {
    format!("u:{}", caller.user)
}

/// Rounded up: who comes back a moment early would be refused again.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route that is renamed must not fall among everything else unnoticed.
    #[test]
    fn what_costs_something_else_is_in_the_document() {
        let document = crate::openapi::openapi();
        let paths = document["paths"].as_object().map(serde_json::Map::keys);
        let known: Vec<&String> = paths.into_iter().flatten().collect();
        // Not there yet: files.
        for template in CHAT_ROUTES.iter().chain(&AUTH_ROUTES) {
            assert!(known.iter().any(|known| known == template), "{template} is no route");
        }
    }
}
