//! `/chat`: asking for answers.

use std::time::Duration;

use cura_app::chat::{Ask, AskForAnswer, OnBusy};
use cura_app::feed::AnswerEvent;
use cura_app::messages::Message;
use cura_app::{App, Caller};
use cura_domain::answer::Position;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::MessageText;
use cura_domain::{ConversationId, MessageId};
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::{Json, Response};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::fields::Fields;
use crate::http::payload::{JsonBody, OptionalJsonBody};
use crate::http::prefer;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::http::shutdown::Shutdown;
use crate::http::start_answer::start_answer;
use crate::realtime::schema::AckEvent;
use crate::realtime::sse::{EventStream, Streaming};
use crate::routes::tag::Tag;
use crate::views::message::MessageView;

pub(crate) struct ChatApi;

/// What happens to a message for a conversation in which an answer is being written.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename = "OnBusy", rename_all = "lowercase")]
enum OnBusyView {
    /// 409, with the id of the running answer.
    Reject,
    /// The running answer is stopped; what was written of it stays.
    Interrupt,
    /// It is answered afterwards, in order; 409 when twenty wait already.
    Queue,
}

impl From<OnBusyView> for OnBusy {
    fn from(view: OnBusyView) -> Self {
        match view {
            OnBusyView::Reject => Self::Reject,
            OnBusyView::Interrupt => Self::Interrupt,
            OnBusyView::Queue => Self::Queue,
        }
    }
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
    on_busy: Option<OnBusyView>,
}

/// Says something anew.
#[derive(Object)]
struct EditMessageRequest {
    /// At most 10,000 characters.
    #[oai(validator(min_length = 1, max_length = 10000))]
    content: String,
    /// `reject`, unless said otherwise.
    on_busy: Option<OnBusyView>,
}

/// Wishes for another answer.
#[derive(Object, Default)]
struct RegenerateAnswerRequest {
    /// `reject`, unless said otherwise.
    on_busy: Option<OnBusyView>,
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
        rate_limit: &RateLimit,
        shutdown: Data<&Shutdown>,
        /// `wait=N`: how many seconds to wait for the answer; 60 unless said otherwise, 0 to not wait (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Sent, Problem> {
        let wish = read(body.0, None, idempotency_key.0)?;
        send(&app, rate_limit, &shutdown, caller.0, &wish, prefer.0.as_deref()).await
    }

    /// Send a message to a new conversation, or the one in the body, and stream the answer
    ///
    /// Shutdown the connection does not stop the answer.
    #[oai(path = "/stream", method = "post", operation_id = "streamMessage")]
    async fn stream(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        shutdown: Data<&Shutdown>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Response<EventStream>, Problem> {
        stream(
            &app,
            rate_limit,
            &shutdown,
            caller.0,
            read(body.0, None, idempotency_key.0)?,
        )
        .await
    }

    /// Send a message to a conversation and stream the answer
    ///
    /// Shutdown the connection does not stop the answer.
    #[oai(path = "/stream/:conversation_id", method = "post", operation_id = "streamMessageTo")]
    async fn stream_to(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        shutdown: Data<&Shutdown>,
        conversation_id: Path<i64>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<SendMessageRequest>,
    ) -> Result<Response<EventStream>, Problem> {
        let wish = read(body.0, Some(conversation_id.0), idempotency_key.0)?;
        stream(&app, rate_limit, &shutdown, caller.0, wish).await
    }

    /// Answer a question anew
    ///
    /// The new answer is a sibling of the old one, with the same `parent_id`.
    #[oai(
        path = "/messages/:message_id/regenerate",
        method = "post",
        operation_id = "regenerateAnswer"
    )]
    async fn regenerate(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        shutdown: Data<&Shutdown>,
        message_id: Path<i64>,
        /// `wait=N`: how many seconds to wait for the answer; 60 unless said otherwise, 0 to not wait (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: OptionalJsonBody<RegenerateAnswerRequest>,
    ) -> Result<Sent, Problem> {
        let body = body.0.unwrap_or_default();
        let wish = AskForAnswer {
            ask: Ask::Regenerate {
                answer: MessageId(message_id.0),
            },
            on_busy: body.on_busy.map_or(OnBusy::Reject, OnBusy::from),
            key: read_key(idempotency_key.0)?,
        };
        send(&app, rate_limit, &shutdown, caller.0, &wish, prefer.0.as_deref()).await
    }

    /// Say something anew, and have it answered
    ///
    /// The new message is a sibling of the old one, with the same `parent_id`; nothing is overwritten.
    #[oai(path = "/messages/:message_id/edit", method = "post", operation_id = "editMessage")]
    async fn edit(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        shutdown: Data<&Shutdown>,
        message_id: Path<i64>,
        /// `wait=N`: how many seconds to wait for the answer; 60 unless said otherwise, 0 to not wait (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The client's own name for this request: the same key again attaches to the first one.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<EditMessageRequest>,
    ) -> Result<Sent, Problem> {
        let mut fields = Fields::default();
        let text = fields.check("/content", "invalid_content", MessageText::new(body.0.content));
        let wish = AskForAnswer {
            ask: Ask::Edit {
                message: MessageId(message_id.0),
                text: fields.finish(text)?,
            },
            on_busy: body.0.on_busy.map_or(OnBusy::Reject, OnBusy::from),
            key: read_key(idempotency_key.0)?,
        };
        send(&app, rate_limit, &shutdown, caller.0, &wish, prefer.0.as_deref()).await
    }
}

/// What the client wants to say, checked.
fn read(body: SendMessageRequest, path: Option<i64>, key: Option<String>) -> Result<AskForAnswer, Problem> {
    let key = read_key(key)?;
    let mut fields = Fields::default();
    if matches!((path, body.conversation_id), (Some(path), Some(body)) if path != body) {
        fields.refuse(
            "/conversation_id",
            "mismatch",
            "names another conversation than the path",
        );
    }
    let text = fields.check("/content", "invalid_content", MessageText::new(body.content));
    Ok(AskForAnswer {
        ask: Ask::Say {
            conversation: path.or(body.conversation_id).map(ConversationId),
            text: fields.finish(text)?,
        },
        on_busy: body.on_busy.map_or(OnBusy::Reject, OnBusy::from),
        key,
    })
}

fn read_key(key: Option<String>) -> Result<Option<IdempotencyKey>, Problem> {
    key.map(|key| {
        IdempotencyKey::new(&key)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", error.to_string()))
    })
    .transpose()
}

async fn send(
    app: &App,
    rate_limit: &RateLimit,
    shutdown: &Shutdown,
    caller: Caller,
    wish: &AskForAnswer,
    prefer: Option<&str>,
) -> Result<Sent, Problem> {
    let wait = prefer::wait(prefer);
    let started = start_answer(app, rate_limit, caller, wish).await?;
    let location = format!("/chat/messages/{}", started.answer.id);
    let answer = wait_for(app, caller, started.answer, wait, shutdown).await;
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

async fn stream(
    app: &App,
    rate_limit: &RateLimit,
    shutdown: &Shutdown,
    caller: Caller,
    wish: AskForAnswer,
) -> Result<Response<EventStream>, Problem> {
    let started = start_answer(app, rate_limit, caller, &wish).await?;
    let (replayed, ack) = (started.replayed, AckEvent::from(&started));
    let session = app.session_watch.watch(caller).await;
    let follower = app.feed.follow_message(caller, started.answer, Position::START);
    let response = Response::new(EventStream::of_answer(
        Some(ack),
        follower,
        Streaming {
            session,
            shutdown: shutdown.token(),
            entropy: &app.entropy,
        },
    ));
    Ok(if replayed {
        response.header("Idempotent-Replayed", "true")
    } else {
        response
    })
}

/// The answer when it is final, or as it stands when `wait` is over or the server closes. What is stored is stored:
/// nothing that goes wrong here is the sender's business.
async fn wait_for(app: &App, caller: Caller, answer: Message, wait: Duration, shutdown: &Shutdown) -> Message {
    if wait.is_zero() {
        return answer;
    }
    let mut follower = app.feed.follow_message(caller, answer.clone(), Position::START);
    let ended = async {
        while let Some(event) = follower.next().await {
            if let AnswerEvent::Ended { message, .. } = event {
                return Some(*message);
            }
        }
        None
    };
    let token = shutdown.token();
    let ended = tokio::select! {
        ended = ended => ended,
        () = tokio::time::sleep(wait) => None,
        () = token.cancelled() => None,
    };
    match ended {
        Some(message) => message,
        None => app.messages.get(caller, answer.id).await.unwrap_or(answer),
    }
}
