//! The two ways in which a started answer is returned: waited for, or streamed.

use std::time::Duration;

use cura_app::chat::{AnswerRequest, BusyPolicy};
use cura_app::feed::{AnswerEvent, Liveness, Watcher};
use cura_app::messages::Message;
use cura_app::{App, Caller};
use cura_domain::answer::Position;
use cura_domain::answer_cursor::AnswerCursor;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::MessageStatus;
use poem::IntoResponse;
use poem::http::StatusCode;
use poem_openapi::payload::{Json, Response};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::{ApiResponse, Enum, Object};

use crate::http::prefer;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::http::shutdown::Shutdown;
use crate::http::start_answer::start_answer;
use crate::http::watching::Watching;
use crate::realtime::last_event_id::read_cursor;
use crate::realtime::schema::AckEvent;
use crate::realtime::sse::{AnswerStream, Streaming};
use crate::realtime::user_connections::UserConnection;
use crate::views::message::MessageView;

/// What happens to a message if an answer is being written in its conversation.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename = "OnBusy", rename_all = "lowercase")]
pub(super) enum OnBusyView {
    /// 409, with the id of the running answer.
    Reject,
    /// The running answer is cancelled; its text so far is kept.
    Interrupt,
    /// It is answered later, in order; 409 `queue_full` if twenty messages are unfinished.
    Queue,
}

impl From<OnBusyView> for BusyPolicy {
    fn from(view: OnBusyView) -> Self {
        match view {
            OnBusyView::Reject => Self::Reject,
            OnBusyView::Interrupt => Self::Interrupt,
            OnBusyView::Queue => Self::Queue,
        }
    }
}

/// A message and its answer.
#[derive(Object)]
#[oai(rename = "SentMessage")]
pub(super) struct SentView {
    /// The conversation of both messages; a new one if the request named none.
    conversation_id: i64,
    /// The message as it is stored.
    user_message: MessageView,
    /// Its answer: final with 200, `sending` with 202.
    assistant_message: MessageView,
}

#[derive(ApiResponse)]
enum Sent {
    /// The answer is final. Its status is `error` if the AI service failed.
    #[oai(status = 200)]
    Answered(
        Json<SentView>,
        /// `true` if an earlier request with the same key stored the message.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
    /// The message is stored, and the answer is not final yet.
    #[oai(status = 202)]
    Accepted(
        Json<SentView>,
        /// `true` if an earlier request with the same key stored the message.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
        /// The path of the answer.
        #[oai(header = "Location")]
        String,
    ),
}

/// What a request that waited for its answer returns, and who has waited for one that is final now.
pub(super) struct Waited {
    sent: Sent,
    watcher: Option<Watcher>,
}

impl IntoResponse for Waited {
    fn into_response(self) -> poem::Response {
        let mut response = self.sent.into_response();
        if self.watcher.is_some() {
            response.set_data(Watching::new(self.watcher));
        }
        response
    }
}

impl ApiResponse for Waited {
    fn meta() -> MetaResponses {
        Sent::meta()
    }

    fn register(registry: &mut Registry) {
        Sent::register(registry);
    }
}

/// The checked `Idempotency-Key`.
pub(super) fn read_key(key: Option<String>) -> Result<Option<IdempotencyKey>, Problem> {
    key.map(|key| {
        IdempotencyKey::new(&key)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", error.to_string()))
    })
    .transpose()
}

/// Starts an answer and waits for it, as long as `Prefer` says.
pub(super) async fn when_final(
    app: &App,
    rate_limit: &RateLimit,
    shutdown: &Shutdown,
    caller: Caller,
    request: &AnswerRequest,
    prefer: Option<&str>,
) -> Result<Waited, Problem> {
    let wait = prefer::wait(prefer);
    let paid = rate_limit.take_answer_charge().ok_or_else(Problem::internal)?;
    // Before the answer begins, which may be short.
    let watcher = (!wait.is_zero()).then(|| app.feed.watcher(caller, Liveness::Assumed));
    let started = start_answer(app, rate_limit, paid, caller, request).await?;
    let location = format!("/chat/messages/{}", started.answer.id);
    let answer = wait_for(app, caller, started.answer, wait, shutdown).await;
    let is_final = answer.status != MessageStatus::Sending;
    let body = Json(SentView {
        conversation_id: started.conversation.0,
        user_message: started.user_message.into(),
        assistant_message: answer.into(),
    });
    let replayed = started.replayed.then_some(true);
    Ok(if is_final {
        Waited {
            sent: Sent::Answered(body, replayed),
            watcher,
        }
    } else {
        Waited {
            sent: Sent::Accepted(body, replayed, location),
            watcher: None,
        }
    })
}

/// Starts an answer and streams its events, in this `place`. Where it had started before, `last_event_id` says what the client has
/// received of it, `ack` included.
pub(super) async fn as_stream(
    app: &App,
    rate_limit: &RateLimit,
    shutdown: &Shutdown,
    place: UserConnection,
    caller: Caller,
    request: &AnswerRequest,
    last_event_id: Option<String>,
) -> Result<Response<AnswerStream>, Problem> {
    // Before anything is stored.
    let cursor = read_cursor::<AnswerCursor>(last_event_id)?;
    let paid = rate_limit.take_answer_charge().ok_or_else(Problem::internal)?;
    // Before the answer begins, which may be short.
    let watcher = app.feed.watcher(caller, Liveness::Assumed);
    let started = start_answer(app, rate_limit, paid, caller, request).await?;
    let (replayed, ack) = (started.replayed, AckEvent::from(&started));
    let watcher = (started.answer.status == MessageStatus::Sending).then_some(watcher);
    let streaming = Streaming::new(app, caller, shutdown, place, watcher).await;
    // A new answer has no cursor yet: what the client sent is left from another one.
    let response = Response::new(match cursor.filter(|_| replayed) {
        Some(cursor) => AnswerStream::resume(app, caller, started.answer, Some(cursor), streaming),
        None => AnswerStream::from_start(app, caller, started.answer, ack, streaming),
    });
    Ok(if replayed {
        response.header("Idempotent-Replayed", "true")
    } else {
        response
    })
}

/// The answer when it is final, or as it is when `wait` is over or the server shuts down. The message is stored by now, so a
/// failure here is not an error of the request.
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
