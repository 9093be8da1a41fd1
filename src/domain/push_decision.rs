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
    /// Whether a newer answer of its conversation has ended.
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
    /// Wait until then.
    WaitUntil(DateTime<Utc>),
    /// Look whether somebody watches: if not, push; if so, look again [`LAST_LOOK_AFTER`] from now.
    Look,
    /// Look whether somebody watches, or has left in order since the end: if neither, push.
    LastLook,
}

impl PushFacts {
    /// What is decided at `now`, before anybody looks.
    pub fn next_step(&self, now: DateTime<Utc>) -> PushStep {
        if let Some(decision) = self.over_at(now) {
            return PushStep::Decided(decision);
        }
        if !self.has_device {
            return PushStep::Decided(PushDecision::NoDevice);
        }
        if !self.notifications.push {
            return PushStep::Decided(PushDecision::Off);
        }
        if self.is_muted {
            return PushStep::Decided(PushDecision::Muted);
        }
        let quiet_hours = self.notifications.quiet_hours;
        if let Some(end) = quiet_hours.and_then(|hours| hours.end_at(now, self.zone)) {
            return PushStep::WaitUntil(end);
        }
        if self.quiet_until.is_some() && self.is_superseded {
            return PushStep::Decided(PushDecision::Superseded);
        }
        if now - self.ended_at >= LAST_LOOK_AGE {
            PushStep::LastLook
        } else {
            PushStep::Look
        }
    }

    /// Why it is not pushed any more, even where it was decided that it is: not even a second time to a device whose service did not
    /// take it.
    pub fn over_at(&self, now: DateTime<Utc>) -> Option<PushDecision> {
        let waited_until = self.quiet_until.map_or(self.ended_at, |quiet| quiet.max(self.ended_at));
        if self.outcome.is_none() {
            Some(PushDecision::Gone)
        } else if self.is_read {
            Some(PushDecision::Read)
        } else if now - waited_until > MAX_AGE {
            Some(PushDecision::Expired)
        } else {
            None
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
            (with(|of| of.is_superseded = true), 2, PushStep::Look),
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
        assert_eq!(quiet.next_step(at(2)), PushStep::WaitUntil(at(3600)));
        // Not too old at their end, and an hour after it at most.
        let waited = PushFacts {
            quiet_until: Some(at(3600)),
            ..quiet
        };
        assert_eq!(waited.next_step(at(3602)), PushStep::LastLook);
        assert_eq!(waited.next_step(at(7201)), PushStep::Decided(PushDecision::Expired));
        let older = PushFacts {
            is_superseded: true,
            ..waited
        };
        assert_eq!(older.next_step(at(3602)), PushStep::Decided(PushDecision::Superseded));
    }

    #[test]
    fn a_push_that_was_begun_ends_when_there_is_no_reason_for_it_any_more() {
        assert_eq!(facts().over_at(at(60)), None);
        assert_eq!(with(|of| of.is_read = true).over_at(at(60)), Some(PushDecision::Read));
        // Muting it meanwhile takes nothing back: other devices have it.
        assert_eq!(with(|of| of.is_muted = true).over_at(at(60)), None);
    }
}
