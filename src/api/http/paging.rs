//! Pages of lists: opaque cursors, `Link`, `X-Total-Count`.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike};
use cura_app::Page;
use cura_app::conversations::ListPosition;
use cura_domain::{FileId, MessageId};

use crate::http::problem::Problem;

/// The default number of items on a page.
pub(crate) const DEFAULT_LIMIT: i64 = 20;

/// A position in a list, opaque to clients.
pub(crate) trait Cursor: Sized {
    /// The position as text.
    fn write(&self) -> String;
    /// The position from its text; `None` if the text is not of this list.
    fn read(text: &str) -> Option<Self>;
}

/// The position that a client sends; an empty cursor counts as absent.
///
/// # Errors
/// 400 if it is not a cursor of this list.
pub(crate) fn read_cursor<C: Cursor>(cursor: Option<&str>) -> Result<Option<C>, Problem> {
    let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
        return Ok(None);
    };
    let read = || C::read(std::str::from_utf8(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?);
    read()
        .map(Some)
        .ok_or_else(|| Problem::malformed("invalid_cursor", "The cursor is not one of this list."))
}

/// What a page has besides its items.
pub(crate) struct PageLinks {
    pub(crate) next_cursor: Option<String>,
    pub(crate) link: Option<String>,
    pub(crate) total: i64,
}

impl PageLinks {
    /// Of a page of the list at `path`, requested with these other parameters.
    pub(crate) fn of<T, C: Cursor>(page: &Page<T, C>, path: &str, parameters: &[(&str, &str)]) -> Self {
        let next_cursor = page.next.as_ref().map(|next| URL_SAFE_NO_PAD.encode(next.write()));
        let link = next_cursor.as_ref().map(|cursor| {
            let mut link = format!("<{path}?cursor={cursor}");
            for (name, value) in parameters {
                // Writing to a string cannot fail.
                let _ = write!(link, "&{name}={value}");
            }
            link.push_str(">; rel=\"next\"");
            link
        });
        Self {
            next_cursor,
            link,
            total: page.total,
        }
    }
}

impl Cursor for ListPosition {
    fn write(&self) -> String {
        format!("c{}.{}", self.last_message_at.timestamp_micros(), self.id)
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.strip_prefix('c')?.split_once('.')?;
        let last_message_at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
        // Only these times are issued; Postgres rejects some others that chrono accepts.
        (1970..=9999).contains(&last_message_at.year()).then_some(())?;
        Some(Self {
            last_message_at,
            id: id.parse().ok()?,
        })
    }
}

impl Cursor for MessageId {
    fn write(&self) -> String {
        format!("m{self}")
    }

    fn read(text: &str) -> Option<Self> {
        text.strip_prefix('m')?.parse().ok()
    }
}

impl Cursor for FileId {
    fn write(&self) -> String {
        format!("f{self}")
    }

    fn read(text: &str) -> Option<Self> {
        text.strip_prefix('f')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::ConversationId;
    use proptest::prelude::*;

    use super::*;

    fn round_trip<C: Cursor>(position: &C) -> C {
        read_cursor(Some(&URL_SAFE_NO_PAD.encode(position.write())))
            .unwrap()
            .unwrap()
    }

    proptest! {
        #[test]
        fn a_cursor_survives_the_round_trip(micros in 0_i64..253_402_300_799_999_999, id: i64) {
            let position = ListPosition {
                last_message_at: DateTime::from_timestamp_micros(micros).unwrap(),
                id: ConversationId(id),
            };
            prop_assert_eq!(round_trip(&position), position);
            prop_assert_eq!(round_trip(&MessageId(id)), MessageId(id));
            prop_assert_eq!(round_trip(&FileId(id)), FileId(id));
        }

        #[test]
        fn a_cursor_of_one_list_is_refused_by_another(id: i64) {
            let cursor = URL_SAFE_NO_PAD.encode(MessageId(id).write());
            prop_assert!(read_cursor::<ListPosition>(Some(&cursor)).is_err());
            prop_assert!(read_cursor::<FileId>(Some(&cursor)).is_err());
        }

        #[test]
        fn a_forged_cursor_is_a_position_or_a_problem(forged in "\\PC{0,40}") {
            let _ = read_cursor::<ListPosition>(Some(&forged));
            let _ = read_cursor::<MessageId>(Some(&forged));
            let _ = read_cursor::<ListPosition>(Some(&URL_SAFE_NO_PAD.encode(&forged)));
            let _ = read_cursor::<MessageId>(Some(&URL_SAFE_NO_PAD.encode(&forged)));
        }
    }
}
