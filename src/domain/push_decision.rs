//! Whether an answer is pushed, and if not, why. Without asking anybody: what is known comes in, what to do comes out.

use chrono::{DateTime, TimeDelta, Utc};

use crate::notifications::Notifications;
use crate::profile::TimeZone;
use crate::push_log::PushDecision;
use crate::push_text::AnswerOutcome;

/// How long after an answer's end, or the end of quiet hours, it is still worth a push.
const MAX_AGE: TimeDelta = TimeDelta::hours(1);
/// The first look is at an answer's end, the second this long after it.
pub const SECOND_LOOK_AFTER: TimeDelta = TimeDelta::seconds(2);
/// If somebody watched then, the last look is this long after it.
pub const LAST_LOOK_AFTER: TimeDelta = TimeDelta::seconds(90);
/// A look from this age on is the last one: a job may begin a little early, by another clock.
const LAST_LOOK_AGE: TimeDelta = TimeDelta::seconds(60);

/// What is known of an answer that has ended, and of its person.
#[derive(Debug, Clone)]
pub struct PushFacts {
    /// How it has ended; `None` if it was cancelled, has not ended, or is deleted.
    pub outcome: Option<AnswerOutcome>,
    /// When it has ended.
    pub ended_at: DateTime<Utc>,
    /// Until when it waited, if it waited for the end of quiet hours.
    pub quiet_until: Option<DateTime<Utc>>,
    /// Whether its conversation is muted.
    pub is_muted: bool,
    /// Whether it was read, or the person wrote on in its conversation.
    pub is_read: bool,
    /// Whether a newer answer of its conversation has completed or failed.
    pub has_newer: bool,
    /// Whether a newer answer of its conversation was pushed: its banner would be replaced by an older one.
    pub is_superseded: bool,
    /// Whether the person has a device that can be pushed to.
    pub has_device: bool,
    /// What the person wants.
    pub notifications: Notifications,
    /// Where the person's clock is.
    pub zone: TimeZone,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushStep {
    /// Nothing: that is decided.
    Decided(PushDecision),
    /// Look whether somebody watches: if so, look again [`LAST_LOOK_AFTER`] from now; if not, see [`PushFacts::unwatched_step`].
    Look,
    /// Look whether somebody watches, or has left in order since the end: if neither, see [`PushFacts::unwatched_step`].
    LastLook,
}

/// What to do about an answer that nobody has watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnwatchedStep {
    /// Push it.
    Push,
    /// Nothing: that is decided.
    Decided(PushDecision),
    /// Wait until then, and begin anew.
    WaitUntil(DateTime<Utc>),
}

impl PushFacts {
    /// What is decided at `now`, before anybody looks. To be asked again whenever a push goes on, also one that some devices have got:
    /// the person may have read it meanwhile, or their quiet hours may have begun.
    pub fn next_step(&self, now: DateTime<Utc>) -> PushStep {
        let waited_until = self.quiet_until.map_or(self.ended_at, |quiet| quiet.max(self.ended_at));
        let reason = if self.outcome.is_none() {
            PushDecision::Gone
        } else if self.is_read {
            PushDecision::Read
        } else if now - waited_until > MAX_AGE {
            PushDecision::Expired
        } else if !self.has_device {
            PushDecision::NoDevice
        } else if !self.notifications.push {
            PushDecision::Off
        } else if self.is_muted {
            PushDecision::Muted
        } else if now - self.ended_at >= LAST_LOOK_AGE {
            return PushStep::LastLook;
        } else {
            return PushStep::Look;
        };
        PushStep::Decided(reason)
    }

    /// What to do at `now` when nobody has watched. Quiet hours come after the looks: what was watched to its end needs no push when
    /// they are over.
    pub fn unwatched_step(&self, now: DateTime<Utc>) -> UnwatchedStep {
        let has_waited = self.quiet_until.is_some();
        if self.is_superseded || (has_waited && self.has_newer) {
            return UnwatchedStep::Decided(PushDecision::Superseded);
        }
        let quiet_hours = self.notifications.quiet_hours;
        match quiet_hours.and_then(|hours| hours.end_at(now, self.zone)) {
            Some(end) => UnwatchedStep::WaitUntil(end),
            None => UnwatchedStep::Push,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        // Noon in Berlin.
        "2027-01-10T11:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
    }

    fn facts() -> PushFacts {
        PushFacts {
            outcome: Some(AnswerOutcome::Completed),
            ended_at: at(0),
            quiet_until: None,
            is_muted: false,
            is_read: false,
            has_newer: false,
            is_superseded: false,
            has_device: true,
            notifications: Notifications::of(&json!({})),
            zone: TimeZone::new("Europe/Berlin").unwrap(),
        }
    }

    fn with(change: impl FnOnce(&mut PushFacts)) -> PushFacts {
        let mut facts = facts();
        change(&mut facts);
        facts
    }

    #[test]
    fn every_reason_for_silence_is_a_decision_of_its_own() {
        use PushStep::Decided;
        for (facts, seconds, step) in [
            (facts(), 2, PushStep::Look),
            (facts(), 90, PushStep::LastLook),
            (with(|of| of.outcome = None), 2, Decided(PushDecision::Gone)),
            (with(|of| of.is_read = true), 2, Decided(PushDecision::Read)),
            (facts(), 3601, Decided(PushDecision::Expired)),
            (with(|of| of.has_device = false), 2, Decided(PushDecision::NoDevice)),
            (with(|of| of.notifications.push = false), 2, Decided(PushDecision::Off)),
            (with(|of| of.is_muted = true), 2, Decided(PushDecision::Muted)),
        ] {
            assert_eq!(facts.next_step(at(seconds)), step, "{facts:?} after {seconds}");
        }
    }

    #[test]
    fn quiet_hours_postpone_and_then_only_the_newest_is_pushed() {
        let quiet = json!({ "notifications": { "quiet_hours": { "start": "11:30", "end": "13:00" } } });
        let quiet = with(|of| of.notifications = Notifications::of(&quiet));
        assert_eq!(
            quiet.next_step(at(2)),
            PushStep::Look,
            "who watches now needs no push later"
        );
        assert_eq!(quiet.unwatched_step(at(2)), UnwatchedStep::WaitUntil(at(3600)));
        // Not too old at their end, and an hour after it at most.
        let waited = PushFacts {
            quiet_until: Some(at(3600)),
            ..quiet
        };
        assert_eq!(waited.next_step(at(3602)), PushStep::LastLook);
        assert_eq!(waited.unwatched_step(at(3602)), UnwatchedStep::Push);
        assert_eq!(waited.next_step(at(7201)), PushStep::Decided(PushDecision::Expired));
        let older = PushFacts {
            has_newer: true,
            ..waited
        };
        assert_eq!(
            older.unwatched_step(at(3602)),
            UnwatchedStep::Decided(PushDecision::Superseded)
        );
    }

    #[test]
    fn an_older_answer_does_not_take_the_place_of_a_newer_one() {
        let newer_is_there = with(|of| of.has_newer = true);
        assert_eq!(
            newer_is_there.unwatched_step(at(90)),
            UnwatchedStep::Push,
            "it was watched, perhaps"
        );
        let newer_is_pushed = with(|of| (of.has_newer, of.is_superseded) = (true, true));
        let step = newer_is_pushed.unwatched_step(at(90));
        assert_eq!(step, UnwatchedStep::Decided(PushDecision::Superseded));
    }
}
