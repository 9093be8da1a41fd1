//! `/chat/messages`: reading, watching and stopping what was asked for.

use cura_app::App;
use cura_domain::MessageId;
use cura_domain::answer::Position;
use cura_domain::message::Role;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;

use crate::http::caller::{SignedIn, StreamAuth};
use crate::http::problem::Problem;
use crate::http::shutdown::Shutdown;
use crate::realtime::cursor::read_cursor;
use crate::realtime::sse::{EventStream, Streaming};
use crate::routes::tag::Tag;
use crate::views::message::MessageView;

pub(crate) struct AnswersApi;

#[OpenApi(prefix_path = "/chat/messages", tag = "Tag::Chat")]
impl AnswersApi {
    /// One message; of a running answer, with the text so far
    #[oai(path = "/:message_id", method = "get", operation_id = "getMessage")]
    async fn message(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        message_id: Path<i64>,
    ) -> Result<Json<MessageView>, Problem> {
        Ok(Json(app.messages.get(caller.0, MessageId(message_id.0)).await?.into()))
    }

    /// Join or resume the stream of an answer
    ///
    /// Works on any server, during and after the generation.
    #[oai(path = "/:message_id/stream", method = "get", operation_id = "resumeStream")]
    async fn resume(
        &self,
        auth: StreamAuth,
        app: Data<&App>,
        shutdown: Data<&Shutdown>,
        message_id: Path<i64>,
        /// The id of the last event that was seen; wins over `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The id of the last event that was seen.
        after: Query<Option<String>>,
    ) -> Result<EventStream, Problem> {
        let cursor = read_cursor(last_event_id.0.filter(|id| !id.is_empty()).or(after.0))?;
        let position = cursor.unwrap_or(Position::START);
        let caller = auth.0;
        let message = app.messages.get(caller, MessageId(message_id.0)).await?;
        if message.role != Role::Assistant {
            return Err(Problem::not_found("answer_not_found", "This message is no answer."));
        }
        let follower = app.feed.follow_message(caller, message, position);
        let streaming = Streaming {
            session: app.session_watch.watch(caller).await,
            shutdown: shutdown.token(),
            entropy: &app.entropy,
        };
        Ok(EventStream::of_answer(None, follower, streaming))
    }

    /// Stop an answer
    ///
    /// A queued one is never begun; of a running one, what was streamed stays. Stopping what is over changes nothing.
    #[oai(path = "/:message_id/cancel", method = "post", operation_id = "cancelAnswer")]
    async fn cancel(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        message_id: Path<i64>,
    ) -> Result<Json<MessageView>, Problem> {
        Ok(Json(app.cancel_answer(caller.0, MessageId(message_id.0)).await?.into()))
    }
}
