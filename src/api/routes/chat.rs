//! `/chat/send` and `/chat/stream`: sending messages.

use cura_app::App;
use cura_app::chat::{AnswerRequest, BusyPolicy, RequestKind, RequestOrigin};
use cura_domain::{ConversationId, FileId};
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Response;
use poem_openapi::{Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::origin::Origin;
use crate::http::payload::JsonBody;
use crate::http::payload::checked::{Checked, ContentField};
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::http::shutdown::Shutdown;
use crate::realtime::sse::AnswerStream;
use crate::realtime::user_connections::UserConnections;
use crate::routes::answer_response::{self, OnBusyView, Waited, read_key};
use crate::routes::tag::Tag;

pub(crate) struct ChatApi;

/// A message to send.
#[derive(Object)]
struct SendMessageRequest {
    /// The conversation; a new one if absent.
    conversation_id: Option<i64>,
    /// At most 10,000 characters; blank only with attachments.
    content: Checked<ContentField>,
    /// The ids of files of mine, in the order in which they are shown; one that is named twice counts once. One that is still being
    /// scanned is waited for, a minute at most.
    #[oai(validator(max_items = 10))]
    attachments: Option<Vec<i64>>,
    /// Default `reject`.
    on_busy: Option<OnBusyView>,
}

#[OpenApi(prefix_path = "/chat", tag = "Tag::Chat")]
impl ChatApi {
    /// Send a message and wait for the answer
    #[oai(path = "/send", method = "post", operation_id = "sendMessage")]
    async fn send(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        origin: Origin,
        shutdown: Data<&Shutdown>,
        /// `wait=N`: how many seconds to wait for the answer; default 60, 0 does not wait (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The client's key for this request. A repeated request with the same key returns the first message and its answer.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Waited, Problem> {
        let request = answer_request(body.0, None, idempotency_key.0, origin.0)?;
        answer_response::when_final(&app, rate_limit, &shutdown, caller.0, &request, prefer.0.as_deref()).await
    }

    /// Send a message and stream the answer
    ///
    /// Closing the connection does not cancel the answer. A request that is repeated with its key and `Last-Event-ID` continues there,
    /// without another `ack`; with the id of `complete` or `error` it is a 204.
    #[oai(path = "/stream", method = "post", operation_id = "streamMessage")]
    #[expect(clippy::too_many_arguments, reason = "one for each part of the request")]
    async fn stream(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        origin: Origin,
        shutdown: Data<&Shutdown>,
        connections: Data<&UserConnections>,
        /// The client's key for this request. A repeated request with the same key returns the first message and its answer.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        /// The id of the last event that was received of this answer.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Response<AnswerStream>, Problem> {
        let request = answer_request(body.0, None, idempotency_key.0, origin.0)?;
        let place = connections.open_stream(caller.0.user)?;
        answer_response::as_stream(&app, rate_limit, &shutdown, place, caller.0, &request, last_event_id.0).await
    }

    /// Send a message to a conversation and stream the answer
    ///
    /// Closing the connection does not cancel the answer. A request that is repeated with its key and `Last-Event-ID` continues there,
    /// without another `ack`; with the id of `complete` or `error` it is a 204.
    #[oai(path = "/stream/:conversation_id", method = "post", operation_id = "streamMessageTo")]
    #[expect(clippy::too_many_arguments, reason = "one for each part of the request")]
    async fn stream_to(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        origin: Origin,
        shutdown: Data<&Shutdown>,
        connections: Data<&UserConnections>,
        conversation_id: Path<i64>,
        /// The client's key for this request. A repeated request with the same key returns the first message and its answer.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        /// The id of the last event that was received of this answer.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Response<AnswerStream>, Problem> {
        let request = answer_request(body.0, Some(conversation_id.0), idempotency_key.0, origin.0)?;
        let place = connections.open_stream(caller.0.user)?;
        answer_response::as_stream(&app, rate_limit, &shutdown, place, caller.0, &request, last_event_id.0).await
    }
}

/// The request for an answer. A conversation in the path is the one in the body, if that names one.
fn answer_request(
    body: SendMessageRequest,
    path: Option<i64>,
    key: Option<String>,
    origin: RequestOrigin,
) -> Result<AnswerRequest, Problem> {
    let key = read_key(key)?;
    Ok(AnswerRequest {
        kind: RequestKind::Send {
            conversation: path.or(body.conversation_id).map(ConversationId),
            text: body.content.0,
            files: body.attachments.into_iter().flatten().map(FileId).collect(),
        },
        busy_policy: body.on_busy.map_or(BusyPolicy::Reject, BusyPolicy::from),
        key,
        origin,
    })
}
