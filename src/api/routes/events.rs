//! `/events`: every event of the caller, with one cursor.

use cura_app::App;
use cura_app::feed::Liveness;
use poem::Request;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Query};

use crate::http::caller::StreamAuth;
use crate::http::problem::Problem;
use crate::http::shutdown::Shutdown;
use crate::http::watching::BehindProxy;
use crate::realtime::last_event_id::read_stream_cursor;
use crate::realtime::sse::{EventStream, Streaming};
use crate::realtime::user_connections::UserConnections;
use crate::routes::tag::Tag;

pub(crate) struct EventsApi;

#[OpenApi(tag = "Tag::Chat")]
impl EventsApi {
    /// Stream all my events
    ///
    /// Of all conversations and devices, from any server. The id of each event is a cursor: with the last one received, a connection
    /// continues exactly there, even after hours; without one, it begins now. A `resync` event says that the cursor is older than seven
    /// days or unknown: reload, and continue from the id of that event. The first block has an id but no event: it is where the stream
    /// begins. A comment comes every 10 seconds: after 30 silent seconds, reconnect. The stream ends with `session_ended`, or after a
    /// `retry:` when the server shuts down. A person who watches this stream is sent no push notification about an answer, unless
    /// `visible=false`. Costs one request of the default limit. A user may hold 50 streams open unless set otherwise.
    #[oai(path = "/events", method = "get", operation_id = "watchEvents")]
    async fn events(
        &self,
        auth: StreamAuth,
        app: Data<&App>,
        shutdown: Data<&Shutdown>,
        connections: Data<&UserConnections>,
        /// The id of the last event that was received; wins over `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The id of the last event that was received.
        after: Query<Option<String>>,
        /// `false` if the person does not see what is received: then push notifications are sent as without this
        /// stream. Default `true`.
        visible: Query<Option<bool>>,
        request: &Request,
    ) -> Result<EventStream, Problem> {
        let cursor = read_stream_cursor(last_event_id.0, after.0)?;
        let place = connections.open_stream(auth.0.user)?;
        let liveness = match request.data::<BehindProxy>() {
            Some(BehindProxy) => Liveness::Proxied,
            None => Liveness::Assumed,
        };
        let watcher = visible.0.unwrap_or(true).then(|| app.feed.watcher(auth.0, liveness));
        let feed = app.feed.open(auth.0, None, cursor).await?;
        let streaming = Streaming::new(&app, auth.0, &shutdown, place, watcher).await;
        Ok(EventStream::of_user(feed, streaming))
    }
}
