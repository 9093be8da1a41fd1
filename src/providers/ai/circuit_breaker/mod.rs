//! Circuit breaker: decides whether a provider is asked.
//!
//! What one person's messages bring about concerns that person only; what holds for everybody is found out by a **trial**, a
//! small request of our own, with our words in it and nobody else's.
//!
//! - **Closed**: requests are sent. It becomes suspect when requests of two persons have failed since the last complete
//!   answer, or [`FAILED_KEYS_TO_HOLD`] of one, or when the provider once rejected our key, account or settings. Then a trial is sent,
//!   while requests go on. If it fails, the breaker opens.
//! - **Open(until)**: no request is sent. When the time is over and somebody asks, a trial is sent. If it fails, the breaker
//!   stays open, for twice as long as before, for [`MAX_BACKOFF`] at most; else it closes.
//!
//! One trial is under way at a time, and not more than one every [`TRIAL_INTERVAL`] while the breaker is closed.
//!
//! A rejected key, account or setting may be a glitch of a proxy. While a trial fails like that, requests wait and another one
//! follows every [`CHECK_INTERVAL`]. Only after [`CONFIRMED_AFTER`] it is **confirmed**: an operator is alerted, and requests
//! fail at once instead of waiting. Trials go on, every [`RECHECK_INTERVAL`] while somebody asks and every [`OPERATOR_BACKOFF`]
//! while nobody does; the first one that is answered ends it. A complete answer to a request that was under way, or in another
//! process, brings the next trial forward, as if somebody asked; it is no proof by itself, because it may have begun
//! before, or with another key.
//!
//! A person of whose requests [`FAILED_KEYS_TO_HOLD`] have failed since their last complete answer is **held**: their requests
//! wait, longer after each further failure, for [`MAX_BACKOFF`] at most. So does one whose request the provider told how long to
//! wait. Retries of one request count once: a provider may fail for one message only. A person whose request was paid for when
//! our key, account or settings were rejected waits until a trial has ended, because it may be paid for once more only.
//!
//! [`FAILED_KEYS_TO_HOLD`]: persons::FAILED_KEYS_TO_HOLD
//! [`MAX_BACKOFF`]: outcome::MAX_BACKOFF
//! [`CHECK_INTERVAL`]: outcome::CHECK_INTERVAL
//! [`RECHECK_INTERVAL`]: outcome::RECHECK_INTERVAL
//! [`CONFIRMED_AFTER`]: outcome::CONFIRMED_AFTER
//! [`OPERATOR_BACKOFF`]: outcome::OPERATOR_BACKOFF
//! [`TRIAL_INTERVAL`]: state::TRIAL_INTERVAL

mod outcome;
mod persons;
mod state;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::UserId;
use tokio::time::Instant;

use self::state::{BreakerState, Transition};
use crate::ai::call::RequestKey;
use crate::ai::error::{AiError, CircuitOpen, Failure};
use crate::ai::gate::GateState;

/// The circuit breaker of one provider. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct CircuitBreaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: &'static str,
    state: Mutex<BreakerState>,
    /// Complete answers, to persons and to trials.
    answers: AtomicU64,
}

/// The right to send one request. Dropped without a report, it says nothing about the provider.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: CircuitBreaker,
    person: Option<UserId>,
    key: RequestKey,
}

/// A trial that is to be sent. Dropped without a report, it says nothing, and another one follows.
#[derive(Debug)]
pub(crate) struct Trial {
    breaker: CircuitBreaker,
    number: u64,
}

impl CircuitBreaker {
    /// A closed breaker; `provider` is its name in logs.
    pub(crate) fn new(provider: &'static str) -> Self {
        Self(Arc::new(Shared {
            provider,
            state: Mutex::default(),
            answers: AtomicU64::new(0),
        }))
    }

    /// Takes a permit for one request, on behalf of `person` if there is one.
    ///
    /// # Errors
    /// The wait, while the breaker is open or holds the person.
    pub(crate) fn acquire(&self, person: Option<UserId>, key: RequestKey, now: Instant) -> Result<Permit, CircuitOpen> {
        self.check(person, now)?;
        Ok(Permit {
            breaker: self.clone(),
            person,
            key,
        })
    }

    /// Checks whether [`Self::acquire`] would succeed.
    ///
    /// # Errors
    /// The wait, while the breaker is open or holds the person.
    pub(crate) fn check(&self, person: Option<UserId>, now: Instant) -> Result<(), CircuitOpen> {
        match self.state().wait(person, now) {
            Some(retry_after) => Err(CircuitOpen { retry_after }),
            None => Ok(()),
        }
    }

    /// Whether requests of anybody may have to wait.
    pub(crate) fn holds_anybody(&self, now: Instant) -> bool {
        self.state().holds_anybody(now)
    }

    /// The trial that is due, if one is: the caller sends it.
    pub(crate) fn start_trial(&self, now: Instant) -> Option<Trial> {
        let number = self.state().start_trial(now)?;
        Some(Trial {
            breaker: self.clone(),
            number,
        })
    }

    /// The trial that is due after the one with this number, unless another one was sent meanwhile.
    pub(crate) fn start_trial_after(&self, number: u64, now: Instant) -> Option<Trial> {
        let number = self.state().start_trial_after(number, now)?;
        Some(Trial {
            breaker: self.clone(),
            number,
        })
    }

    /// The failure that an operator has to repair, while the breaker is open because of one. Waiting does not help then.
    pub(crate) fn operator_failure(&self, now: Instant) -> Option<Failure> {
        self.state().operator_failure(now).cloned()
    }

    /// The code of what everybody's requests fail with, while the breaker is open.
    pub(crate) fn fault(&self, now: Instant) -> Option<&'static str> {
        self.state().fault(now)
    }

    /// How many complete answers there were.
    pub(crate) fn answers(&self) -> u64 {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// What operators are told of it: its state, the code of why, when the next request may be sent, and how many persons are held.
    pub(crate) fn gate(&self, now: Instant) -> (GateState, Option<&'static str>, Option<Duration>, usize) {
        let state = self.state();
        let (gate, code, wait) = state.gate(now);
        (gate, code, wait, state.held_persons(now))
    }

    /// Whether it is confirmed that an operator has to repair something.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.state().is_confirmed()
    }

    /// When to find out whether a confirmed fault is over, because there is a reason to think so; `None` if that is planned already.
    pub(crate) fn plan_recheck(&self) -> Option<Instant> {
        self.state().plan_recheck()
    }

    /// When the next trial is to be sent, also if nobody asks.
    pub(crate) fn next_own_trial(&self, now: Instant) -> Option<Instant> {
        self.state().next_own_trial(now)
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, transition: Transition, code: &'static str) {
        let provider = self.0.provider;
        match transition {
            Transition::None => {}
            Transition::NotConfirmed => {
                tracing::info!(
                    provider,
                    "requests failed, but the provider answers our own; it is asked as before"
                );
            }
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
    /// Reports a complete answer.
    pub(crate) fn succeeded(self) {
        self.breaker.0.answers.fetch_add(1, Ordering::Relaxed);
        self.breaker.state().on_success(self.person);
    }

    /// Reports a failure, before the first event or after it, of a request that may have been paid for or not.
    pub(crate) fn failed(self, error: &AiError, is_paid: bool, now: Instant) {
        let mut state = self.breaker.state();
        if is_paid {
            state.await_trial_after(self.person, error);
        }
        state.on_failure(self.person, self.key, error, now);
    }
}

impl Trial {
    /// Its number: each trial has a higher one.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Reports how the trial ended.
    pub(crate) fn ended(self, result: &Result<(), AiError>, now: Instant) {
        if result.is_ok() {
            self.breaker.0.answers.fetch_add(1, Ordering::Relaxed);
        }
        let transition = self
            .breaker
            .state()
            .on_trial_end(self.number, result.as_ref().err(), now);
        let code = result.as_ref().err().map_or("", AiError::code);
        self.breaker.log(transition, code);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.breaker.state().on_trial_dropped(self.number);
    }
}
