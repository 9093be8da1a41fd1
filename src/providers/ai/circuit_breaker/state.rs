//! The state of a circuit breaker and its transitions, without locks, clocks or logs.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{MAX_BACKOFF, Outcome};
use crate::ai::call::RequestKey;
use crate::ai::error::{AiError, Failure};

/// Request keys that have to fail before the breaker opens.
pub(super) const FAILED_KEYS_TO_OPEN: usize = 5;
/// Failed keys that are remembered: more than can wait for one trial within two minutes.
const MAX_FAILED_KEYS: usize = 64;
/// How long the breaker is open at first; doubled by every failed trial.
pub(super) const INITIAL_BACKOFF: Duration = Duration::from_secs(5);
/// The wait of other requests while a trial is under way or reserved.
pub(super) const TRIAL_WAIT: Duration = Duration::from_secs(1);
/// How long a trial stays reserved: most requests follow within milliseconds, some never do.
const RESERVATION: Duration = Duration::from_millis(250);

/// What a circuit breaker knows; see the [module](super).
#[derive(Debug, Default)]
pub(super) struct BreakerState {
    phase: Phase,
    /// Keys that have failed since the last complete answer, the last one last.
    failed_keys: VecDeque<RequestKey>,
    /// The last back-off; `None` once an answer has completed since.
    backoff: Option<Duration>,
    /// The last back-off of failed keys; not shorter.
    failed_keys_backoff: Option<Duration>,
    /// Whether an operator was alerted since the breaker opened.
    alerted: bool,
    /// What an operator has to repair.
    operator_failure: Option<Failure>,
    reservation: Option<Reservation>,
    /// The number of the last trial: reports of older ones are ignored.
    last_trial: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Instant,
        /// The same for failed keys; not earlier.
        failed_keys_until: Instant,
    },
    HalfOpen {
        since: Instant,
        /// Whether the trial's key has failed before: then a key that has not may send a trial beside it.
        of_failed_key: bool,
    },
}

/// A trial that waits for its request.
#[derive(Debug, Clone, Copy)]
struct Reservation {
    key: RequestKey,
    until: Instant,
}

/// A change of state that operators should see in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    None,
    Closed,
    Opened {
        /// `false` if it was half-open.
        was_closed: bool,
        /// Whether an operator has to act and was not alerted yet.
        alert_operator: bool,
    },
}

impl BreakerState {
    /// How long requests with this key have to wait; `None` if one may be sent now.
    pub(super) fn wait(&self, key: RequestKey, now: Instant) -> Option<Duration> {
        let has_failed = self.has_failed(key);
        let wait = match self.phase {
            Phase::Closed => return None,
            Phase::Open {
                until,
                failed_keys_until,
            } => {
                let until = if has_failed { failed_keys_until } else { until };
                until.saturating_duration_since(now)
            }
            Phase::HalfOpen {
                of_failed_key: true, ..
            } if !has_failed => Duration::ZERO,
            Phase::HalfOpen { .. } => TRIAL_WAIT,
        };
        // A key that has not failed takes precedence over one that has.
        let is_reserved = |reservation: Reservation| {
            reservation.key != key && now < reservation.until && (has_failed || !self.has_failed(reservation.key))
        };
        if wait.is_zero() && self.reservation.is_some_and(is_reserved) {
            return Some(TRIAL_WAIT);
        }
        Some(wait).filter(|wait| !wait.is_zero())
    }

    /// Starts a request that need not wait; the number of its trial, if it is one.
    pub(super) fn start(&mut self, key: RequestKey, now: Instant) -> Option<u64> {
        if self.phase == Phase::Closed {
            return None;
        }
        self.phase = Phase::HalfOpen {
            since: now,
            of_failed_key: self.has_failed(key),
        };
        self.last_trial += 1;
        self.reservation = None;
        Some(self.last_trial)
    }

    /// Reserves the trial for a request that need not wait.
    pub(super) fn reserve(&mut self, key: RequestKey, now: Instant) {
        if self.phase != Phase::Closed {
            let until = now + RESERVATION;
            self.reservation = Some(Reservation { key, until });
        }
    }

    pub(super) fn operator_failure(&self) -> Option<&Failure> {
        self.operator_failure.as_ref()
    }

    /// The first event of a trial closes the breaker, on probation: the back-offs and failed keys stay.
    pub(super) fn on_first_event(&mut self, trial: Option<u64>) -> Transition {
        if !self.is_current_trial(trial) {
            return Transition::None;
        }
        self.phase = Phase::Closed;
        self.alerted = false;
        self.operator_failure = None;
        Transition::Closed
    }

    /// A complete answer shows that the provider works.
    pub(super) fn on_success(&mut self, trial: Option<u64>) -> Transition {
        let transition = self.on_first_event(trial);
        // An answer that began before the breaker opened says nothing about the present.
        if self.phase == Phase::Closed {
            self.failed_keys.clear();
            (self.backoff, self.failed_keys_backoff) = (None, None);
        }
        transition
    }

    pub(super) fn on_failure(
        &mut self,
        key: RequestKey,
        trial: Option<u64>,
        error: &AiError,
        now: Instant,
    ) -> Transition {
        let (counts, opens_for) = match Outcome::of(error) {
            Outcome::ProviderWorks => return self.on_success(trial),
            Outcome::Opens { counts, backoff } => (counts, Some(backoff)),
            Outcome::Counts => (true, None),
            Outcome::DoesNotCount => (false, None),
        };
        let is_trial = self.is_current_trial(trial);
        let is_new = counts && self.remember_failed(key);
        if !is_trial && self.phase != Phase::Closed {
            return Transition::None;
        }
        match (self.phase, opens_for) {
            (_, Some(backoff)) => self.open(now + backoff, error),
            (
                Phase::HalfOpen {
                    since,
                    of_failed_key: true,
                },
                None,
            ) => {
                let failed_keys_until = now + self.next_failed_keys_backoff();
                self.phase = Phase::Open {
                    until: since,
                    failed_keys_until,
                };
                Transition::None
            }
            (phase, None) => {
                let enough = is_new && self.failed_keys.len() >= FAILED_KEYS_TO_OPEN;
                if !enough && phase == Phase::Closed {
                    return Transition::None;
                }
                let until = now + self.next_backoff();
                self.open(until, error)
            }
        }
    }

    /// A trial that ends without a report: another request may become the trial.
    pub(super) fn on_drop(&mut self, trial: Option<u64>) {
        if let Phase::HalfOpen { since, .. } = self.phase
            && self.is_current_trial(trial)
        {
            self.phase = Phase::Open {
                until: since,
                failed_keys_until: since,
            };
        }
    }

    fn open(&mut self, until: Instant, error: &AiError) -> Transition {
        let transition = Transition::Opened {
            was_closed: self.phase == Phase::Closed,
            alert_operator: error.needs_operator() && !self.alerted,
        };
        self.alerted |= error.needs_operator();
        self.operator_failure = error.needs_operator().then(|| error.failure().clone());
        self.phase = Phase::Open {
            until,
            failed_keys_until: until,
        };
        transition
    }

    fn is_current_trial(&self, trial: Option<u64>) -> bool {
        matches!(self.phase, Phase::HalfOpen { .. }) && trial == Some(self.last_trial)
    }

    fn has_failed(&self, key: RequestKey) -> bool {
        self.failed_keys.contains(&key)
    }

    /// Remembers that `key` has failed; whether that is new.
    fn remember_failed(&mut self, key: RequestKey) -> bool {
        if self.has_failed(key) {
            return false;
        }
        if self.failed_keys.len() == MAX_FAILED_KEYS {
            self.failed_keys.pop_front();
        }
        self.failed_keys.push_back(key);
        true
    }

    fn next_backoff(&mut self) -> Duration {
        let backoff = doubled(self.backoff);
        self.backoff = Some(backoff);
        self.failed_keys_backoff = self.failed_keys_backoff.max(self.backoff);
        backoff
    }

    fn next_failed_keys_backoff(&mut self) -> Duration {
        let backoff = doubled(self.failed_keys_backoff);
        self.failed_keys_backoff = Some(backoff);
        backoff
    }
}

fn doubled(backoff: Option<Duration>) -> Duration {
    backoff.map_or(INITIAL_BACKOFF, |backoff| (backoff * 2).min(MAX_BACKOFF))
}
