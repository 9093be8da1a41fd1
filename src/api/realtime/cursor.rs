//! The id of the last event that a client has seen.

use std::str::FromStr;

use crate::http::problem::Problem;

/// A cursor as a client sends it; an empty one is none.
pub(crate) fn read_cursor<C: FromStr>(text: Option<String>) -> Result<Option<C>, Problem> {
    let cursor = text.filter(|text| !text.is_empty()).map(|text| text.parse());
    cursor.transpose().map_err(|_| {
        Problem::malformed(
            "invalid_cursor",
            "Last-Event-ID or after is not an event id of this stream.",
        )
    })
}
