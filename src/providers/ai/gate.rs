//! The gate before a provider: a circuit breaker. Who fails again and again is left alone for a while, then tried once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{AiError, Failure};

/// Failures in a row that open the gate.
const PATIENCE: u32 = 5;
/// How long it is open at first; it doubles with every trial that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How long it is open at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long it is open after a failure that somebody has to repair.
const REPAIR_PAUSE: Duration = Duration::from_secs(30);
/// When to come back while somebody else tries.
const TRIAL_PAUSE: Duration = Duration::from_secs(1);

/// One provider's gate. Clones are the same gate. Closed means that calls flow, as with an electric circuit.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Failures in a row.
    failures: u32,
    /// The last pause; `None` once a whole answer has come since.
    pause: Option<Duration>,
    /// Whether operators know of this opening.
    alerted: bool,
    /// What somebody has to repair before it is worth while to wait.
    broken: Option<Failure>,
    /// The number of the last trial: what older ones have to say is of no interest.
    trials: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    /// One call is under way to see whether the provider works again.
    Trying {
        since: Instant,
    },
}

/// The right to one call. Dropped without a report, it says nothing about the provider, and a trial is free again.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Gate,
    trial: Option<u64>,
}

impl Gate {
    pub(super) fn new(provider: &'static str) -> Self {
        Self(Arc::new(Shared {
            provider,
            state: Mutex::new(State {
                phase: Phase::Closed,
                failures: 0,
                pause: None,
                alerted: false,
                broken: None,
                trials: 0,
            }),
        }))
    }

    /// A pass, or how long to wait for one.
    pub(super) fn enter(&self, now: Instant) -> Result<Pass, Duration> {
        let mut state = self.state();
        if let Some(wait) = state.wait(now) {
            return Err(wait);
        }
        let trial = match state.phase {
            Phase::Closed => None,
            Phase::Open { .. } | Phase::Trying { .. } => {
                state.phase = Phase::Trying { since: now };
                state.trials += 1;
                Some(state.trials)
            }
        };
        Ok(Pass {
            gate: self.clone(),
            trial,
        })
    }

    /// How long nobody gets a pass; `None` when somebody would now.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.state().wait(now)
    }

    /// Why waiting does not help, while it is open for something that somebody has to repair.
    pub(super) fn broken(&self) -> Option<Failure> {
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
        state.phase = Phase::Open { until };
        state.failures = 0;
    }
}

impl State {
    fn wait(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Closed => None,
            Phase::Open { until } => Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero()),
            Phase::Trying { .. } => Some(TRIAL_PAUSE),
        }
    }

    /// The pause after a failure that opens the gate by itself.
    fn longer_pause(&mut self) -> Duration {
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        pause
    }
}

impl Pass {
    /// The answer has begun. A trial closes the gate, on probation: a whole answer has to follow.
    pub(super) fn begun(&mut self) {
        let gate = self.gate.clone();
        let mut state = gate.state();
        if self.is_current_trial(&state) {
            self.trial = None;
            state.failures = PATIENCE - 1;
            gate.close(&mut state);
        }
    }

    /// The service did what it is for.
    pub(super) fn succeeded(mut self) {
        self.begun();
        let gate = self.gate.clone();
        let mut state = gate.state();
        // An answer that began before the gate opened says nothing about now.
        if state.phase == Phase::Closed {
            state.failures = 0;
            state.pause = None;
        }
    }

    /// The call failed, before the answer or within it.
    pub(super) fn failed(mut self, error: &AiError, now: Instant) {
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
            Failure::Resting { .. } => (false, None),
            Failure::RateLimited { .. } => (false, wait),
        };
        let gate = self.gate.clone();
        let mut state = gate.state();
        let trial = self.is_current_trial(&state);
        if !trial && state.phase != Phase::Closed {
            return;
        }
        self.trial = None;
        state.failures += u32::from(counts);
        if let Some(pause) = at_once {
            gate.open(&mut state, now + pause, error);
        } else if trial || state.failures >= PATIENCE {
            let pause = state.longer_pause();
            gate.open(&mut state, now + pause, error);
        }
    }

    fn is_current_trial(&self, state: &State) -> bool {
        matches!(state.phase, Phase::Trying { .. }) && self.trial == Some(state.trials)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.trial.is_none() {
            return;
        }
        let mut state = self.gate.state();
        if let Phase::Trying { since } = state.phase
            && self.is_current_trial(&state)
        {
            state.phase = Phase::Open { until: since };
        }
    }
}

#[cfg(test)]
mod tests;
