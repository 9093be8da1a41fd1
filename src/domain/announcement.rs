//! What operators tell everybody who is connected.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use thiserror::Error;

use crate::ids::AnnouncementId;
use crate::text::is_blank;

/// The longest title of an announcement, in characters.
pub const MAX_TITLE_CHARS: usize = 120;
/// The longest text of an announcement, in characters.
pub const MAX_TEXT_CHARS: usize = 2000;
/// How far ahead an announcement may end.
pub const MAX_LIFETIME: TimeDelta = TimeDelta::days(30);

/// Something that everybody is told who is connected until its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Announcement {
    /// Its id: clients show each once. The higher, the newer.
    pub id: AnnouncementId,
    /// Its title: one line.
    pub title: String,
    /// Its text.
    pub text: String,
    /// Until when it is told and shown.
    pub until: DateTime<Utc>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Why a text is none of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidText {
    /// Nothing in it can be seen.
    #[error("it must not be blank")]
    Blank,
    /// It is longer than so many characters.
    #[error("it must have at most {0} characters")]
    TooLong(usize),
    /// It has control characters, or, in a title, line breaks.
    #[error("it must not contain control characters")]
    Control,
}

/// The title of an announcement: one line.
#[derive(Clone, PartialEq, Eq)]
pub struct AnnouncementTitle(String);

/// The text of an announcement, which may have line breaks.
#[derive(Clone, PartialEq, Eq)]
pub struct AnnouncementText(String);

impl AnnouncementTitle {
    /// Checks a title.
    ///
    /// # Errors
    /// [`InvalidText`] names the rule that it breaks.
    pub fn new(raw: &str) -> Result<Self, InvalidText> {
        checked(raw, MAX_TITLE_CHARS, char::is_control).map(Self)
    }

    /// The title.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AnnouncementText {
    /// Checks a text.
    ///
    /// # Errors
    /// [`InvalidText`] names the rule that it breaks.
    pub fn new(raw: &str) -> Result<Self, InvalidText> {
        checked(raw, MAX_TEXT_CHARS, |c| c.is_control() && c != '\n').map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(raw: &str, max_chars: usize, is_refused: impl Fn(char) -> bool) -> Result<String, InvalidText> {
    let text = raw.trim();
    if text.chars().any(is_refused) {
        return Err(InvalidText::Control);
    }
    if is_blank(text) {
        return Err(InvalidText::Blank);
    }
    if text.chars().nth(max_chars).is_some() {
        return Err(InvalidText::TooLong(max_chars));
    }
    Ok(text.to_owned())
}

// What is announced is written to no log.
impl fmt::Debug for AnnouncementTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnnouncementTitle")
    }
}

impl fmt::Debug for AnnouncementText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnnouncementText")
    }
}

/// Why an announcement cannot end then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidEnd {
    /// That is over.
    #[error("the announcement would be over already")]
    Past,
    /// That is further ahead than [`MAX_LIFETIME`].
    #[error("the announcement would last for more than {} days", MAX_LIFETIME.num_days())]
    TooFar,
}

/// Checks when an announcement ends that is made now.
///
/// # Errors
/// [`InvalidEnd`] names the rule that it breaks.
pub fn check_end(until: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), InvalidEnd> {
    if until <= now {
        return Err(InvalidEnd::Past);
    }
    if until > now + MAX_LIFETIME {
        return Err(InvalidEnd::TooFar);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_and_a_text_may_have_several() {
        let title = |raw: &str| AnnouncementTitle::new(raw).map(|title| title.0);
        let text = |raw: &str| AnnouncementText::new(raw).map(|text| text.0);
        assert_eq!(title("  Maintenance tonight "), Ok("Maintenance tonight".to_owned()));
        assert_eq!(
            text("From ten.\n\nUntil twelve.\n"),
            Ok("From ten.\n\nUntil twelve.".to_owned())
        );
        assert_eq!(title("a\nb"), Err(InvalidText::Control));
        assert_eq!(text("a\u{1b}[31m"), Err(InvalidText::Control));
        for blank in ["", " \n ", "\u{200b}"] {
            assert_eq!(text(blank), Err(InvalidText::Blank), "{blank:?}");
        }
        assert_eq!(title(&"ä".repeat(120)).map(|title| title.chars().count()), Ok(120));
        assert_eq!(title(&"ä".repeat(121)), Err(InvalidText::TooLong(120)));
        assert_eq!(text(&"ä".repeat(2001)), Err(InvalidText::TooLong(2000)));
    }

    #[test]
    fn an_announcement_ends_later_and_within_a_month() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(check_end(now, now), Err(InvalidEnd::Past));
        assert_eq!(check_end(now + TimeDelta::seconds(1), now), Ok(()));
        assert_eq!(check_end(now + MAX_LIFETIME, now), Ok(()));
        assert_eq!(
            check_end(now + MAX_LIFETIME + TimeDelta::seconds(1), now),
            Err(InvalidEnd::TooFar)
        );
    }
}
