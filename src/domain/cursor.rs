//! The cursor of a user's event feed: the number of the last event that a connection received, and its position in each
//! running answer. As text it is opaque to clients and fits into a header.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::answer::{InvalidCursor, Position};
use crate::{ConversationId, MessageId};

/// The most running answers that a cursor can name. With the longest ids it has 40 kB, which fit into the head of a request.
const MAX_RUNNING: usize = 1000;
/// Stands for running answers of which there are too many to name.
const CUT: &str = "+";

/// A position in the event feed of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The one conversation of the feed; `None` for all.
    pub scope: Option<ConversationId>,
    /// The number of the last event.
    pub seq: i64,
    /// The position in each running answer that the connection knows.
    pub running: BTreeMap<MessageId, Position>,
    /// Whether it was cut: it does not name the running answers, because there were too many. It is a valid cursor, but nothing can be
    /// resumed from it.
    pub is_cut: bool,
}

/// `c`, the conversation and a dot, if it has one; `seq`; then `_id-attempt.offset` for each running answer, or `_+` for too many.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scope) = self.scope {
            write!(f, "c{scope}.")?;
        }
        write!(f, "{}", self.seq)?;
        if self.is_cut || self.running.len() > MAX_RUNNING {
            return write!(f, "_{CUT}");
        }
        for (id, position) in &self.running {
            write!(f, "_{id}-{position}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<i64>().ok()).flatten().ok_or(InvalidCursor)
        };
        let (scope, text) = match text.strip_prefix('c') {
            None => (None, text),
            Some(scoped) => {
                let (scope, text) = scoped.split_once('.').ok_or(InvalidCursor)?;
                (Some(ConversationId(number(scope)?)), text)
            }
        };
        let mut parts = text.split('_');
        let seq = number(parts.next().unwrap_or_default())?;
        let (mut running, mut is_cut) = (BTreeMap::new(), false);
        for part in parts {
            if part == CUT {
                is_cut = true;
                continue;
            }
            let (id, position) = part.split_once('-').ok_or(InvalidCursor)?;
            running.insert(MessageId(number(id)?), position.parse()?);
            if running.len() > MAX_RUNNING {
                is_cut = true;
                running.clear();
            }
        }
        if is_cut {
            running.clear();
        }
        Ok(Self {
            scope,
            seq,
            running,
            is_cut,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Fence;

    #[test]
    fn a_cursor_round_trips_and_anything_else_is_refused() {
        let position = Position {
            attempt: Fence(2),
            offset: 17,
        };
        let cursor = Cursor {
            scope: None,
            seq: 41,
            running: [(MessageId(7), position), (MessageId(9), Position::START)].into(),
            is_cut: false,
        };
        assert_eq!(cursor.to_string(), "41_7-2.17_9-0.0");
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        let scoped = Cursor {
            scope: Some(ConversationId(5)),
            ..cursor
        };
        assert_eq!(scoped.to_string(), "c5.41_7-2.17_9-0.0");
        assert_eq!(scoped.to_string().parse(), Ok(scoped));
        assert_eq!("0".parse(), Ok(Cursor::default()));
        for bad in [
            "",
            "-1",
            "+1",
            "x",
            "1_",
            "1_2",
            "1_2-",
            "1_2-3",
            "1_x-0.0",
            "99999999999999999999",
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad}");
        }
    }

    #[test]
    fn a_cursor_with_too_many_answers_is_short_and_says_that_nothing_can_be_resumed() {
        let with = |count| Cursor {
            seq: 41,
            running: (0..count).map(|n| (MessageId(n), Position::START)).collect(),
            ..Cursor::default()
        };
        let most = with(1000);
        assert_eq!(most.to_string().parse(), Ok(most));
        let cut = Cursor {
            seq: 41,
            is_cut: true,
            ..Cursor::default()
        };
        assert_eq!(with(1001).to_string(), "41_+");
        assert_eq!("41_+".parse(), Ok(cut.clone()));
        assert_eq!(cut.to_string(), "41_+");
        // As handed out before there was a shorter form.
        let long: String = (0..2000).map(|n| format!("_{n}-0.0")).collect();
        assert_eq!(format!("41{long}").parse(), Ok(cut));
        assert_eq!("41_+x".parse::<Cursor>(), Err(InvalidCursor));
    }
}
