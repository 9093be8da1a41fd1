//! Streams of server-sent events (WHATWG HTML, section 9.2): of one answer, and of everything that happens to a user.

use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cura_app::announcements::AnnouncementReader;
use cura_app::feed::{AnswerEvent, AnswerFollower, UserFeed, Watcher};
use cura_app::session_watch::OpenSession;
use cura_app::{App, Caller};
use cura_domain::answer::Position;
use cura_domain::answer_cursor::{AnswerCursor, AnswerEnd, Resumption};
use cura_domain::message::Message;
use cura_domain::{Entropy, MessageId};
use poem::http::{StatusCode, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::http::shutdown::Shutdown;
use crate::http::stream_connection::LongLived;
use crate::http::watching::Watching;
use crate::realtime::frames::{FrameSlot, Frames};
use crate::realtime::schema::{AckEvent, EventView};
use crate::realtime::user_connections::UserConnection;

/// How long a client waits before it reconnects, as the contract says.
const RETRY_LINE: &str = "retry: 2000\n\n";
/// How often a comment is sent, whatever else is sent, as the contract says.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_LINE: &str = ": keepalive\n\n";
/// The bytes that are allocated for a frame at first.
const FRAME_CAPACITY: usize = 256;
/// The clients of a server that shuts down reconnect spread over this time, in milliseconds.
const RECONNECT_WITHIN: u64 = 3000;

/// Where the events of a stream come from.
enum Source {
    /// One answer.
    Answer {
        answer: MessageId,
        follower: Box<AnswerFollower>,
    },
    /// Everything that happens to a user.
    User(Box<UserFeed>),
}

/// An event, the cursor after it if it moves it, and whether it is the last.
struct Frame {
    event: EventView,
    cursor: Option<EventId>,
    last: bool,
}

/// The id of an event.
enum EventId {
    OfAnswer(AnswerCursor),
    OfUser(Arc<str>),
}

impl Display for EventId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfAnswer(cursor) => cursor.fmt(f),
            Self::OfUser(cursor) => cursor.fmt(f),
        }
    }
}

impl Source {
    async fn next(&mut self) -> Option<Frame> {
        match self {
            Self::Answer { answer, follower } => {
                let event = follower.next().await?;
                let end = end_of(&event);
                // With an id of its own, the end is not asked for again by a browser that comes back.
                let cursor = match end {
                    Some(end) => AnswerCursor::at_end(*answer, event.position(), end),
                    None => AnswerCursor::at(*answer, event.position()),
                };
                Some(Frame {
                    event: EventView::of_answer(*answer, event),
                    cursor: Some(EventId::OfAnswer(cursor)),
                    last: end.is_some(),
                })
            }
            Self::User(feed) => {
                let item = feed.next().await;
                Some(Frame {
                    event: EventView::of_user(item.event),
                    cursor: item.cursor.map(EventId::OfUser),
                    last: false,
                })
            }
        }
    }

    fn cursor(&self) -> String {
        match self {
            Self::Answer { answer, follower } => AnswerCursor::at(*answer, follower.position()).to_string(),
            Self::User(feed) => feed.cursor().to_string(),
        }
    }
}

/// How an event ends the stream of its answer; `None` if it does not.
fn end_of(event: &AnswerEvent) -> Option<AnswerEnd> {
    match event {
        AnswerEvent::Ended { message, .. } => AnswerEnd::of(message.status),
        AnswerEvent::Gone { .. } => Some(AnswerEnd::Deleted),
        _ => None,
    }
}

/// A stream of events. Dropping it has no effect on the answer: the client is only a viewer.
pub(crate) struct EventStream {
    source: Source,
    /// What is written first, with its cursor.
    head: Vec<u8>,
    session: OpenSession,
    announcements: AnnouncementReader,
    shutdown: CancellationToken,
    watching: Watching,
    /// Given back when the stream ends.
    _place: UserConnection,
    /// When the client should reconnect if the server shuts down, in milliseconds.
    reconnect_after_ms: u64,
}

/// What every stream depends on.
pub(crate) struct Streaming<'a> {
    /// When it ends, the stream ends with `session_ended`.
    session: OpenSession,
    /// What operators tell everybody.
    announcements: AnnouncementReader,
    /// When the server shuts down, the stream ends without a last event, and the client continues on another server.
    shutdown: CancellationToken,
    /// One of the streams that its person may hold.
    place: UserConnection,
    /// `None` if the person does not look.
    watcher: Option<Watcher>,
    /// Spreads the reconnects of the clients.
    entropy: &'a Entropy,
}

impl<'a> Streaming<'a> {
    /// For a stream of `caller`, in this `place`.
    pub(crate) async fn new(
        app: &'a App,
        caller: Caller,
        shutdown: &Shutdown,
        place: UserConnection,
        watcher: Option<Watcher>,
    ) -> Self {
        Self {
            session: app.session_watch.watch(caller).await,
            announcements: app.announcements.open(),
            shutdown: shutdown.token(),
            place,
            watcher,
            entropy: &app.entropy,
        }
    }
}

/// The stream of an answer whose row was just read, for a reader that came with a cursor or without.
pub(crate) enum AnswerStream {
    /// What the reader has not received.
    Events(Box<EventStream>),
    /// Nothing: the reader has seen the end. 204 is how a browser is told not to come back.
    Ended,
}

impl AnswerStream {
    /// The events of `answer`, after `ack`.
    pub(crate) fn from_start(
        app: &App,
        caller: Caller,
        answer: Message,
        ack: AckEvent,
        streaming: Streaming<'_>,
    ) -> Self {
        Self::open(app, caller, answer, Position::START, &[EventView::Ack(ack)], streaming)
    }

    /// The events of `answer` after `cursor`; all of them without one.
    pub(crate) fn resume(
        app: &App,
        caller: Caller,
        answer: Message,
        cursor: Option<AnswerCursor>,
        streaming: Streaming<'_>,
    ) -> Self {
        let start = Resumption::After(Position::START);
        match cursor.map_or(start, |cursor| cursor.resume(&answer)) {
            Resumption::Ended => Self::Ended,
            Resumption::After(position) => Self::open(app, caller, answer, position, &[], streaming),
            Resumption::Unknown => {
                let head = EventView::restart(answer.id);
                Self::open(app, caller, answer, Position::START, &head, streaming)
            }
        }
    }

    /// The events of `answer` after `position`, behind those in `head`, after which a reader is at the start.
    fn open(
        app: &App,
        caller: Caller,
        answer: Message,
        position: Position,
        head: &[EventView],
        streaming: Streaming<'_>,
    ) -> Self {
        let id = answer.id;
        let start = AnswerCursor::at(id, Position::START);
        let head = head.iter().flat_map(|event| frame(event, Some(&start))).collect();
        let follower = Box::new(app.feed.follow_message(caller, answer, position));
        let source = Source::Answer { answer: id, follower };
        Self::Events(Box::new(EventStream::new(source, head, streaming)))
    }
}

impl EventStream {
    /// Every item of `feed`.
    pub(crate) fn of_user(feed: UserFeed, streaming: Streaming<'_>) -> Self {
        // The cursor is sent first, so that a client that loses the connection before the first event misses nothing.
        let head = format!("id: {}\n\n", feed.cursor()).into_bytes();
        Self::new(Source::User(Box::new(feed)), head, streaming)
    }

    /// `head` comes first, behind what every stream begins with.
    fn new(source: Source, head: Vec<u8>, streaming: Streaming<'_>) -> Self {
        let head = [RETRY_LINE.as_bytes(), KEEPALIVE_LINE.as_bytes(), &head].concat();
        let reconnect_after_ms = u64::from(u16::from_ne_bytes(streaming.entropy.bytes())) % RECONNECT_WITHIN + 100;
        Self {
            source,
            head,
            session: streaming.session,
            announcements: streaming.announcements,
            shutdown: streaming.shutdown,
            watching: Watching::new(streaming.watcher),
            _place: streaming.place,
            reconnect_after_ms,
        }
    }

    /// Puts the frames of the stream into `slot`, to its end.
    async fn write(mut self, slot: FrameSlot) {
        slot.put(std::mem::take(&mut self.head)).await;
        let source = &mut self.source;
        let mut session_ended = pin!(self.session.ended());
        let mut shutting_down = pin!(self.shutdown.cancelled());
        let mut keepalive = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The last frame is sent when this has ended.
        let last = loop {
            let next = tokio::select! {
                biased;
                end = &mut session_ended => {
                    self.watching.lose();
                    break frame(&EventView::SessionEnded(end.into()), Some(&source.cursor()));
                }
                _ = keepalive.tick() => KEEPALIVE_LINE.into(),
                // Without an id: it moves no cursor.
                announcement = self.announcements.next() => frame(&announcement.into(), None),
                next = source.next() => {
                    let Some(next) = next else {
                        self.watching.lose();
                        return;
                    };
                    let cursor = next.cursor.as_ref().map(|cursor| cursor as &(dyn Display + Sync));
                    let frame = frame(&next.event, cursor);
                    if next.last {
                        break frame;
                    }
                    frame
                }
                () = &mut shutting_down => {
                    self.watching.lose();
                    break format!("retry: {}\n\n", self.reconnect_after_ms).into_bytes();
                }
            };
            slot.put(next).await;
        };
        drop(slot.put(last));
    }
}

/// An event with its id. Nothing about memory can fail.
fn frame(event: &EventView, id: Option<&(dyn Display + Sync)>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_CAPACITY);
    let _ = writeln!(frame, "event: {}", event.name());
    if let Some(id) = id {
        let _ = writeln!(frame, "id: {id}");
    }
    frame.extend_from_slice(b"data: ");
    event.write_line(&mut frame);
    frame.extend_from_slice(b"\n\n");
    frame
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-cache, no-transform")
            .header("x-accel-buffering", "no")
            .extension(LongLived)
            .extension(self.watching.clone())
            .body(Body::from_bytes_stream(Frames::written_by(|slot| self.write(slot))))
    }
}

impl IntoResponse for AnswerStream {
    fn into_response(self) -> Response {
        match self {
            Self::Events(events) => events.into_response(),
            Self::Ended => StatusCode::NO_CONTENT.into_response(),
        }
    }
}

impl Payload for EventStream {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        EventView::schema_ref()
    }

    fn register(registry: &mut Registry) {
        EventView::register(registry);
    }
}

impl ApiResponse for EventStream {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: false,
            deprecated: false,
            schema: String::schema_ref(),
        };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Server-sent events; the data of each is an `Event`, its id a cursor for `Last-Event-ID`.",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: Self::CONTENT_TYPE,
                    schema: Self::schema_ref(),
                }],
                headers: vec![header(
                    "Idempotent-Replayed",
                    "`true` if an earlier request with the same key stored the message.",
                )],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }
}

impl ApiResponse for AnswerStream {
    fn meta() -> MetaResponses {
        let ended = MetaResponse {
            description: "`Last-Event-ID` is the id of this answer's end: there is nothing more, and an `EventSource` stops.",
            status: Some(204),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        };
        let mut meta = EventStream::meta();
        meta.responses.push(ended);
        meta
    }

    fn register(registry: &mut Registry) {
        <EventStream as ApiResponse>::register(registry);
    }
}
