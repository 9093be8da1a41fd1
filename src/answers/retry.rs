//! Retrying an answer that failed: an operator has its dead job run again.
//!
//! In one transaction, with the user and the conversation locked, the answer becomes unfinished again, its job waits again, and an event
//! says so. Its attempts go on from where they were, so that no write of an earlier one counts. What is a person's own decision stays: what
//! they have cancelled, deleted or asked anew is not retried.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::event::Event;
use cura_domain::message::MessageStatus;
use cura_domain::{ConversationId, MessageId};
use cura_queue::{GenerateAnswer, Job, JobId, SendPush};
use cura_store::users::HeldUser;
use cura_store::{PgConnection, StoreError, answers, conversations, events, users};
use thiserror::Error;

use crate::Answers;

/// Why an answer is not retried. Then its transaction is to be rolled back.
#[derive(Debug, Error)]
pub enum RetryError {
    /// Its person is suspended.
    #[error("its person is suspended")]
    UserSuspended,
    /// The conversation is deleted, or the answer is not there.
    #[error("its conversation is gone")]
    ConversationGone,
    /// Another answer of the conversation is unfinished.
    #[error("another answer of its conversation is unfinished")]
    ConversationBusy,
    /// Its person has cancelled it.
    #[error("its person has cancelled it")]
    Cancelled,
    /// It has not failed: it was completed.
    #[error("it was completed")]
    Completed,
    /// Its question has another answer, or another version, by now.
    #[error("its question was asked or answered anew")]
    AnsweredAnew,
    /// The job is not dead any more.
    #[error("its job is not dead")]
    NotDead,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An answer whose rows are locked, and that may be retried.
#[derive(Debug)]
pub struct Retrying {
    user: HeldUser,
    conversation: ConversationId,
    answer: MessageId,
    /// Whether it has failed; otherwise it is about to, and its person has not been told.
    has_failed: bool,
    /// The tokens that were reserved for it when it was asked for.
    pub reserved_tokens: i64,
}

/// How the job of an answer that is retried begins.
#[derive(Debug, Clone)]
pub struct RetriedJob {
    /// The dead job.
    pub id: JobId,
    /// When it may begin, from now.
    pub after: Duration,
    /// The higher, the earlier.
    pub priority: i32,
    /// Only if it was dead then: it may have been retried meanwhile, and have died once more.
    pub died_by: Option<DateTime<Utc>>,
}

impl Retrying {
    /// Locks an answer of `user`, who is held alone, and finds out whether it may be retried.
    pub async fn lock(
        connection: &mut PgConnection,
        user: HeldUser,
        conversation: ConversationId,
        id: MessageId,
    ) -> Result<Self, RetryError> {
        if users::is_suspended(connection, user).await? {
            return Err(RetryError::UserSuspended);
        }
        let locked = conversations::lock_owned(connection, user.id(), conversation).await?;
        let locked = locked.ok_or(RetryError::ConversationGone)?;
        let answer = answers::lock_to_retry(connection, user.id(), conversation, id).await?;
        let answer = answer.ok_or(RetryError::ConversationGone)?;
        if answer.is_cancelled {
            return Err(RetryError::Cancelled);
        }
        if answer.is_answered_anew {
            return Err(RetryError::AnsweredAnew);
        }
        let has_failed = match answer.status {
            MessageStatus::Error => true,
            MessageStatus::Sending => false,
            MessageStatus::Sent => return Err(RetryError::Completed),
        };
        if locked.running.iter().any(|running| *running != id) {
            return Err(RetryError::ConversationBusy);
        }
        Ok(Self {
            user,
            conversation,
            answer: id,
            has_failed,
            reserved_tokens: answer.reserved_tokens,
        })
    }

    /// Whether the answer is final, and needs room and tokens of its person to be made again.
    pub const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Retries the answer, with so many tokens reserved for it. Gives the number of the event that says so, to be published once the
    /// transaction has committed.
    pub async fn retry(
        self,
        connection: &mut PgConnection,
        job: &RetriedJob,
        reserved_tokens: i64,
        answers: &Answers,
    ) -> Result<Option<i64>, RetryError> {
        let now = answers.0.clock.now();
        if self.has_failed && !answers::retry(connection, self.answer, reserved_tokens, now).await? {
            return Err(RetryError::Completed);
        }
        // The push of the end that is none any more keeps no other from being enqueued at the next end.
        let key = self.answer.to_string();
        let retired = cura_queue::retire_key::<SendPush>(connection, &key).await;
        retired.map_err(StoreError::from)?;
        let wanted = [(job.id.clone(), job.after)];
        let retried = cura_queue::retry_dead(
            connection,
            &wanted,
            GenerateAnswer::MAX_ATTEMPTS,
            job.priority,
            job.died_by,
        );
        if retried.await.map_err(StoreError::from)?.is_empty() {
            return Err(RetryError::NotDead);
        }
        if !self.has_failed {
            return Ok(None);
        }
        let event = Event::Message(self.conversation, self.answer);
        Ok(Some(events::append(connection, self.user.id(), &[event], now).await?))
    }
}
