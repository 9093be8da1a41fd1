//! `/chat/messages`: one message: reading, streaming, cancelling, regenerating and editing it.

use cura_app::App;
use cura_app::chat::{AnswerRequest, BusyPolicy, RequestKind};
use cura_app::feed::Liveness;
use cura_domain::message::{MessageStatus, Role};
use cura_domain::{FileId, MessageId};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::http::caller::{SignedIn, StreamAuth};
use crate::http::origin::Origin;
use crate::http::payload::checked::{Checked, EditedContentField};
use crate::http::payload::{JsonBody, OptionalJsonBody};
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::http::shutdown::Shutdown;
use crate::realtime::last_event_id::read_stream_cursor;
use crate::realtime::sse::{AnswerStream, Streaming};
use crate::realtime::user_connections::UserConnections;
use crate::routes::answer_response::{self, OnBusyView, Waited, read_key};
use crate::routes::tag::Tag;
use crate::views::message::MessageView;

pub(crate) struct MessagesApi;

/// The new text of a message.
#[derive(Object)]
struct EditMessageRequest {
    /// At most 10,000 characters; blank only with attachments.
    content: Checked<EditedContentField>,
    /// The ids of files of mine; absent, the new message keeps those of the old one.
    #[oai(validator(max_items = 10))]
    attachments: Option<Vec<i64>>,
    /// Default `reject`.
    on_busy: Option<OnBusyView>,
}

/// How to regenerate an answer.
#[derive(Object, Default)]
struct RegenerateAnswerRequest {
    /// Default `reject`.
    on_busy: Option<OnBusyView>,
}

#[OpenApi(prefix_path = "/chat/messages", tag = "Tag::Chat")]
impl MessagesApi {
    /// Get a message
    ///
    /// A message of the user or an answer. A running answer has its text so far and the status `sending`. One that is deleted or another
    /// user's is a 404 `message_not_found`. Costs one request of the default limit.
    #[oai(path = "/:message_id", method = "get", operation_id = "getMessage")]
    async fn message(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        message_id: Path<i64>,
    ) -> Result<Json<MessageView>, Problem> {
        Ok(Json(app.messages.get(caller.0, MessageId(message_id.0)).await?.into()))
    }

    /// Stream or resume an answer
    ///
    /// Works on any server, while the answer is written and after its end. Every event has an id; a connection with the last one that was
    /// received, as `Last-Event-ID` or `after`, continues exactly there: no text is lost or repeated. With the id of `complete` or
    /// `error` it is a 204. With an id of something else, `resync` and `reset` come first, and then the whole answer. A message of the
    /// user is a 404 `answer_not_found`. A comment comes every 10 seconds: after 30 silent seconds, reconnect. Costs one request of the
    /// default limit. A user may hold 50 streams open unless set otherwise.
    #[oai(path = "/:message_id/stream", method = "get", operation_id = "resumeStream")]
    async fn resume(
        &self,
        auth: StreamAuth,
        app: Data<&App>,
        shutdown: Data<&Shutdown>,
        connections: Data<&UserConnections>,
        message_id: Path<i64>,
        /// The id of the last event that was received; wins over `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The id of the last event that was received.
        after: Query<Option<String>>,
    ) -> Result<AnswerStream, Problem> {
        let cursor = read_stream_cursor(last_event_id.0, after.0)?;
        let caller = auth.0;
        let place = connections.open_stream(caller.user)?;
        let watcher = app.feed.watcher(caller, Liveness::Assumed);
        let message = app.messages.get(caller, MessageId(message_id.0)).await?;
        if message.role != Role::Assistant {
            return Err(Problem::not_found("answer_not_found", "This message is not an answer."));
        }
        let watcher = (message.status == MessageStatus::Sending).then_some(watcher);
        let streaming = Streaming::new(&app, caller, &shutdown, place, watcher).await;
        Ok(AnswerStream::resume(&app, caller, message, cursor, streaming))
    }

    /// Cancel an answer
    ///
    /// Returns the final message, usually within 3 seconds. An answer that waits in the queue never reaches the AI service; a running one
    /// keeps the text that was streamed. Both become `sent` with the finish reason `cancelled`. Cancelling a final answer changes nothing
    /// and returns it, so the request can be repeated. Costs one request of the default limit.
    #[oai(path = "/:message_id/cancel", method = "post", operation_id = "cancelAnswer")]
    async fn cancel(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        message_id: Path<i64>,
    ) -> Result<Json<MessageView>, Problem> {
        Ok(Json(app.chat.cancel(caller.0, MessageId(message_id.0)).await?.into()))
    }

    /// Regenerate an answer
    ///
    /// Asks for another answer to the same message. It is a sibling of the old one, with the same `parent_id`; the old one is kept. The
    /// body may be absent. How long it waits (`Prefer`), 200 and 202, `on_busy` and `Idempotency-Key` are as of `POST /chat/send`;
    /// without a key, a repeated request makes another answer. Costs the chat limit, 30 a minute by user unless set otherwise.
    #[oai(path = "/:message_id/regenerate", method = "post", operation_id = "regenerateAnswer")]
    #[expect(clippy::too_many_arguments, reason = "one for each part of the request")]
    async fn regenerate(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        origin: Origin,
        shutdown: Data<&Shutdown>,
        message_id: Path<i64>,
        /// `wait=N`: how many seconds to wait for the answer; default 60, 0 does not wait (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The client's key for this request. A repeated request with the same key returns the first message and its answer.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: OptionalJsonBody<RegenerateAnswerRequest>,
    ) -> Result<Waited, Problem> {
        let body = body.0.unwrap_or_default();
        let request = AnswerRequest {
            kind: RequestKind::Regenerate {
                answer: MessageId(message_id.0),
            },
            busy_policy: body.on_busy.map_or(BusyPolicy::Reject, BusyPolicy::from),
            key: read_key(idempotency_key.0)?,
            origin: origin.0,
        };
        answer_response::when_final(&app, rate_limit, &shutdown, caller.0, &request, prefer.0.as_deref()).await
    }

    /// Edit a message and answer it
    ///
    /// Stores a new version of a message of the user and queues its answer. The new message is a sibling of the old one, with the same
    /// `parent_id`; the old one is kept. Without `attachments` it keeps the files of the old one. How long it waits (`Prefer`), 200 and
    /// 202, `on_busy` and `Idempotency-Key` are as of `POST /chat/send`; without a key, a repeated request stores another version. Costs
    /// the chat limit, 30 a minute by user unless set otherwise.
    #[oai(path = "/:message_id/edit", method = "post", operation_id = "editMessage")]
    #[expect(clippy::too_many_arguments, reason = "one for each part of the request")]
    async fn edit(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        origin: Origin,
        shutdown: Data<&Shutdown>,
        message_id: Path<i64>,
        /// `wait=N`: how many seconds to wait for the answer; default 60, 0 does not wait (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The client's key for this request. A repeated request with the same key returns the first message and its answer.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<EditMessageRequest>,
    ) -> Result<Waited, Problem> {
        let request = AnswerRequest {
            kind: RequestKind::Edit {
                message: MessageId(message_id.0),
                text: body.0.content.0,
                files: body.0.attachments.map(|files| files.into_iter().map(FileId).collect()),
            },
            busy_policy: body.0.on_busy.map_or(BusyPolicy::Reject, BusyPolicy::from),
            key: read_key(idempotency_key.0)?,
            origin: origin.0,
        };
        answer_response::when_final(&app, rate_limit, &shutdown, caller.0, &request, prefer.0.as_deref()).await
    }
}
