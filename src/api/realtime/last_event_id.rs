//! The cursor of an event stream: the id of the last event that a client has received.

use std::str::FromStr;

use crate::http::problem::Problem;

/// The cursor of a stream. `Last-Event-ID` wins over `?after=`, because a browser that reconnects sends both.
pub(crate) fn read_stream_cursor<C: FromStr>(
    last_event_id: Option<String>,
    after: Option<String>,
) -> Result<Option<C>, Problem> {
    read_cursor(last_event_id.filter(|id| !id.is_empty()).or(after))
}

/// A cursor as a client sends it; an empty one counts as absent.
pub(crate) fn read_cursor<C: FromStr>(text: Option<String>) -> Result<Option<C>, Problem> {
    let cursor = text.filter(|text| !text.is_empty()).map(|text| text.parse());
    cursor.transpose().map_err(|_| {
        Problem::malformed(
            "invalid_cursor",
            "Last-Event-ID or after is not an event id of this stream.",
        )
    })
}
