//! Rate limits: a budget per minute for each rate class, by user, by session, and by address.
//!
//! Everything is charged before it is done: callers before their session is looked up ([`session_gate`]), requests for an answer
//! before their body is read ([`answer_charge`]), and whoever is not signed in by address before anything else.

mod answer_charge;
mod budgets;
mod session_gate;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cura_app::Caller;
use cura_app::limits::RateDecision;
use cura_app::sign_in_guard::Place;
use cura_domain::SessionId;
use poem::http::{HeaderMap, StatusCode};
use poem::{FromRequest, Request, RequestBody, Result};

use crate::http::client_address::client_key;
use crate::http::policy::RateClass;
use crate::http::problem::Problem;
use crate::http::rate_limit_headers;
pub(crate) use answer_charge::AnswerCharge;
pub use budgets::{RateLimits, Rates};

/// What says that a request may be a repetition.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What one request is charged. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RateLimit(Arc<RateLimitParts>);

struct RateLimitParts {
    limits: RateLimits,
    class: RateClass,
    address: IpAddr,
    /// Whether the request has an `Idempotency-Key`.
    has_key: bool,
    is_address_charged: AtomicBool,
    /// Whether it costs nothing, whatever comes of it.
    is_free: AtomicBool,
    /// The refusal of the address, where a sign-in may go on all the same.
    refused_unless_known: Mutex<Option<Problem>>,
    /// Set once the caller is authenticated.
    caller: OnceLock<Caller>,
    /// What a request for an answer has paid.
    answer_charge: Mutex<Option<AnswerCharge>>,
    /// Of all limits charged, the decision with the least remaining.
    tightest: Mutex<Option<RateDecision>>,
}

impl RateLimit {
    /// The limits of one request, of which nothing is charged yet.
    pub(crate) fn of(limits: &RateLimits, request: &Request, class: RateClass) -> Self {
        Self(Arc::new(RateLimitParts {
            limits: limits.clone(),
            class,
            address: limits.client_address(request),
            has_key: request.headers().contains_key(IDEMPOTENCY_KEY),
            is_address_charged: AtomicBool::new(false),
            is_free: AtomicBool::new(class == RateClass::Free),
            refused_unless_known: Mutex::default(),
            caller: OnceLock::new(),
            answer_charge: Mutex::new(None),
            tightest: Mutex::new(None),
        }))
    }

    /// Whether the request came by a proxy that is trusted.
    pub(crate) fn trusts_peer(&self, request: &Request) -> bool {
        self.0.limits.trusts_peer(request)
    }

    /// Charges an authenticated caller.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_caller(&self, caller: Caller) -> Result<(), Problem> {
        self.0.caller.get_or_init(|| caller);
        match self.0.class {
            RateClass::Chat => {
                let paid = self.charge_answer(caller, self.0.has_key).await?;
                *self.0.answer_charge.lock().unwrap_or_else(PoisonError::into_inner) = Some(paid);
                Ok(())
            }
            // Wrong passwords are counted by account: who presents a right one does not pay for those who guess.
            RateClass::Auth => self.charge_address().await,
            class => self.charge(class, &by_user(caller)).await,
        }
    }

    /// Charges the address of a client that is not signed in, before anything else is looked at. Refreshing is charged by
    /// session, and only failures of it by address: a client that guesses tokens signs out nobody at the same address.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_stranger(&self) -> Result<(), Problem> {
        match self.0.class {
            RateClass::Free | RateClass::Link | RateClass::Refresh => Ok(()),
            RateClass::SignIn => {
                let Err(refusal) = self.charge_address().await else {
                    return Ok(());
                };
                // Neighbours may have spent it. Whether this is somebody who has signed in from here is a query, so that is limited, too.
                self.charge(RateClass::Default, &self.by_address()).await?;
                *self
                    .0
                    .refused_unless_known
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                Ok(())
            }
            _ => self.charge_address().await,
        }
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

    /// Charges the client's address, once for each request.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_address(&self) -> Result<(), Problem> {
        if self.0.is_address_charged.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let class = match self.0.class {
            class @ (RateClass::Auth | RateClass::SignIn | RateClass::Wide) => class,
            _ => RateClass::Default,
        };
        self.charge(class, &self.by_address()).await
    }

    fn by_address(&self) -> String {
        format!("a:{}", client_key(self.0.address))
    }

    /// The refusal of the client's address, if only somebody who has signed in from there before may go on.
    pub(crate) fn refused_unless_known(&self) -> Option<Problem> {
        let refused = self.0.refused_unless_known.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Charges a session whose refresh token or ticket is presented, as the token proves.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_session(&self, session: SessionId) -> Result<(), Problem> {
        self.charge(RateClass::Default, &format!("s:{session}")).await
    }

    /// Counts a frame, together with those of all sockets of the caller on this server. `false` if there are too many.
    pub(crate) async fn admit_frame(&self, caller: Caller) -> bool {
        match self.0.limits.frames() {
            Some(limit) => limit.spend(&by_user(caller)).await.allowed,
            None => true,
        }
    }

    /// Where the client is, for what is counted by account.
    pub(crate) fn place(&self) -> Place {
        Place::new(client_key(self.0.address))
    }

    /// Whether anything was charged, or nothing has to be.
    pub(crate) fn is_charged(&self) -> bool {
        self.tightest().is_some() || self.0.is_free.load(Ordering::Relaxed)
    }

    /// Lets a request cost nothing that a link of ours has led here, even if it leads to nothing any more.
    pub(crate) fn excuse(&self) {
        self.0.is_free.store(true, Ordering::Relaxed);
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
        self.spend(class, key).await.map(drop)
    }

    /// Spends one request of a budget. `None` if there is no limit.
    async fn spend(&self, class: RateClass, key: &str) -> Result<Option<RateDecision>, Problem> {
        let Some(budgets) = self.0.limits.budgets(class) else {
            return Ok(None);
        };
        let decision = budgets.shared.spend(key).await;
        self.note(decision)?;
        Ok(Some(decision))
    }

    /// Announces the decision, if it is the tightest so far.
    fn note(&self, decision: RateDecision) -> Result<(), Problem> {
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

    /// Announces this decision and no other.
    fn announce_only(&self, decision: Option<RateDecision>) {
        *self.0.tightest.lock().unwrap_or_else(PoisonError::into_inner) = decision;
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
