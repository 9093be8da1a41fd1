//! What a person wants to be told, and when: the preferences under `notifications`. They may be older than their schema, so they are read
//! leniently; in doubt nothing private is shown.

use chrono::{DateTime, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use crate::profile::TimeZone;

/// The longest that clocks are put forward anywhere, in minutes.
const MAX_GAP_MINUTES: i64 = 24 * 60;

/// A person's wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notifications {
    /// Whether answers are pushed at all.
    pub push: bool,
    /// Whether a push says no more than that there is an answer.
    pub private: bool,
    /// When nothing is pushed.
    pub quiet_hours: Option<QuietHours>,
}

/// Hours of the day, by the person's clock, in which nothing is pushed. They may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    start: NaiveTime,
    end: NaiveTime,
}

impl Notifications {
    /// What these preferences say; pushed and private where they say nothing.
    pub fn of(preferences: &Value) -> Self {
        let notifications = &preferences["notifications"];
        Self {
            push: notifications["push"] != Value::Bool(false),
            private: notifications["private"] != Value::Bool(false),
            quiet_hours: QuietHours::of(&notifications["quiet_hours"]),
        }
    }
}

impl QuietHours {
    /// `None` if there are none: both times are the same, or one of them is missing.
    fn of(value: &Value) -> Option<Self> {
        let time = |name: &str| NaiveTime::parse_from_str(value[name].as_str()?, "%H:%M").ok();
        let (start, end) = (time("start")?, time("end")?);
        (start != end).then_some(Self { start, end })
    }

    /// When they end, if they hold at `now` in `zone`.
    pub fn end_at(self, now: DateTime<Utc>, zone: TimeZone) -> Option<DateTime<Utc>> {
        let zone = zone.0;
        let local = now.with_timezone(&zone).naive_local();
        let (time, today) = (local.time(), local.date());
        let over_midnight = self.start > self.end;
        let is_quiet = if over_midnight {
            time >= self.start || time < self.end
        } else {
            time >= self.start && time < self.end
        };
        let ends_tomorrow = over_midnight && time >= self.start;
        let day = if ends_tomorrow { today.succ_opt()? } else { today };
        is_quiet.then(|| first_instant(day.and_time(self.end), now, zone))?
    }
}

/// The first instant after `now` at which clocks in `zone` show `local`, or a later time if they skip it.
fn first_instant(local: NaiveDateTime, now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    (0..=MAX_GAP_MINUTES).find_map(|skipped| {
        let shown = zone.from_local_datetime(&(local + TimeDelta::minutes(skipped)));
        let instants = match shown {
            LocalResult::None => return None,
            LocalResult::Single(only) => [only, only],
            LocalResult::Ambiguous(first, second) => [first, second],
        };
        let instants = instants.map(|instant| instant.with_timezone(&Utc));
        instants.into_iter().find(|instant| *instant > now)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quiet(start: &str, end: &str) -> Option<QuietHours> {
        let preferences = json!({ "notifications": { "quiet_hours": { "start": start, "end": end } } });
        Notifications::of(&preferences).quiet_hours
    }

    fn end_at(hours: (&str, &str), now: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::new(zone).unwrap();
        let now: DateTime<Utc> = now.parse().unwrap();
        let end = quiet(hours.0, hours.1)?.end_at(now, zone)?;
        assert!(end > now);
        assert_eq!(
            quiet(hours.0, hours.1)?.end_at(end, zone),
            None,
            "they are over at their end"
        );
        Some(end.format("%Y-%m-%dT%H:%MZ").to_string())
    }

    #[test]
    fn what_is_not_said_is_pushed_and_private() {
        let said = |preferences: Value| Notifications::of(&preferences);
        let usual = Notifications {
            push: true,
            private: true,
            quiet_hours: None,
        };
        for nothing in [
            json!({}),
            json!({ "notifications": 7 }),
            json!({ "notifications": { "private": "no" } }),
            json!(null),
        ] {
            assert_eq!(said(nothing), usual);
        }
        let off = said(json!({ "notifications": { "push": false, "private": false } }));
        assert_eq!((off.push, off.private), (false, false));
        for none in [("22:00", "22:00"), ("22:00", "7"), ("25:00", "07:00")] {
            assert_eq!(quiet(none.0, none.1), None);
        }
    }

    #[test]
    fn quiet_hours_are_by_the_persons_clock_and_go_over_midnight() {
        let night = ("22:00", "07:00");
        let berlin = "Europe/Berlin";
        assert_eq!(end_at(night, "2027-01-10T20:59:59Z", berlin), None);
        assert_eq!(
            end_at(night, "2027-01-10T21:00:00Z", berlin).unwrap(),
            "2027-01-11T06:00Z"
        );
        assert_eq!(
            end_at(night, "2027-01-11T05:59:59Z", berlin).unwrap(),
            "2027-01-11T06:00Z"
        );
        assert_eq!(end_at(night, "2027-01-11T06:00:00Z", berlin), None);
        let noon = ("12:00", "13:30");
        assert_eq!(
            end_at(noon, "2027-01-10T12:00:00Z", berlin).unwrap(),
            "2027-01-10T12:30Z"
        );
        assert_eq!(end_at(noon, "2027-01-10T20:00:00Z", berlin), None);
    }

    #[test]
    fn a_night_in_which_clocks_change_ends_in_the_morning_all_the_same() {
        let night = ("22:00", "07:00");
        let berlin = "Europe/Berlin";
        assert_eq!(
            end_at(night, "2027-03-27T23:00:00Z", berlin).unwrap(),
            "2027-03-28T05:00Z"
        );
        assert_eq!(
            end_at(night, "2027-10-30T23:00:00Z", berlin).unwrap(),
            "2027-10-31T06:00Z"
        );
        // 02:30 does not exist on this day: they end when clocks show 03:00.
        assert_eq!(
            end_at(("22:00", "02:30"), "2027-03-28T00:30:00Z", berlin).unwrap(),
            "2027-03-28T01:00Z"
        );
        // 02:30 comes twice: what is pushed after the first is quiet again before the second.
        assert_eq!(
            end_at(("22:00", "02:30"), "2027-10-31T00:10:00Z", berlin).unwrap(),
            "2027-10-31T00:30Z"
        );
        assert_eq!(
            end_at(("22:00", "02:30"), "2027-10-31T01:10:00Z", berlin).unwrap(),
            "2027-10-31T01:30Z"
        );
        // Half an hour on Lord Howe Island, on 3 October at 02:00.
        let lord_howe = "Australia/Lord_Howe";
        assert_eq!(
            end_at(("22:00", "02:15"), "2027-10-02T15:00:00Z", lord_howe).unwrap(),
            "2027-10-02T15:30Z"
        );
    }
}
