//! What a client may ask for on a socket, done: by the use cases, within the limits of everybody else.

use cura_app::Caller;
use cura_app::chat::{AskForAnswer, ReadMessageError, StartedAnswer};
use cura_app::session_watch::OpenSession;
use cura_domain::MessageId;

use super::talk::Talk;
use crate::events::ErrorEvent;
use crate::problem::Problem;

impl Talk {
    /// Asks for an answer, once however often it is said.
    pub(super) async fn start(&self, caller: Caller, wish: &AskForAnswer) -> Result<StartedAnswer, Problem> {
        if let Some(first) = self.app.find_asked(caller, wish).await? {
            return Ok(first);
        }
        self.turn.of_chat(caller).await?;
        Ok(self.app.start_answer(caller, wish).await?)
    }

    /// Notes how far the caller has read.
    pub(super) async fn note_read(&self, caller: Caller, message: MessageId) -> Result<(), Problem> {
        self.turn.of_caller(caller).await?;
        Ok(self.app.note_read(caller, self.conversation, message).await?)
    }

    /// Stops an answer of this conversation; what cannot be stopped is an error.
    pub(super) async fn cancel(self, caller: Caller, message: MessageId) -> Option<ErrorEvent> {
        let cancelled = async {
            let found = self.app.message(caller, message).await?;
            if found.conversation_id != self.conversation {
                return Err(ReadMessageError::NotFound);
            }
            self.app.cancel_answer(caller, message).await
        };
        let refused = Problem::from(cancelled.await.err()?).into_event();
        Some(ErrorEvent {
            message_id: Some(message.0),
            ..refused
        })
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
