//! What a socket uses, and what it does for its client: the use cases, within the same limits as REST.

use cura_app::chat::RequestOrigin;
use cura_app::feed::AnswerEvent;
use cura_app::messages::Message;
use cura_app::messages::MessageError;
use cura_app::session_watch::OpenSession;
use cura_app::{App, Caller, StoreError};
use cura_domain::answer::Position;
use cura_domain::message::MessageStatus;
use cura_domain::{ConversationId, MessageId};

use crate::http::caller::authenticate_token;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::http::shutdown::Shutdown;
use crate::http::under_way::FrameBudget;
use crate::realtime::schema::{ErrorEvent, EventView};
use crate::realtime::user_connections::UserConnections;

/// What a socket uses. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) app: App,
    pub(crate) rate_limit: RateLimit,
    pub(crate) shutdown: Shutdown,
    pub(crate) connections: UserConnections,
    /// `None` for a request that did not come over a connection.
    pub(crate) frames: Option<FrameBudget>,
    pub(crate) conversation: ConversationId,
    /// Of the request that opened the socket.
    pub(crate) origin: RequestOrigin,
}

impl Context {
    /// Records how far the caller has read.
    pub(super) async fn note_read(&self, caller: Caller, message: MessageId) -> Result<(), ErrorEvent> {
        let noted = async {
            self.rate_limit.charge_caller(caller).await?;
            let conversations = &self.app.conversations;
            Ok::<_, Problem>(conversations.mark_read(caller, self.conversation, message).await?)
        };
        noted.await.map_err(|problem| refusal(message, problem))
    }

    /// Cancels an answer of this conversation. Its end arrives on the feed. Returns what only this client is sent: why the answer
    /// cannot be cancelled, or its end if the feed began after it.
    pub(super) async fn cancel(
        self,
        caller: Caller,
        id: MessageId,
        feed_began_after_end: impl Future<Output = Result<bool, StoreError>>,
    ) -> Option<EventView> {
        let cancelled = async {
            let found = self.find_message(caller, id).await?;
            let message = self.app.chat.cancel(caller, id).await?;
            Ok::<_, Problem>((found.status, message))
        };
        match cancelled.await {
            Ok((MessageStatus::Sending, _)) => None,
            Ok((_, message)) => feed_began_after_end.await.unwrap_or(false).then(|| end_of(message)),
            Err(problem) => Some(EventView::Error(refusal(id, problem))),
        }
    }

    /// A message of this conversation.
    async fn find_message(&self, caller: Caller, id: MessageId) -> Result<Message, MessageError> {
        let found = self.app.messages.get(caller, id).await?;
        if found.conversation_id == self.conversation {
            Ok(found)
        } else {
            Err(MessageError::NotFound)
        }
    }

    /// The same user with a new access token, and the session of that token.
    pub(super) async fn renew(&self, caller: Caller, token: &str) -> Result<(Caller, OpenSession), Problem> {
        // Charged like any other call of the user: what is charged first limits how often tokens are looked up.
        self.rate_limit.charge_caller(caller).await?;
        let renewed = authenticate_token(&self.app, &self.rate_limit, token).await?;
        if renewed.user != caller.user {
            return Err(Problem::not_signed_in());
        }
        Ok((renewed, self.app.session_watch.watch(renewed).await))
    }
}

/// The end of an answer that is final.
fn end_of(answer: Message) -> EventView {
    let (id, position) = (answer.id, Position::START);
    let message = Box::new(answer);
    EventView::of_answer(id, AnswerEvent::Ended { message, position })
}

/// Why a command about a message is refused. The message is named only if it does not exist: for one that exists, the event
/// would mean that its answer has ended.
fn refusal(message: MessageId, problem: Problem) -> ErrorEvent {
    let refused = ErrorEvent::from(problem);
    let is_missing = refused.code == "message_not_found";
    ErrorEvent {
        message_id: is_missing.then_some(message.0),
        ..refused
    }
}
