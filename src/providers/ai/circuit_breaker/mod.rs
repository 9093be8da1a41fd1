//! The gate before a provider: a circuit breaker. Who fails again and again is left alone for a while, then tried once.
//!
//! A provider can also fail for one message alone, whoever asks however often. So the gate counts *keys*, not calls: it opens
//! when five have failed since a whole answer came, and each counts once. Then there are two waits. Whoever has not failed
//! here may try when the pause is over; those that have, too, but their failing says nothing new: it makes only them wait
//! longer, and whoever has not failed may try beside them. So a few messages that always fail hold others up once, for the
//! first pause at most, and a provider that is down for everybody is left alone as long as ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ai::call::RequestKey;
use crate::ai::error::{AiError, CircuitOpen, Failure};

/// Askers that have failed in a row and open the gate.
const PATIENCE: usize = 5;
/// Askers that are remembered to have failed; more than can wait for one trial in two minutes.
const MEMORY: usize = 64;
/// How long it is open at first; it doubles with every trial that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How long it is open at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long it is open after a failure that somebody has to repair.
const REPAIR_PAUSE: Duration = Duration::from_secs(30);
/// When to come back while somebody else tries.
const TRIAL_PAUSE: Duration = Duration::from_secs(1);
/// How long the place of a trial is kept for who was admitted: most come within milliseconds, some never.
const KEPT: Duration = Duration::from_millis(250);

/// One provider's gate. Clones are the same gate. Closed means that calls flow, as with an electric circuit.
#[derive(Clone, Debug)]
pub(crate) struct CircuitBreaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Who has failed since a whole answer came, the last one last.
    failed: VecDeque<RequestKey>,
    /// The last pause; `None` once a whole answer has come since.
    pause: Option<Duration>,
    /// The same for those that have failed; not shorter.
    longer: Option<Duration>,
    /// Whether operators know of this opening.
    alerted: bool,
    /// What somebody has to repair before it is worth while to wait.
    broken: Option<Failure>,
    /// For whom the place of the next trial is kept, and until when.
    kept: Option<(RequestKey, Instant)>,
    /// The number of the last trial: what older ones have to say is of no interest.
    trials: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Instant,
        /// The same for those that have failed; not earlier.
        again: Instant,
    },
    /// One call is under way to see whether the provider works again.
    Trying {
        since: Instant,
        /// Whether it is of one that has failed: then one that has not may try beside it.
        again: bool,
    },
}

/// The right to one call. Dropped without a report, it says nothing about the provider, and a trial is free again.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: CircuitBreaker,
    key: RequestKey,
    trial: Option<u64>,
}

impl CircuitBreaker {
    pub(crate) fn new(provider: &'static str) -> Self {
        Self(Arc::new(Shared {
            provider,
            state: Mutex::new(State {
                phase: Phase::Closed,
                failed: VecDeque::new(),
                pause: None,
                longer: None,
                alerted: false,
                broken: None,
                kept: None,
                trials: 0,
            }),
        }))
    }

    /// A pass, or how long to wait for one.
    pub(crate) fn acquire(&self, key: RequestKey, now: Instant) -> Result<Permit, CircuitOpen> {
        let mut state = self.state();
        if let Some(retry_after) = state.wait(key, now) {
            return Err(CircuitOpen { retry_after });
        }
        let trial = match state.phase {
            Phase::Closed => None,
            Phase::Open { .. } | Phase::Trying { .. } => {
                let again = state.has_failed(key);
                state.phase = Phase::Trying { since: now, again };
                state.trials += 1;
                state.kept = None;
                Some(state.trials)
            }
        };
        Ok(Permit {
            gate: self.clone(),
            key,
            trial,
        })
    }

    /// Whether `key` would get a pass now, or how long it has to wait. The place of a trial is kept for it for a moment, so
    /// that of many who come back at once only one begins what would lead to nothing.
    pub(crate) fn reserve(&self, key: RequestKey, now: Instant) -> Result<(), CircuitOpen> {
        let mut state = self.state();
        if let Some(retry_after) = state.wait(key, now) {
            return Err(CircuitOpen { retry_after });
        }
        if state.phase != Phase::Closed {
            state.kept = Some((key, now + KEPT));
        }
        Ok(())
    }

    /// Why waiting does not help, while it is open for something that somebody has to repair.
    pub(crate) fn operator_failure(&self) -> Option<Failure> {
        self.state().broken.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, state: &mut State) {
        state.phase = Phase::Closed;
        state.alerted = false;
        state.broken = None;
        tracing::info!(provider = self.0.provider, "the provider works again");
    }

    fn open(&self, state: &mut State, until: Instant, error: &AiError) {
        let (provider, code) = (self.0.provider, error.code());
        if state.phase == Phase::Closed {
            tracing::warn!(provider, code, "the provider is left alone for a while");
        }
        if error.needs_operator() && !state.alerted {
            state.alerted = true;
            tracing::error!(
                provider,
                code,
                "the provider will not work for us until somebody repairs it"
            );
        }
        state.broken = error.needs_operator().then(|| error.failure().clone());
        state.phase = Phase::Open { until, again: until };
    }
}

impl State {
    fn wait(&self, key: RequestKey, now: Instant) -> Option<Duration> {
        let failed = self.has_failed(key);
        let wait = match self.phase {
            Phase::Closed => return None,
            Phase::Open { until, again } => {
                let until = if failed { again } else { until };
                until.saturating_duration_since(now)
            }
            Phase::Trying { again: true, .. } if !failed => Duration::ZERO,
            Phase::Trying { .. } => TRIAL_PAUSE,
        };
        let is_kept =
            |(other, until): (RequestKey, Instant)| other != key && now < until && (failed || !self.has_failed(other));
        if wait.is_zero() && self.kept.is_some_and(is_kept) {
            return Some(TRIAL_PAUSE);
        }
        Some(wait).filter(|wait| !wait.is_zero())
    }

    fn has_failed(&self, key: RequestKey) -> bool {
        self.failed.contains(&key)
    }

    /// Remembers that `key` has failed; whether that is new.
    fn note_failed(&mut self, key: RequestKey) -> bool {
        if self.has_failed(key) {
            return false;
        }
        if self.failed.len() == MEMORY {
            self.failed.pop_front();
        }
        self.failed.push_back(key);
        true
    }

    /// The pause after a failure that opens the gate by itself.
    fn next_pause(&mut self) -> Duration {
        let pause = doubled(self.pause);
        self.pause = Some(pause);
        self.longer = self.longer.max(self.pause);
        pause
    }

    /// The pause for those that have failed, after one of them failed again.
    fn next_longer(&mut self) -> Duration {
        let pause = doubled(self.longer);
        self.longer = Some(pause);
        pause
    }
}

fn doubled(pause: Option<Duration>) -> Duration {
    pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE))
}

impl Permit {
    /// The answer has begun. A trial closes the gate, on probation: a whole answer has to follow, or the next one that fails
    /// for the first time opens it again.
    pub(crate) fn started(&mut self) {
        let gate = self.gate.clone();
        let mut state = gate.state();
        if self.is_current_trial(&state) {
            self.trial = None;
            gate.close(&mut state);
        }
    }

    /// The service did what it is for.
    pub(crate) fn succeeded(mut self) {
        self.started();
        let gate = self.gate.clone();
        let mut state = gate.state();
        // An answer that began before the gate opened says nothing about now.
        if state.phase == Phase::Closed {
            state.failed.clear();
            (state.pause, state.longer) = (None, None);
        }
    }

    /// The call failed, before the answer or within it.
    pub(crate) fn failed(mut self, error: &AiError, now: Instant) {
        let wait = error
            .retry_after()
            .filter(|wait| !wait.is_zero())
            .map(|wait| wait.min(LONGEST_PAUSE));
        let (counts, at_once) = match error.failure() {
            Failure::Refused { .. } | Failure::ContextTooLong => return self.succeeded(),
            Failure::Unauthorized { .. } | Failure::QuotaExhausted | Failure::Misconfigured(_) => {
                (true, Some(REPAIR_PAUSE))
            }
            Failure::Unavailable { .. } | Failure::Timeout { .. } | Failure::Protocol(_) => (true, wait),
            // Said by a gate, never by a provider.
            Failure::CircuitOpen { .. } => (false, None),
            Failure::RateLimited { .. } => (false, wait),
        };
        let gate = self.gate.clone();
        let mut state = gate.state();
        let trial = self.is_current_trial(&state);
        let news = counts && state.note_failed(self.key);
        if !trial && state.phase != Phase::Closed {
            return;
        }
        self.trial = None;
        match (state.phase, at_once) {
            (_, Some(pause)) => gate.open(&mut state, now + pause, error),
            (Phase::Trying { since, again: true }, None) => {
                let again = now + state.next_longer();
                state.phase = Phase::Open { until: since, again };
            }
            (phase, None) => {
                let enough = news && state.failed.len() >= PATIENCE;
                if enough || phase != Phase::Closed {
                    let until = now + state.next_pause();
                    gate.open(&mut state, until, error);
                }
            }
        }
    }

    fn is_current_trial(&self, state: &State) -> bool {
        matches!(state.phase, Phase::Trying { .. }) && self.trial == Some(state.trials)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.trial.is_none() {
            return;
        }
        let mut state = self.gate.state();
        if let Phase::Trying { since, .. } = state.phase
            && self.is_current_trial(&state)
        {
            state.phase = Phase::Open {
                until: since,
                again: since,
            };
        }
    }
}

#[cfg(test)]
mod tests;
