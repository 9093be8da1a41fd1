//! The state of a circuit breaker and its transitions, without locks, clocks or logs.

use std::time::Duration;

use cura_domain::UserId;
use tokio::time::Instant;

use super::outcome::{OPERATOR_BACKOFF, Outcome, doubled};
use super::persons::FailedPersons;
use crate::ai::call::RequestKey;
use crate::ai::error::{AiError, Failure};

/// The wait of requests while an open breaker's trial is under way.
pub(super) const TRIAL_WAIT: Duration = Duration::from_millis(500);
/// The least time between two trials while the breaker is closed: what they cost has a limit, whoever provokes them.
pub(super) const TRIAL_INTERVAL: Duration = Duration::from_secs(10);

/// What a circuit breaker knows; see the [module](super).
#[derive(Debug, Default)]
pub(super) struct BreakerState {
    phase: Phase,
    persons: FailedPersons,
    /// Whether the provider may be failing for everybody.
    is_suspect: bool,
    /// The number of the trial that is under way.
    trial: Option<u64>,
    last_trial: u64,
    /// When the next trial may be sent while the breaker is closed.
    next_trial: Option<Instant>,
    /// The last back-off; `None` once an answer has completed since.
    backoff: Option<Duration>,
    /// Whether an operator was alerted since the breaker opened.
    alerted: bool,
    /// What an operator has to repair.
    operator_failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
}

/// A change of state that operators should see in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    None,
    /// The breaker was closed and suspect, and stays closed.
    NotConfirmed,
    Closed,
    Opened {
        /// `false` if it was open before.
        was_closed: bool,
        /// Whether an operator has to act and was not alerted yet.
        alert_operator: bool,
    },
}

impl BreakerState {
    /// How long requests of this person have to wait; `None` if one may be sent now.
    pub(super) fn wait(&self, person: Option<UserId>, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Closed => self.persons.wait(person?, now),
            Phase::Open { until } if now < until => Some(until - now),
            Phase::Open { .. } => Some(TRIAL_WAIT),
        }
    }

    /// Whether requests of anybody may have to wait.
    pub(super) fn holds_anybody(&self) -> bool {
        self.phase != Phase::Closed || self.persons.hold_anybody()
    }

    pub(super) fn operator_failure(&self) -> Option<&Failure> {
        self.operator_failure.as_ref()
    }

    /// A complete answer shows that the provider works. One that began before the breaker opened says nothing about the
    /// present.
    pub(super) fn on_success(&mut self, person: Option<UserId>) {
        if self.phase == Phase::Closed {
            self.persons.completed(person);
            self.is_suspect = false;
            self.backoff = None;
        }
    }

    pub(super) fn on_failure(&mut self, person: Option<UserId>, key: RequestKey, error: &AiError, now: Instant) {
        match Outcome::of(error) {
            Outcome::Neutral => {}
            Outcome::NeedsOperator => self.is_suspect = true,
            Outcome::Failed { stated_wait } => {
                if let Some(person) = person {
                    self.persons.failed(person, key, stated_wait, now);
                }
                self.is_suspect |= self.persons.may_be_the_provider();
            }
        }
    }

    /// The number of the trial that is to be sent now, if one is due.
    pub(super) fn start_trial(&mut self, now: Instant) -> Option<u64> {
        let is_due = match self.phase {
            Phase::Closed => self.is_suspect && self.next_trial.is_none_or(|at| at <= now),
            Phase::Open { until } => until <= now,
        };
        if !is_due || self.trial.is_some() {
            return None;
        }
        self.last_trial += 1;
        self.trial = Some(self.last_trial);
        self.next_trial = Some(now + TRIAL_INTERVAL);
        self.trial
    }

    /// The trial with this number ended, with `error` if it failed.
    pub(super) fn on_trial_end(&mut self, number: u64, error: Option<&AiError>, now: Instant) -> Transition {
        if self.trial != Some(number) {
            return Transition::None;
        }
        self.trial = None;
        match error.map(|error| (error, Outcome::of(error))) {
            None | Some((_, Outcome::Neutral)) => self.close(),
            Some((error, Outcome::NeedsOperator)) => self.open(now + OPERATOR_BACKOFF, error),
            Some((error, Outcome::Failed { stated_wait })) => {
                let backoff = doubled(self.backoff);
                self.backoff = Some(backoff);
                self.open(now + stated_wait.unwrap_or(backoff), error)
            }
        }
    }

    /// The trial with this number says nothing, unless it has ended.
    pub(super) fn on_trial_dropped(&mut self, number: u64) {
        self.trial.take_if(|trial| *trial == number);
    }

    /// The back-off stays until an answer completes: if the provider fails again before, it is left alone for longer.
    fn close(&mut self) -> Transition {
        self.persons.forgive();
        self.is_suspect = false;
        self.alerted = false;
        self.operator_failure = None;
        match std::mem::take(&mut self.phase) {
            Phase::Closed => Transition::NotConfirmed,
            Phase::Open { .. } => Transition::Closed,
        }
    }

    fn open(&mut self, until: Instant, error: &AiError) -> Transition {
        let transition = Transition::Opened {
            was_closed: self.phase == Phase::Closed,
            alert_operator: error.needs_operator() && !self.alerted,
        };
        self.alerted |= error.needs_operator();
        self.operator_failure = error.needs_operator().then(|| error.failure().clone());
        self.phase = Phase::Open { until };
        transition
    }
}
