//! The state of a circuit breaker and its transitions, without locks, clocks or logs.

use std::time::Duration;

use cura_domain::UserId;
use tokio::time::Instant;

use super::outcome::{CHECK_INTERVAL, CONFIRMED_AFTER, OPERATOR_BACKOFF, Outcome, RECHECK_INTERVAL, doubled};
use super::persons::FailedPersons;
use crate::ai::call::RequestKey;
use crate::ai::error::{AiError, Failure};
use crate::ai::gate::GateState;

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
    /// Since when our own requests have failed in a way that an operator has to repair.
    operator_failing_since: Option<Instant>,
    /// What an operator has to repair, once that is confirmed.
    operator_failure: Option<Failure>,
    /// Whether somebody waits for the next trial since the last one, to send it as soon as it is due.
    is_recheck_planned: bool,
    /// The code of the failure that opened it.
    code: Option<&'static str>,
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
            Phase::Closed => self.persons.wait(person?, now).max(self.wait_for_trial(person?, now)),
            Phase::Open { until } if now < until => Some(until - now),
            Phase::Open { .. } => Some(TRIAL_WAIT),
        }
    }

    /// How long this person has to wait for a trial that tells whether an operator has to act: until then a further request
    /// would be paid for nothing.
    fn wait_for_trial(&self, person: UserId, now: Instant) -> Option<Duration> {
        let is_due_in = self
            .next_trial
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let wait = if self.trial.is_some() {
            TRIAL_WAIT
        } else {
            is_due_in.max(TRIAL_WAIT)
        };
        self.persons.awaits_trial(person).then_some(wait)
    }

    /// Whether requests of anybody may have to wait.
    pub(super) fn holds_anybody(&self, now: Instant) -> bool {
        self.phase != Phase::Closed || self.persons.hold_anybody(now) || self.persons.await_trial()
    }

    /// What an operator has to repair. `None` while a trial finds out whether that was done: its end is worth waiting for.
    pub(super) fn operator_failure(&self, now: Instant) -> Option<&Failure> {
        match self.phase {
            Phase::Open { until } if now < until => self.operator_failure.as_ref(),
            _ => None,
        }
    }

    /// The code of what everybody's requests fail with. A fault that an operator has to repair stays until a trial is answered;
    /// any other is forgotten when its time is over and nobody has asked.
    pub(super) fn fault(&self, now: Instant) -> Option<&'static str> {
        match self.phase {
            Phase::Open { until } if self.operator_failure.is_some() || now < until => self.code,
            _ => None,
        }
    }

    /// What operators are told of it.
    pub(super) fn gate(&self, now: Instant) -> (GateState, Option<&'static str>, Option<Duration>) {
        match self.phase {
            Phase::Closed if self.is_suspect => (GateState::Suspect, None, None),
            Phase::Closed => (GateState::Closed, None, None),
            Phase::Open { until } => {
                let state = if self.operator_failure.is_some() {
                    GateState::NeedsRepair
                } else {
                    GateState::Open
                };
                (state, self.code, Some(until.saturating_duration_since(now)))
            }
        }
    }

    /// How many persons are held.
    pub(super) fn held_persons(&self, now: Instant) -> usize {
        self.persons.count_held(now)
    }

    /// Whether it is confirmed that an operator has to repair something.
    pub(super) fn is_confirmed(&self) -> bool {
        self.operator_failure.is_some()
    }

    /// When to find out whether a confirmed fault is over, because there is a reason to think so; `None` if that is planned already.
    pub(super) fn plan_recheck(&mut self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } if self.operator_failure.is_some() && self.trial.is_none() => {
                (!std::mem::replace(&mut self.is_recheck_planned, true)).then_some(until)
            }
            _ => None,
        }
    }

    /// When the next trial is to be sent, also if nobody asks.
    pub(super) fn next_own_trial(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } if self.operator_failure.is_some() => Some(until.max(now + OPERATOR_BACKOFF)),
            Phase::Open { until } if self.operator_failing_since.is_some() => Some(until),
            _ => None,
        }
    }

    /// A complete answer shows that the provider works. One that began before the breaker opened says nothing about the
    /// present.
    pub(super) fn on_success(&mut self, person: Option<UserId>) {
        if self.phase == Phase::Closed {
            self.persons.completed(person);
            // Whoever waits for a trial gets one.
            self.is_suspect = self.persons.await_trial();
            self.backoff = None;
        }
    }

    /// A request that was paid for failed with `error`. If an operator may have to act, its person waits for a trial to tell.
    pub(super) fn await_trial_after(&mut self, person: Option<UserId>, error: &AiError) {
        if let Some(person) = person
            && self.phase == Phase::Closed
            && Outcome::of(error) == Outcome::NeedsOperator
        {
            self.persons.needs_operator(person);
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
        self.is_recheck_planned = false;
        self.next_trial = Some(now + TRIAL_INTERVAL);
        self.trial
    }

    /// As [`Self::start_trial`], unless another trial was sent after the one with this number.
    pub(super) fn start_trial_after(&mut self, number: u64, now: Instant) -> Option<u64> {
        if self.last_trial == number {
            self.start_trial(now)
        } else {
            None
        }
    }

    /// The trial with this number ended, with `error` if it failed.
    pub(super) fn on_trial_end(&mut self, number: u64, error: Option<&AiError>, now: Instant) -> Transition {
        if self.trial != Some(number) {
            return Transition::None;
        }
        self.trial = None;
        self.persons.trial_ended();
        match error.map(|error| (error, Outcome::of(error))) {
            // A limited rate says nothing about a key or an account that was rejected before.
            Some((limited, Outcome::Neutral))
                if self.operator_failing_since.is_some()
                    && matches!(limited.failure(), Failure::RateLimited { .. }) =>
            {
                self.phase = Phase::Open {
                    until: now + RECHECK_INTERVAL,
                };
                Transition::None
            }
            None | Some((_, Outcome::Neutral)) => self.close(),
            Some((error, Outcome::NeedsOperator)) => {
                let since = *self.operator_failing_since.get_or_insert(now);
                let is_confirmed = now.duration_since(since) >= CONFIRMED_AFTER;
                self.operator_failure = is_confirmed.then(|| error.failure().clone());
                self.open(
                    now + if is_confirmed { RECHECK_INTERVAL } else { CHECK_INTERVAL },
                    error,
                )
            }
            Some((error, Outcome::Failed { stated_wait })) => {
                self.operator_failing_since = None;
                self.operator_failure = None;
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
        self.operator_failing_since = None;
        self.operator_failure = None;
        match std::mem::take(&mut self.phase) {
            Phase::Closed => Transition::NotConfirmed,
            Phase::Open { .. } => Transition::Closed,
        }
    }

    fn open(&mut self, until: Instant, error: &AiError) -> Transition {
        let is_confirmed = self.operator_failure.is_some();
        let transition = Transition::Opened {
            was_closed: self.phase == Phase::Closed,
            alert_operator: is_confirmed && !self.alerted,
        };
        self.alerted |= is_confirmed;
        self.code = Some(error.code());
        self.phase = Phase::Open { until };
        transition
    }
}
