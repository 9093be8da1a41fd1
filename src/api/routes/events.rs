//! `/events`: everything that happens to the caller, on one cursor.

use cura_app::App;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Query};

use crate::http::caller::StreamAuth;
use crate::http::problem::Problem;
use crate::http::shutdown::Shutdown;
use crate::realtime::cursor::read_cursor;
use crate::realtime::sse::{EventStream, Streaming};
use crate::routes::tag::Tag;

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
        auth: StreamAuth,
        app: Data<&App>,
        shutdown: Data<&Shutdown>,
        /// The id of the last event that was seen; wins over `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The id of the last event that was seen.
        after: Query<Option<String>>,
    ) -> Result<EventStream, Problem> {
        let cursor = read_cursor(last_event_id.0.filter(|id| !id.is_empty()).or(after.0))?;
        let feed = app.feed.open(auth.0, None, cursor).await?;
        let streaming = Streaming {
            session: app.session_watch.watch(auth.0).await,
            shutdown: shutdown.token(),
            entropy: &app.entropy,
        };
        Ok(EventStream::of_user(feed, streaming))
    }
}
