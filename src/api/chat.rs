//! `/chat`: sending a message, and watching its answer come.

use std::time::Duration;

use cura_app::chat::{ReadMessageError, SendMessage, SendMessageError, StartedAnswer};
use cura_app::conversations::Message;
use cura_app::follow::AnswerEvent;
use cura_app::{App, Caller};
use cura_domain::answer::Position;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::{MessageText, Role};
use cura_domain::{ConversationId, MessageId};
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::{Json, Response};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use crate::Tag;
use crate::caller::{SignedIn, Watcher};
use crate::closing::Closing;
use crate::events::AckEvent;
use crate::limits::Turn;
use crate::messages::MessageView;
use crate::payload::JsonBody;
use crate::prefer;
use crate::problem::{Fields, Problem};
use crate::sse::AnswerStream;

pub(crate) struct ChatApi;

/// What happens to a message for a conversation in which an answer is being written.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum OnBusy {
    /// 409.
    Reject,
    /// The running answer is stopped. Not available yet.
    Interrupt,
    /// It is answered afterwards. Not available yet.
    Queue,
}

/// Sends a message.
#[derive(Object)]
struct SendMessageRequest {
    /// Where; without it, a new conversation.
    conversation_id: Option<i64>,
    /// At most 10,000 characters.
    #[oai(validator(min_length = 1, max_length = 10000))]
    content: String,
    /// Files to show. Not available yet: must be empty.
    #[oai(validator(max_items = 0))]
    attachments: Option<Vec<i64>>,
    /// `reject`, unless said otherwise.
    on_busy: Option<OnBusy>,
}

/// A stored message and its answer.
#[derive(Object)]
#[oai(rename = "SentMessage")]
struct SentView {
    conversation_id: i64,
    user_message: MessageView,
    assistant_message: MessageView,
}

#[derive(ApiResponse)]
enum Sent {
    /// The answer is done; with status `error` when the AI service failed.
    #[oai(status = 200)]
    Answered(
        Json<SentView>,
        /// `true` when an earlier request with the same key stored it.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
    /// The message is stored; the answer takes longer than the client wants to wait.
    #[oai(status = 202)]
    Accepted(
        Json<SentView>,
        /// `true` when an earlier request with the same key stored it.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
        /// Where the answer is.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(prefix_path = "/chat", tag = "Tag::Chat")]
impl ChatApi {
    /// Send a message and wait for the answer
    #[oai(path = "/send", method = "post", operation_id = "sendMessage")]
    async fn send(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        turn: &Turn,
        closing: Data<&Closing>,
        /// `wait=N`: how many seconds to wait for the answer; 60 unless said otherwise, 0 to not wait (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Sent, Problem> {
        let send = read(body.0, None, idempotency_key.0)?;
        let wait = prefer::wait(prefer.0.as_deref());
        let started = start(&app, turn, caller.0, &send).await?;
        let location = format!("/chat/messages/{}", started.answer.id);
        let answer = wait_for(&app, caller.0, started.answer, wait, &closing).await;
        let done = answer.status != cura_domain::message::MessageStatus::Sending;
        let body = Json(SentView {
            conversation_id: started.conversation.0,
            user_message: started.user_message.into(),
            assistant_message: answer.into(),
        });
        let replayed = started.replayed.then_some(true);
        Ok(if done {
            Sent::Answered(body, replayed)
        } else {
            Sent::Accepted(body, replayed, location)
        })
    }

    /// Send a message to a new conversation, or the one in the body, and stream the answer
    ///
    /// Closing the connection does not stop the answer.
    #[oai(path = "/stream", method = "post", operation_id = "streamMessage")]
    async fn stream(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        turn: &Turn,
        closing: Data<&Closing>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Response<AnswerStream>, Problem> {
        stream(&app, turn, &closing, caller.0, read(body.0, None, idempotency_key.0)?).await
    }

    /// Send a message to a conversation and stream the answer
    ///
    /// Closing the connection does not stop the answer.
    #[oai(path = "/stream/:conversation_id", method = "post", operation_id = "streamMessageTo")]
    async fn stream_to(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        turn: &Turn,
        closing: Data<&Closing>,
        conversation_id: Path<i64>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Response<AnswerStream>, Problem> {
        let send = read(body.0, Some(conversation_id.0), idempotency_key.0)?;
        stream(&app, turn, &closing, caller.0, send).await
    }

    /// One message; of a running answer, with the text so far
    #[oai(path = "/messages/:message_id", method = "get", operation_id = "getMessage")]
    async fn message(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        message_id: Path<i64>,
    ) -> Result<Json<MessageView>, Problem> {
        Ok(Json(app.message(caller.0, MessageId(message_id.0)).await?.into()))
    }

    /// Join or resume the stream of an answer
    ///
    /// Works on any server, during and after the generation.
    #[oai(path = "/messages/:message_id/stream", method = "get", operation_id = "resumeStream")]
    async fn resume(
        &self,
        watcher: Watcher,
        app: Data<&App>,
        closing: Data<&Closing>,
        message_id: Path<i64>,
        /// The id of the last event that was seen; wins over `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The id of the last event that was seen.
        after: Query<Option<String>>,
    ) -> Result<AnswerStream, Problem> {
        let cursor = last_event_id
            .0
            .filter(|id| !id.is_empty())
            .or(after.0.filter(|id| !id.is_empty()));
        let position = cursor.map_or(Ok(Position::START), |cursor| cursor.parse());
        let position = position.map_err(|_| {
            Problem::malformed(
                "invalid_cursor",
                "Last-Event-ID or after is not an event id of this stream.",
            )
        })?;
        let caller = watcher.0;
        let message = app.message(caller, MessageId(message_id.0)).await?;
        if message.role != Role::Assistant {
            return Err(Problem::not_found("answer_not_found", "This message is no answer."));
        }
        let id = message.id;
        let follower = app.follow_read(caller, message, position);
        Ok(AnswerStream::new(
            id,
            None,
            follower,
            app.open_session_of(caller).await,
            closing.token(),
        ))
    }
}

/// What the client wants to send, checked.
fn read(body: SendMessageRequest, path: Option<i64>, key: Option<String>) -> Result<SendMessage, Problem> {
    let key = key.map(|key| {
        IdempotencyKey::new(&key)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", error.to_string()))
    });
    let key = key.transpose()?;
    let mut fields = Fields::default();
    if matches!((path, body.conversation_id), (Some(path), Some(body)) if path != body) {
        fields.refuse(
            "/conversation_id",
            "mismatch",
            "names another conversation than the path",
        );
    }
    if body.on_busy.is_some_and(|on_busy| on_busy != OnBusy::Reject) {
        fields.refuse("/on_busy", "not_supported", "is not available yet; `reject` is");
    }
    let text = fields.check("/content", "invalid_content", MessageText::new(body.content));
    let text = fields.finish(text)?;
    Ok(SendMessage {
        conversation: path.or(body.conversation_id).map(ConversationId),
        text,
        key,
    })
}

/// Stores and queues a message. A repetition attaches to the first time, whatever is left of the caller's budget.
async fn start(app: &App, turn: &Turn, caller: Caller, send: &SendMessage) -> Result<StartedAnswer, Problem> {
    if let Some(first) = app.find_sent(caller, send).await? {
        return Ok(first);
    }
    turn.of_chat(caller).await?;
    Ok(app.start_answer(caller, send).await?)
}

async fn stream(
    app: &App,
    turn: &Turn,
    closing: &Closing,
    caller: Caller,
    send: SendMessage,
) -> Result<Response<AnswerStream>, Problem> {
    let started = start(app, turn, caller, &send).await?;
    let (replayed, ack) = (started.replayed, AckEvent::from(&started));
    let (id, session) = (started.answer.id, app.open_session_of(caller).await);
    let follower = app.follow_read(caller, started.answer, Position::START);
    let response = Response::new(AnswerStream::new(id, Some(ack), follower, session, closing.token()));
    Ok(if replayed {
        response.header("Idempotent-Replayed", "true")
    } else {
        response
    })
}

/// The answer when it is final, or as it stands when `wait` is over or the server closes. What is stored is stored:
/// nothing that goes wrong here is the sender's business.
async fn wait_for(app: &App, caller: Caller, answer: Message, wait: Duration, closing: &Closing) -> Message {
    if wait.is_zero() {
        return answer;
    }
    let mut follower = app.follow_read(caller, answer.clone(), Position::START);
    let ended = async {
        while let Some(event) = follower.next().await {
            if let AnswerEvent::Ended { message, .. } = event {
                return Some(*message);
            }
        }
        None
    };
    let token = closing.token();
    let ended = tokio::select! {
        ended = ended => ended,
        () = tokio::time::sleep(wait) => None,
        () = token.cancelled() => None,
    };
    match ended {
        Some(message) => message,
        None => app.message(caller, answer.id).await.unwrap_or(answer),
    }
}

impl From<&StartedAnswer> for AckEvent {
    fn from(started: &StartedAnswer) -> Self {
        Self {
            conversation_id: started.conversation.0,
            user_message_id: started.user_message.id.0,
            message_id: started.answer.id.0,
            replayed: started.replayed,
        }
    }
}

impl From<SendMessageError> for Problem {
    fn from(error: SendMessageError) -> Self {
        match error {
            SendMessageError::ConversationNotFound => Self::conversation_not_found(),
            SendMessageError::Busy { running } => {
                let detail = "An answer is being written in this conversation.";
                Self::new(StatusCode::CONFLICT, "generation_in_progress", detail).with_message(running.0)
            }
            SendMessageError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request.",
            ),
            SendMessageError::Store(error) => error.into(),
            error @ (SendMessageError::Queue(_) | SendMessageError::JobKnown) => {
                tracing::error!(%error, "a job could not be enqueued");
                Self::internal()
            }
        }
    }
}

impl From<ReadMessageError> for Problem {
    fn from(error: ReadMessageError) -> Self {
        match error {
            ReadMessageError::NotFound => Self::not_found("message_not_found", "There is no such message."),
            ReadMessageError::Store(error) => error.into(),
        }
    }
}
