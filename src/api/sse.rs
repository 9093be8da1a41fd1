//! One answer as a stream of server-sent events (WHATWG HTML, section 9.2).

use std::time::Duration;

use cura_app::follow::AnswerFollower;
use cura_app::session_watch::OpenSession;
use cura_domain::MessageId;
use cura_domain::answer::Position;
use futures_util::stream;
use poem::http::header;
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::events::{AckEvent, EventView};

/// How long a client waits before it reconnects, as the contract says.
const RETRY_LINE: &str = "retry: 2000\n\n";
/// How often a silent stream shows that it is alive, as the contract says.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_LINE: &str = ": keepalive\n\n";

/// The events of one answer. The generation does not notice when it is dropped.
pub(crate) struct AnswerStream {
    answer: MessageId,
    ack: Option<AckEvent>,
    follower: AnswerFollower,
    session: OpenSession,
    closing: CancellationToken,
}

impl AnswerStream {
    /// What `follower` sees, after `ack`; ends with `session_ended` when the `session` does, and without a last event
    /// when the server is `closing`, so that the client goes on at another one.
    pub(crate) fn new(
        answer: MessageId,
        ack: Option<AckEvent>,
        follower: AnswerFollower,
        session: OpenSession,
        closing: CancellationToken,
    ) -> Self {
        Self {
            answer,
            ack,
            follower,
            session,
            closing,
        }
    }
}

struct Frames {
    answer: MessageId,
    follower: AnswerFollower,
    session: OpenSession,
    closing: CancellationToken,
    keepalive: Interval,
    /// Written before anything else: the head of the stream.
    head: Option<String>,
    ended: bool,
}

impl Frames {
    async fn next(&mut self) -> Option<String> {
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        if self.ended {
            return None;
        }
        tokio::select! {
            biased;
            end = self.session.ended() => {
                self.ended = true;
                let cursor = self.follower.position().to_string();
                Some(frame(&EventView::SessionEnded(end.into()), &cursor))
            }
            event = self.follower.next() => {
                let Some(event) = event else {
                    self.ended = true;
                    return None;
                };
                self.keepalive.reset();
                let (event, cursor) = EventView::of(self.answer, event);
                self.ended = matches!(event, EventView::Complete(_) | EventView::Error(_));
                Some(frame(&event, &cursor))
            }
            _ = self.keepalive.tick() => Some(KEEPALIVE_LINE.to_owned()),
            () = self.closing.cancelled() => {
                self.ended = true;
                None
            }
        }
    }
}

fn frame(event: &EventView, cursor: &str) -> String {
    format!("event: {}\nid: {cursor}\ndata: {}\n\n", event.name(), event.to_line())
}

impl IntoResponse for AnswerStream {
    fn into_response(self) -> Response {
        let mut head = String::from(RETRY_LINE);
        head.push_str(KEEPALIVE_LINE);
        if let Some(ack) = self.ack {
            head.push_str(&frame(&EventView::Ack(ack), &Position::START.to_string()));
        }
        let mut keepalive = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let frames = Frames {
            answer: self.answer,
            follower: self.follower,
            session: self.session,
            closing: self.closing,
            keepalive,
            head: Some(head),
            ended: false,
        };
        let body = stream::unfold(frames, |mut frames| async move {
            frames
                .next()
                .await
                .map(|frame| (Ok::<_, std::io::Error>(frame), frames))
        });
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-cache, no-transform")
            .header("x-accel-buffering", "no")
            .body(Body::from_bytes_stream(body))
    }
}

impl Payload for AnswerStream {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        EventView::schema_ref()
    }

    fn register(registry: &mut Registry) {
        EventView::register(registry);
    }
}

impl ApiResponse for AnswerStream {
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
                    "`true` when an earlier request with the same key stored it.",
                )],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }
}
