//! Circuit breaker: decides whether a provider is asked.
//!
//! - **Closed**: requests are sent. The breaker opens when [`FAILED_KEYS_TO_OPEN`] request keys have failed since the last
//!   complete answer, or at once when the provider states how long to wait, or rejects our key, account or settings.
//! - **Open(until)**: no request is sent. When the time is over, the next request becomes the trial.
//! - **Half-open**: one trial request is under way. Its first event closes the breaker on probation: until an answer
//!   completes, the next key that fails for the first time opens it again. If the trial fails, the breaker opens for twice
//!   as long as before, for [`MAX_BACKOFF`] at most.
//!
//! A request key counts once; repeated failures of one key do not trip the breaker, because a provider may fail for one
//! message only. Keys that have failed also wait by a back-off of their own while the breaker is open: when a trial of such
//! a key fails, only the wait of such keys doubles, and a key that has not failed may send a trial beside it. So a few
//! messages that always fail hold up others once, for [`INITIAL_BACKOFF`] at most.
//!
//! [`FAILED_KEYS_TO_OPEN`]: state::FAILED_KEYS_TO_OPEN
//! [`INITIAL_BACKOFF`]: state::INITIAL_BACKOFF
//! [`MAX_BACKOFF`]: outcome::MAX_BACKOFF

mod outcome;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use self::state::{BreakerState, Transition};
use crate::ai::call::RequestKey;
use crate::ai::error::{AiError, CircuitOpen, Failure};

/// The circuit breaker of one provider. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct CircuitBreaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: &'static str,
    state: Mutex<BreakerState>,
}

/// The right to send one request. Dropped without a report, it says nothing about the provider, and another request may
/// become the trial.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: CircuitBreaker,
    key: RequestKey,
    /// The number of the trial, if the request is one.
    trial: Option<u64>,
}

impl CircuitBreaker {
    /// A closed breaker; `provider` is its name in logs.
    pub(crate) fn new(provider: &'static str) -> Self {
        Self(Arc::new(Shared {
            provider,
            state: Mutex::default(),
        }))
    }

    /// Takes a permit for one request.
    ///
    /// # Errors
    /// The wait, while requests with this key may not be sent.
    pub(crate) fn acquire(&self, key: RequestKey, now: Instant) -> Result<Permit, CircuitOpen> {
        let mut state = self.state();
        if let Some(retry_after) = state.wait(key, now) {
            return Err(CircuitOpen { retry_after });
        }
        Ok(Permit {
            breaker: self.clone(),
            key,
            trial: state.start(key, now),
        })
    }

    /// Checks whether [`Self::acquire`] would succeed. If the request would be the trial, the trial is reserved for `key` for
    /// a moment, so that of many waiting requests only one prepares a call.
    ///
    /// # Errors
    /// The wait, while requests with this key may not be sent.
    pub(crate) fn reserve(&self, key: RequestKey, now: Instant) -> Result<(), CircuitOpen> {
        let mut state = self.state();
        if let Some(retry_after) = state.wait(key, now) {
            return Err(CircuitOpen { retry_after });
        }
        state.reserve(key, now);
        Ok(())
    }

    /// The failure that an operator has to repair, while the breaker is open because of one. Waiting does not help then.
    pub(crate) fn operator_failure(&self) -> Option<Failure> {
        self.state().operator_failure().cloned()
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, transition: Transition, code: &'static str) {
        let provider = self.0.provider;
        match transition {
            Transition::None => {}
            Transition::Closed => tracing::info!(provider, "provider answers again; circuit breaker closed"),
            Transition::Opened {
                was_closed,
                alert_operator,
            } => {
                if was_closed {
                    tracing::warn!(provider, code, "provider is failing; circuit breaker opened");
                }
                if alert_operator {
                    tracing::error!(
                        provider,
                        code,
                        "provider rejects our key, account or settings; repair needed"
                    );
                }
            }
        }
    }
}

impl Permit {
    /// Reports the first event of the answer.
    pub(crate) fn started(&self) {
        let transition = self.breaker.state().on_first_event(self.trial);
        self.breaker.log(transition, "");
    }

    /// Reports a complete answer.
    pub(crate) fn succeeded(self) {
        let transition = self.breaker.state().on_success(self.trial);
        self.breaker.log(transition, "");
    }

    /// Reports a failure, before the first event or after it.
    pub(crate) fn failed(self, error: &AiError, now: Instant) {
        let transition = self.breaker.state().on_failure(self.key, self.trial, error, now);
        self.breaker.log(transition, error.code());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.trial.is_some() {
            self.breaker.state().on_drop(self.trial);
        }
    }
}
