//! An answer is an append-only text, written by one attempt at a time.
//!
//! A position in it is an attempt and an offset. How much a reader of an older attempt may keep is decided here and nowhere
//! else: each attempt records the offset at which it began, and everything beyond the lowest of these offsets, among the
//! attempts that a reader has not seen, may have been rewritten.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest answer, in UTF-8 bytes: far beyond any model's output limit. One that would become longer ends there.
/// Every other limit on an answer's text derives from this one.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How long one attempt at an answer may take. The lifetimes of its text derive from it.
pub const MAX_ATTEMPT_DURATION: Duration = Duration::from_secs(15 * 60);

/// The number of an attempt at an answer, from 1. Every write carries it; a write with an old fence changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u32);

impl Fence {
    /// The fence of the first attempt.
    pub const FIRST: Self = Self(1);
    /// Not older than the fence of any attempt.
    pub const MAX: Self = Self(u32::MAX);
}

/// As Postgres stores it. An answer has a handful of attempts, so the number always fits.
impl From<Fence> for i32 {
    fn from(fence: Fence) -> Self {
        Self::try_from(fence.0).unwrap_or(Self::MAX)
    }
}

/// The offset at which each attempt began, in UTF-8 bytes: entry `n` belongs to attempt `n + 1`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptOffsets(pub Vec<u64>);

impl AttemptOffsets {
    /// How many bytes of the text a reader at `position` may keep: its offset, or less if a later attempt began before it.
    pub fn keep(&self, position: Position) -> u64 {
        self.0
            .iter()
            .skip(position.attempt.0 as usize)
            .fold(position.offset, |kept, offset| kept.min(*offset))
    }
}

/// A position in the text of an answer as one reader sees it: `offset` bytes, the last of them written by `attempt`.
///
/// As text (`attempt.offset`) it is the opaque cursor of an answer's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The attempt the reader has seen last; 0 before the first.
    pub attempt: Fence,
    /// UTF-8 bytes received so far.
    pub offset: u64,
}

impl Position {
    /// Before the first byte of the first attempt.
    pub const START: Self = Self {
        attempt: Fence(0),
        offset: 0,
    };
    /// The same, for a reader that has received the crisis notice of the answer.
    pub const NOTICED: Self = Self {
        attempt: Fence(0),
        offset: 1,
    };

    /// The position in the text alone: a reader without any text is at its start, whether it has the notice or not.
    pub const fn of_text(self) -> Self {
        if self.attempt.0 == 0 { Self::START } else { self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt.0, self.offset)
    }
}

/// The text is not a position or cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a cursor of this stream")]
pub struct InvalidCursor;

impl FromStr for Position {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (attempt, offset) = text.split_once('.').ok_or(InvalidCursor)?;
        if !digits(attempt) || !digits(offset) {
            return Err(InvalidCursor);
        }
        Ok(Self {
            attempt: Fence(attempt.parse().map_err(|_| InvalidCursor)?),
            offset: offset.parse().map_err(|_| InvalidCursor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(attempt: u32, offset: u64) -> Position {
        Position {
            attempt: Fence(attempt),
            offset,
        }
    }

    #[test]
    fn a_reader_of_the_last_attempt_keeps_everything() {
        assert_eq!(AttemptOffsets(vec![0, 50, 80]).keep(at(3, 200)), 200);
    }

    #[test]
    fn a_reader_that_missed_attempts_keeps_only_what_none_of_them_rewrote() {
        assert_eq!(AttemptOffsets(vec![0, 50, 80]).keep(at(1, 100)), 50);
        assert_eq!(AttemptOffsets(vec![0, 50, 80]).keep(at(2, 100)), 80);
        assert_eq!(AttemptOffsets(vec![0, 50, 80]).keep(at(2, 60)), 60);
    }

    #[test]
    fn a_cursor_round_trips_and_anything_else_is_refused() {
        assert_eq!("2.17".parse(), Ok(at(2, 17)));
        assert_eq!(at(2, 17).to_string(), "2.17");
        for bad in ["", ".", "1", "1.", "+1.2", "1.-2", "1.2.3", "x.y", "99999999999.1"] {
            assert_eq!(bad.parse::<Position>(), Err(InvalidCursor), "{bad}");
        }
    }
}
