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
    ///
    /// Stores the message and queues its answer in one transaction. Waits up to 60 seconds for the answer, or as `Prefer: wait=N` says (0
    /// to 300): 200 if it is final by then, also when the AI service failed (its status is `error` then); else, or if the server shuts
    /// down meanwhile, 202 with the text so far, and the answer goes on: follow it at `/chat/messages/{message_id}/stream`. With an
    /// `Idempotency-Key` it takes effect once: repeated within 24 hours with the same body, it returns what the first request stored
    /// (`Idempotent-Replayed: true`) and costs the default limit; with another body it is a 422 `idempotency_key_reused`. Without a key,
    /// a repeated request stores another message. While another answer of the conversation is unfinished, `on_busy` decides: 409
    /// `generation_in_progress` by default. Costs the chat limit, 30 a minute by user unless set otherwise.
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
    /// Stores the message, queues its answer, and sends its events: `ack` first, `start`, `chunk`…, and exactly one of `complete` and
    /// `error` at the end; whatever is wrong with the request is a status, before the stream begins. Closing the connection does not
    /// cancel the answer. After a cut, repeat the request with its `Idempotency-Key` and `Last-Event-ID`: it continues there, without
    /// another `ack`; with the id of `complete` or `error` it is a 204, and with the key alone it begins again with `ack` (`replayed:
    /// true`) and the whole text. Keys live 24 hours; without one, a repeated request stores another message, and with another body it is
    /// a 422 `idempotency_key_reused`. While another answer of the conversation is unfinished, `on_busy` decides: 409
    /// `generation_in_progress` by default. Costs the chat limit, 30 a minute by user unless set otherwise; a user may hold 50 streams
    /// open unless set otherwise.
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
    /// As `POST /chat/stream`, with the conversation in the path; a `conversation_id` in the body has to be the same one, else it is a
    /// 422. After a cut, repeat the request with its `Idempotency-Key` and `Last-Event-ID`: it continues there, without another `ack`;
    /// with the id of `complete` or `error` it is a 204. Without a key, a repeated request stores another message. Closing the connection
    /// does not cancel the answer. Costs the chat limit, 30 a minute by user unless set otherwise; a user may hold 50 streams open unless
    /// set otherwise.
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
