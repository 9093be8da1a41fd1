//! `/events`: everything that happens to the caller, on one cursor.

use std::str::FromStr;

use cura_app::App;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Query};

use crate::Tag;
use crate::caller::Watcher;
use crate::closing::Closing;
use crate::problem::Problem;
use crate::sse::{EventStream, Streaming};

pub(crate) struct EventsApi;

#[OpenApi(tag = "Tag::Chat")]
impl EventsApi {
    /// Watch everything that happens to you
    ///
    /// All conversations, on all devices, from any server. The id of each event is a cursor: with the last one seen, a
    /// connection goes on exactly there, also after hours; without one, it begins now. A `resync` event says that a cursor
    /// is older than seven days or from elsewhere: reload, and go on from its id. The first block carries an id and no
    /// event: where the stream begins.
    #[oai(path = "/events", method = "get", operation_id = "watchEvents")]
    async fn events(
        &self,
        watcher: Watcher,
        app: Data<&App>,
        closing: Data<&Closing>,
        /// The id of the last event that was seen; wins over `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The id of the last event that was seen.
        after: Query<Option<String>>,
    ) -> Result<EventStream, Problem> {
        let cursor = read_cursor(last_event_id.0.filter(|id| !id.is_empty()).or(after.0))?;
        let feed = app.user_feed(watcher.0, None, cursor).await?;
        let streaming = Streaming {
            session: app.open_session_of(watcher.0).await,
            closing: closing.token(),
            entropy: app.entropy(),
        };
        Ok(EventStream::of_user(feed, streaming))
    }
}

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
