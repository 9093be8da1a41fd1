//! What several commands are given.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, SubsecRound as _, Utc};
use cura_app::operate::NamedUser;
use cura_domain::UserId;
use cura_domain::account::{Email, InvalidEmail, InvalidName, Name};
use cura_domain::announcement::{AnnouncementText, AnnouncementTitle, InvalidText};

/// A user: an id, or an e-mail address.
#[derive(Debug, Clone)]
pub struct UserArgument(NamedUser);

impl UserArgument {
    /// Who is named.
    pub fn into_user(self) -> NamedUser {
        self.0
    }
}

impl FromStr for UserArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = match text.parse() {
            Ok(id) => Some(NamedUser::Id(UserId(id))),
            Err(_) => Email::new(text).ok().map(NamedUser::Email),
        };
        named.map(Self).ok_or("it is neither an id nor an e-mail address")
    }
}

/// An e-mail address.
#[derive(Debug, Clone)]
pub struct EmailArgument(pub Email);

impl FromStr for EmailArgument {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Email::new(text).map(Self)
    }
}

/// The name of a user; none if it is blank.
#[derive(Debug, Clone)]
pub struct NameArgument(pub Option<Name>);

impl FromStr for NameArgument {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Name::new(text).map(Self)
    }
}

/// The longest reason, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Why something is done, for the record: one line without an address.
#[derive(Debug, Clone)]
pub struct ReasonArgument(pub String);

impl FromStr for ReasonArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > MAX_REASON_CHARS || text.chars().any(char::is_control) {
            return Err("it must be one line of at most 200 characters");
        }
        if text.contains('@') {
            return Err("it is kept for long: name users by id, not by address");
        }
        Ok(Self(text.to_owned()))
    }
}

/// The title of an announcement.
#[derive(Debug, Clone)]
pub struct TitleArgument(pub AnnouncementTitle);

impl FromStr for TitleArgument {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AnnouncementTitle::new(text).map(Self)
    }
}

/// The text of an announcement.
#[derive(Debug, Clone)]
pub struct TextArgument(pub AnnouncementText);

impl FromStr for TextArgument {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AnnouncementText::new(text).map(Self)
    }
}

/// A moment: RFC 3339, or a day, which begins at midnight in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MomentArgument(pub DateTime<Utc>);

impl FromStr for MomentArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(moment.to_utc()));
        }
        let day: NaiveDate = text
            .parse()
            .map_err(|_| "it is neither a moment such as 2026-11-30T08:00:00Z nor a day such as 2026-11-30")?;
        Ok(Self(day.and_time(NaiveTime::MIN).and_utc()))
    }
}

/// A time of up to a day: a number of seconds, minutes or hours, as in `90s`, `10m` and `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationArgument(pub Duration);

/// The longest time that a command is given to spread what it does.
const LONGEST_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

impl FromStr for DurationArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "it is no time of up to a day, such as 90s, 10m or 2h";
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(RULE)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return Err(RULE),
        };
        let number: u32 = number.parse().map_err(|_| RULE)?;
        let duration = Duration::from_secs(u64::from(number) * seconds);
        (duration <= LONGEST_DURATION).then_some(Self(duration)).ok_or(RULE)
    }
}

/// The end of something that begins now: a moment, a day, or a time of up to a day from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntilArgument {
    /// Then.
    At(MomentArgument),
    /// After so long.
    In(DurationArgument),
}

impl UntilArgument {
    /// The end of what begins `now`.
    pub fn after(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            // In the precision that is stored.
            Self::At(MomentArgument(moment)) => moment.trunc_subsecs(6),
            Self::In(DurationArgument(duration)) => now + duration,
        }
    }
}

impl FromStr for UntilArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(duration) = text.parse() {
            return Ok(Self::In(duration));
        }
        let moment = text.parse().map_err(|_| {
            "it is neither a moment such as 2026-11-30T08:00:00Z nor a day such as 2026-11-30 nor a time of up to a day such as 2h"
        });
        moment.map(Self::At)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_without_an_address() {
        let reason = |text: &str| text.parse().ok().map(|ReasonArgument(reason)| reason);
        assert_eq!(reason(" spam wave "), Some("spam wave".to_owned()));
        for bad in ["", "  ", "a\nb", "asked by ada@example.com", &"x".repeat(201)] {
            assert_eq!(reason(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_moment_has_its_zone_and_a_day_begins_at_midnight() {
        for (text, moment) in [
            ("2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z"),
            ("2026-11-30T08:00:00+02:00", "2026-11-30T06:00:00Z"),
            ("2026-11-30", "2026-11-30T00:00:00Z"),
        ] {
            let expected: DateTime<Utc> = moment.parse().unwrap();
            assert_eq!(text.parse(), Ok(MomentArgument(expected)), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "2026-11-30T08:00:00", "1h"] {
            assert!(bad.parse::<MomentArgument>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_end_is_a_moment_a_day_or_a_time_from_now_on() {
        let now: DateTime<Utc> = "2026-11-30T08:00:00Z".parse().unwrap();
        for (text, end) in [
            ("2h", "2026-11-30T10:00:00Z"),
            ("2026-11-30T09:00:00.1234567Z", "2026-11-30T09:00:00.123456Z"),
            ("2026-12-01", "2026-12-01T00:00:00Z"),
        ] {
            let until: UntilArgument = text.parse().unwrap();
            assert_eq!(until.after(now), end.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
        assert!("tomorrow".parse::<UntilArgument>().is_err());
    }

    #[test]
    fn a_duration_has_its_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("10m", 600), ("24h", 86_400)] {
            assert_eq!(
                text.parse(),
                Ok(DurationArgument(Duration::from_secs(seconds))),
                "{text}"
            );
        }
        for bad in ["", "s", "60", "-1s", "1d", "25h", "1.5h", "ä"] {
            assert!(bad.parse::<DurationArgument>().is_err(), "{bad}");
        }
    }
}
