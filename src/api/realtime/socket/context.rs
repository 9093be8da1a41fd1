//! What a client may ask for on a socket, done: by the use cases, within the limits of everybody else.

use cura_app::chat::{AskForAnswer, ReadMessageError, StartedAnswer};
use cura_app::conversations::Message;
use cura_app::follow::AnswerEvent;
use cura_app::session_watch::OpenSession;
use cura_app::{Caller, StoreError};
use cura_domain::MessageId;
use cura_domain::answer::Position;
use cura_domain::message::MessageStatus;

use super::close::Talk;
use crate::http::problem::Problem;
use crate::realtime::schema::{ErrorEvent, EventView};

impl Talk {
    /// Asks for an answer, once however often it is said.
    pub(super) async fn start(&self, caller: Caller, wish: &AskForAnswer) -> Result<StartedAnswer, Problem> {
        if let Some(first) = self.app.find_asked(caller, wish).await? {
            self.turn.of_repetition(caller).await;
            return Ok(first);
        }
        self.turn.of_chat(caller).await?;
        Ok(self.app.start_answer(caller, wish).await?)
    }

    /// Notes how far the caller has read.
    pub(super) async fn note_read(&self, caller: Caller, message: MessageId) -> Result<(), ErrorEvent> {
        let noted = async {
            self.turn.of_caller(caller).await?;
            self.find(caller, message).await?;
            Ok::<_, Problem>(self.app.note_read(caller, self.conversation, message).await?)
        };
        noted.await.map_err(|problem| refusal(message, problem))
    }

    /// Stops an answer of this conversation. Its end comes as everything else does; what is to be said to the caller alone is
    /// given back: that it cannot be stopped, or, if `is_before_us`, the end it had already.
    pub(super) async fn cancel(
        self,
        caller: Caller,
        id: MessageId,
        is_before_us: impl Future<Output = Result<bool, StoreError>>,
    ) -> Option<EventView> {
        let cancelled = async {
            let found = self.find(caller, id).await?;
            let message = self.app.cancel_answer(caller, id).await?;
            Ok::<_, Problem>((found.status, message))
        };
        match cancelled.await {
            Ok((MessageStatus::Sending, _)) => None,
            Ok((_, message)) => is_before_us.await.unwrap_or(false).then(|| end_of(message)),
            Err(problem) => Some(EventView::Error(refusal(id, problem))),
        }
    }

    /// A message of this conversation.
    async fn find(&self, caller: Caller, id: MessageId) -> Result<Message, ReadMessageError> {
        let found = self.app.message(caller, id).await?;
        if found.conversation_id == self.conversation {
            Ok(found)
        } else {
            Err(ReadMessageError::NotFound)
        }
    }

    /// The same user with a fresh token, and its session.
    pub(super) async fn renew(&self, caller: Caller, token: &str) -> Result<(Caller, OpenSession), Problem> {
        let renewed = self.app.authenticate(token).await?;
        if renewed.user != caller.user {
            return Err(Problem::not_signed_in());
        }
        Ok((renewed, self.app.open_session_of(renewed).await))
    }
}

/// The end of an answer that is final, told once more.
fn end_of(answer: Message) -> EventView {
    let (id, position) = (answer.id, Position::START);
    let message = Box::new(answer);
    EventView::of_answer(id, AnswerEvent::Ended { message, position })
}

/// Why nothing is done with a message. It is named only if there is none: of one that is there, this would be the end.
fn refusal(message: MessageId, problem: Problem) -> ErrorEvent {
    let refused = problem.into_event();
    let is_nowhere = refused.code == "message_not_found";
    ErrorEvent {
        message_id: is_nowhere.then_some(message.0),
        ..refused
    }
}
