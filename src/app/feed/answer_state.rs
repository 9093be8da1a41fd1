//! The state of an answer in Postgres.

use cura_domain::message::{Message, MessageStatus};
use cura_domain::{MessageId, UserId};
use cura_queue::GenerateAnswer;
use cura_store::{StoreError, answers, messages};
use futures_util::future::BoxFuture;

use super::sources::Sources;

/// What Postgres knows of an answer.
pub(super) enum AnswerState {
    /// It does not exist any more.
    Gone,
    /// It is not final; its position in the queue, if it waits there to begin.
    Unfinished {
        message: Box<Message>,
        queue_position: Option<i64>,
    },
    /// It is final.
    Final(Box<Message>),
}

/// Reads the state of an answer. Boxed, because most followers have no question pending.
pub(super) fn read_state(
    sources: Sources,
    user: UserId,
    answer: MessageId,
) -> BoxFuture<'static, Result<AnswerState, StoreError>> {
    Box::pin(async move {
        let read = sources.database.connection(async |connection| {
            let Some(message) = messages::find_owned(connection, user, answer).await? else {
                return Ok(AnswerState::Gone);
            };
            let message = Box::new(sources.notices.readable(message));
            if message.status != MessageStatus::Sending {
                return Ok(AnswerState::Final(message));
            }
            // An answer that was eligible to start waits for the provider, not for a worker. One that is retried is not until it begins.
            let waits_for_worker = !answers::was_eligible(connection, answer).await?;
            let queue_position = if waits_for_worker {
                cura_queue::queue_position::<GenerateAnswer>(connection, &answer.to_string()).await?
            } else {
                None
            };
            Ok::<_, StoreError>(AnswerState::Unfinished {
                message,
                queue_position,
            })
        });
        read.await
    })
}
