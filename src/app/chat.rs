//! Starting answers: the question, the pending answer and its job are stored by one statement, and once, however often the
//! request is repeated with its key.

mod asking;
mod cancel;
mod question_files;
mod quota;
mod request;
mod target;

use cura_answers::Answers;
use cura_domain::notice::Notice;
use cura_domain::prompt::FileRules;
use cura_store::asking::Outcome;
use cura_store::idempotency::KeyUse;
use cura_store::{PgConnection, StoreError, idempotency, users};

use crate::caller::Caller;
use crate::feed::Feed;
use crate::messages::Messages;
use crate::notices::Notices;
use asking::Asking;
pub(crate) use asking::KEY_LIFETIME;
pub use quota::Quota;
pub use request::{AnswerRequest, BusyPolicy, RequestKind, RequestOrigin, StartAnswerError, StartedAnswer};
use target::AnswerTarget;

/// The use cases of asking for answers and cancelling them. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    answers: Answers,
    quota: Quota,
    /// What prompts give of files, and what that costs.
    file_rules: FileRules,
    notices: Notices,
    messages: Messages,
    feed: Feed,
}

impl Chat {
    /// Puts the parts together.
    pub fn new(
        answers: Answers,
        (quota, file_rules): (Quota, FileRules),
        notices: Notices,
        messages: Messages,
        feed: Feed,
    ) -> Self {
        Self {
            answers,
            quota,
            file_rules,
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

    /// Stores the question and queues its answer: both, or nothing. If an earlier request with the same key has done so, nothing is
    /// stored, and what that one stored is returned.
    ///
    /// # Errors
    /// [`StartAnswerError`]; then nothing was stored.
    pub async fn start(&self, caller: Caller, request: &AnswerRequest) -> Result<StartedAnswer, StartAnswerError> {
        let now = self.answers.clock().now_micros();
        if request.names_a_message()
            && let Some(first) = self.find_replay(caller, request).await?
        {
            // The message may have been deleted since.
            return Ok(first);
        }
        let database = self.answers.database();
        let target = AnswerTarget::find(database, &self.messages, caller, &request.kind).await?;
        if target.question.is_blank() && target.files.is_none() {
            return Err(StartAnswerError::BlankText);
        }
        let notice = self.notice(caller, target.question.text()).await?;
        let asking = Asking {
            chat: self,
            caller,
            request,
            target,
            notice,
            now,
        };
        // With a budget of tokens, the past is measured under the lock of the user; files are held while they are given to the question.
        let first_try = if self.quota.daily_tokens == 0 && asking.target.files.is_none() {
            database
                .connection(async |connection| asking.store(connection).await)
                .await?
        } else {
            database
                .transaction(async |connection| asking.hold_and_store(connection).await)
                .await?
        };
        let (outcome, files) = match first_try {
            (Outcome::Busy { .. }, _) if request.busy_policy == BusyPolicy::Interrupt => {
                let interrupting =
                    database.transaction(async |connection| asking.interrupt_and_store(connection).await);
                let (outcome, files, finished) = interrupting.await?;
                if let Some(finished) = finished {
                    finished.publish(self.answers.live()).await;
                }
                (outcome, files)
            }
            first_try => first_try,
        };
        match outcome {
            Outcome::Stored(stored) => {
                if let Some(seq) = stored.last_event {
                    self.answers.live().publish_event(caller.user, seq).await;
                }
                Ok(asking.started(&stored, files))
            }
            Outcome::KeyUsed(first) => {
                let hash = request.hash();
                database
                    .connection(async |connection| self.replay(connection, caller, &hash, &first).await)
                    .await
            }
            refused => Err(asking.refusal(&refused)),
        }
    }

    /// The notice to show beside the answer, if the question points to danger.
    async fn notice(&self, caller: Caller, text: &str) -> Result<Option<Notice>, StoreError> {
        if self.notices.care().check(text, None, None).is_none() {
            return Ok(None);
        }
        let database = self.answers.database();
        let user = database
            .connection(async |connection| users::find(connection, caller.user).await)
            .await?;
        let (language, time_zone) = user
            .as_ref()
            .map(|user| (user.language.as_str(), user.timezone.as_str()))
            .unzip();
        Ok(self.notices.care().check(text, language, time_zone))
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
        let user_message = self.messages.find(connection, caller, question).await?;
        let answer = self.messages.find(connection, caller, answer).await?;
        let (user_message, answer) = user_message.zip(answer).ok_or(StartAnswerError::ConversationNotFound)?;
        Ok(StartedAnswer {
            conversation: answer.conversation_id,
            user_message,
            answer,
            replayed: true,
        })
    }
}
