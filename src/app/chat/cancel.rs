//! Cancelling an answer: signal its worker, wait briefly for the end, and force it if none comes.

use std::time::Duration;

use cura_answers::{CancelMode, CancelOutcome};
use cura_domain::MessageId;
use cura_domain::answer::Position;
use cura_domain::message::{Message, MessageStatus, Role};

use super::Chat;
use crate::caller::Caller;
use crate::feed::AnswerEvent;
use crate::messages::MessageError;

/// How long a signalled worker may take to finish a cancelled answer.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(3);

impl Chat {
    /// Cancels an answer and returns the final message, with the text that was streamed. A final answer is returned as it is.
    ///
    /// A queued answer never reaches the provider. A running one is finished by its worker; if that takes longer than three
    /// seconds, the streamed text becomes the answer, and the worker's later writes change nothing.
    ///
    /// # Errors
    /// [`MessageError::NotFound`] also when it is another user's, or no answer.
    pub async fn cancel(&self, caller: Caller, id: MessageId) -> Result<Message, MessageError> {
        let message = self.messages.get(caller, id).await?;
        if message.role != Role::Assistant {
            return Err(MessageError::NotFound);
        }
        if message.status != MessageStatus::Sending {
            return Ok(message);
        }
        if self.cancel_with(caller, &message, CancelMode::Signal).await? == CancelOutcome::Signalled {
            let ended = tokio::time::timeout(SIGNAL_TIMEOUT, self.end_of(caller, id));
            if let Ok(Some(message)) = ended.await {
                return Ok(message);
            }
            self.cancel_with(caller, &message, CancelMode::Force).await?;
        }
        self.messages.get(caller, id).await
    }

    async fn cancel_with(
        &self,
        caller: Caller,
        message: &Message,
        mode: CancelMode,
    ) -> Result<CancelOutcome, MessageError> {
        let cancelled = self
            .answers
            .cancel(caller.user, message.conversation_id, message.id, mode);
        cancelled.await?.ok_or(MessageError::NotFound)
    }

    /// The final message, once there is one; `None` when the answer is deleted.
    async fn end_of(&self, caller: Caller, id: MessageId) -> Option<Message> {
        let mut follower = self.feed.follow(caller, id, Position::START);
        while let Some(event) = follower.next().await {
            match event {
                AnswerEvent::Ended { message, .. } => return Some(*message),
                AnswerEvent::Gone { .. } => return None,
                _ => {}
            }
        }
        None
    }
}
