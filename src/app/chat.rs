//! Starting answers: the question, the pending answer and its job are stored in one transaction, and once, however often the
//! request is repeated with its key.

mod cancel;
mod quota;
mod request;
mod target;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_answers::{Answers, Finished};
use cura_domain::event::Event;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::NewAnswer;
use cura_domain::notice::Notice;
use cura_queue::{EnqueueOptions, Enqueued, GenerateAnswer, JobOwner};
use cura_store::idempotency::KeyUse;
use cura_store::{PgConnection, StoreError, idempotency, messages, users};

use crate::caller::Caller;
use crate::feed::Feed;
use crate::messages::Messages;
use crate::notices::Notices;
pub use quota::Quota;
pub use request::{AnswerRequest, BusyPolicy, RequestKind, StartAnswerError, StartedAnswer};
use target::AnswerTarget;

/// How long an idempotency key stands for its first use, as the contract says.
const KEY_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// How long the job of an answer that waits for another one is delayed, unless it is made ready before.
const WAITING_DELAY: Duration = Duration::from_secs(2);

/// The use cases of asking for answers and cancelling them. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    answers: Answers,
    quota: Quota,
    notices: Notices,
    messages: Messages,
    feed: Feed,
}

impl Chat {
    /// Puts the parts together.
    pub fn new(answers: Answers, quota: Quota, notices: Notices, messages: Messages, feed: Feed) -> Self {
        Self {
            answers,
            quota,
            notices,
            messages,
            feed,
        }
    }

    /// What an earlier request with the same key stored, if there was one.
    ///
    /// # Errors
    /// [`StartAnswerError::KeyReused`] when the key was used for another request.
    pub async fn find_replay(
        &self,
        caller: Caller,
        request: &AnswerRequest,
    ) -> Result<Option<StartedAnswer>, StartAnswerError> {
        let Some(key) = &request.key else {
            return Ok(None);
        };
        let not_before = self.answers.clock().now_micros() - KEY_LIFETIME;
        self.answers
            .database()
            .connection(async |connection| {
                match idempotency::find(connection, caller.user, key.as_str(), not_before).await? {
                    None => Ok(None),
                    Some(first) => self.replay(connection, caller, &request.hash(), &first).await.map(Some),
                }
            })
            .await
    }

    /// Stores the question and queues its answer: both, or nothing.
    ///
    /// # Errors
    /// [`StartAnswerError`]; then nothing was stored.
    pub async fn start(&self, caller: Caller, request: &AnswerRequest) -> Result<StartedAnswer, StartAnswerError> {
        let now = self.answers.clock().now_micros();
        let stored = self.answers.database().transaction(async |connection| {
            if let Some(first) = self.claim_key(connection, caller, request, now).await? {
                return Ok((first, None));
            }
            let (started, finished) = self.store_and_enqueue(connection, caller, request, now).await?;
            Ok::<_, StartAnswerError>((started, Some(finished)))
        });
        let (started, finished) = stored.await?;
        if let Some(finished) = finished {
            finished.publish(self.answers.live()).await;
        }
        Ok(started)
    }

    async fn store_and_enqueue(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        request: &AnswerRequest,
        now: DateTime<Utc>,
    ) -> Result<(StartedAnswer, Finished), StartAnswerError> {
        let held = self.quota.hold(connection, caller.user).await?;
        let target = target::find(&self.notices, connection, caller, &request.kind, now).await?;
        let mut finishing = self.answers.finishing(connection, held, target.conversation, now);
        target.apply_busy_policy(&mut finishing, request.busy_policy).await?;
        let still_running = target.unfinished.len() > finishing.ended().len();
        let connection = finishing.connection();
        // After the busy policy, because what it cancels is no longer reserved.
        let budget = self.quota.check(connection, caller.user, now).await?;
        let notice = self.notice(connection, caller, target.question.text()).await?;
        let reserved_tokens = budget.reservation(connection, &target).await?;
        let new = NewAnswer {
            user: caller.user,
            conversation: target.conversation,
            reserved_tokens,
            notice: notice.as_ref(),
        };
        let (user_message, answer) = target.write(connection, &new, now).await?;
        if let Some(key) = &request.key {
            idempotency::bind(connection, caller.user, key.as_str(), user_message.id, answer.id).await?;
        }
        let waits = still_running || budget.is_full();
        let options = EnqueueOptions {
            after: if waits { WAITING_DELAY } else { Duration::ZERO },
            // Users with few unfinished answers come before users with many.
            priority: -budget.running(),
            owner: Some(JobOwner::conversation(caller.user, target.conversation)),
        };
        let job = GenerateAnswer {
            message_id: answer.id.0,
        };
        if cura_queue::enqueue_with(connection, &job, options).await? == Enqueued::Duplicate {
            return Err(StartAnswerError::DuplicateJob);
        }
        let started = StartedAnswer {
            conversation: target.conversation,
            user_message,
            answer,
            replayed: false,
        };
        let finished = finishing.close(events_of(&target, &started)).await?;
        Ok((started, finished))
    }

    /// The notice to show beside the answer, if the question points to danger.
    async fn notice(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        text: &str,
    ) -> Result<Option<Notice>, StoreError> {
        if self.notices.care().check(text, None, None).is_none() {
            return Ok(None);
        }
        let user = users::find(connection, caller.user).await?;
        let (language, time_zone) = user
            .as_ref()
            .map(|user| (user.language.as_str(), user.timezone.as_str()))
            .unzip();
        Ok(self.notices.care().check(text, language, time_zone))
    }

    /// Makes the request the owner of its key, or returns what the first request with it stored.
    async fn claim_key(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        request: &AnswerRequest,
        now: DateTime<Utc>,
    ) -> Result<Option<StartedAnswer>, StartAnswerError> {
        let Some(key) = request.key.as_ref().map(IdempotencyKey::as_str) else {
            return Ok(None);
        };
        let hash = request.hash();
        let not_before = now - KEY_LIFETIME;
        if idempotency::claim(connection, caller.user, key, &hash, now, not_before).await? {
            return Ok(None);
        }
        let first = idempotency::find(connection, caller.user, key, not_before)
            .await?
            .ok_or(StartAnswerError::ConversationNotFound)?;
        self.replay(connection, caller, &hash, &first).await.map(Some)
    }

    async fn replay(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        hash: &[u8; 32],
        first: &KeyUse,
    ) -> Result<StartedAnswer, StartAnswerError> {
        if first.request_hash != hash {
            return Err(StartAnswerError::KeyReused);
        }
        // `None` once the conversation was deleted.
        let (question, answer) = first.made.ok_or(StartAnswerError::ConversationNotFound)?;
        let user_message = messages::find_owned(connection, caller.user, question).await?;
        let answer = messages::find_owned(connection, caller.user, answer).await?;
        let (user_message, answer) = user_message.zip(answer).ok_or(StartAnswerError::ConversationNotFound)?;
        Ok(StartedAnswer {
            conversation: answer.conversation_id,
            user_message: self.notices.readable(user_message),
            answer: self.notices.readable(answer),
            replayed: true,
        })
    }
}

/// The events of a started answer.
fn events_of(target: &AnswerTarget, started: &StartedAnswer) -> Vec<Event> {
    let mut events = Vec::new();
    if target.is_new || target.gets_title {
        events.push(Event::Conversation(target.conversation));
    }
    if target.question.is_new() {
        events.push(Event::Message(target.conversation, started.user_message.id));
    }
    events.push(Event::Message(target.conversation, started.answer.id));
    events
}
