//! One request for an answer on its way into the database: what is stored, within which limits, and why it is refused.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_answers::{CancelMode, Finished};
use cura_domain::conversation::Title;
use cura_domain::event::Event;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::{Message, NewAnswer};
use cura_domain::notice::Notice;
use cura_queue::{GenerateAnswer, JobKind, new_job_id};
use cura_store::asking::{self, AnswerJob, Asked, NewRequest, Outcome, RequestKey, Room, Stored};
use cura_store::{PgConnection, StoreError, attachments, conversations, idempotency};

use super::Chat;
use super::question_files::HeldFiles;
use super::request::{AnswerRequest, BusyPolicy, StartAnswerError, StartedAnswer};
use super::target::{AnswerTarget, Question};
use crate::caller::Caller;

/// How long an idempotency key stands for its first use, as the contract says.
pub(crate) const KEY_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// How long the job of an answer that waits for another one is delayed, unless it is made ready before.
const WAITING_DELAY: Duration = Duration::from_secs(2);
/// How many unfinished answers a conversation may have.
const MAX_UNFINISHED: i32 = 20;

/// A request for an answer.
pub(super) struct Asking<'a> {
    pub(super) chat: &'a Chat,
    pub(super) caller: Caller,
    pub(super) request: &'a AnswerRequest,
    pub(super) target: AnswerTarget,
    pub(super) notice: Option<Notice>,
    pub(super) now: DateTime<Utc>,
}

/// What happens to the other unfinished answers of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// They go on: as many as the busy policy allows may be there.
    Wait,
    /// They were cancelled by this transaction, and some of them are being ended by their worker.
    AreCancelled,
}

impl Asking<'_> {
    /// Stores the request, whose question gets no files, in one round trip. The tokens of the day are not looked at.
    pub(super) async fn store(&self, connection: &mut PgConnection) -> Result<(Outcome, HeldFiles), StartAnswerError> {
        let files = HeldFiles::default();
        let outcome = self.store_reserving(connection, Others::Wait, 0, &files).await?;
        Ok((outcome, files))
    }

    /// Stores the request with its files in the transaction of `connection`, if the tokens that it may use fit into the day of its user.
    ///
    /// # Errors
    /// [`StartAnswerError::QuotaExceeded`] if they do not, and those of [`HeldFiles::check`]; then the transaction is to be rolled back.
    pub(super) async fn hold_and_store(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(Outcome, HeldFiles), StartAnswerError> {
        let user = self.caller.user;
        self.chat.quota.hold(connection, user).await?;
        // In the order of locks: the user, the files, the conversation.
        let files = self.target.files.hold(connection, user).await?;
        let outcome = self.store_within_day(connection, Others::Wait, &files).await?;
        Ok((outcome, files))
    }

    async fn store_within_day(
        &self,
        connection: &mut PgConnection,
        others: Others,
        files: &HeldFiles,
    ) -> Result<Outcome, StartAnswerError> {
        let quota = self.chat.quota;
        if quota.daily_tokens == 0 {
            return self.store_reserving(connection, others, 0, files).await;
        }
        let reserved = quota
            .reserve(
                connection,
                self.caller.user,
                (&self.target, files, self.chat.file_rules),
                self.now,
            )
            .await?;
        let wanted = reserved.as_ref().copied().unwrap_or_default();
        let outcome = self.store_reserving(connection, others, wanted, files).await?;
        if matches!(outcome, Outcome::Stored(_)) {
            // Every other reason to refuse it comes first.
            reserved?;
        }
        Ok(outcome)
    }

    /// Cancels the unfinished answers of the conversation and stores the request, in the transaction of `connection`. Returns
    /// what is to be published once that has committed.
    ///
    /// # Errors
    /// As of [`Self::hold_and_store`].
    pub(super) async fn interrupt_and_store(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(Outcome, HeldFiles, Option<Finished>), StartAnswerError> {
        let (user, chat) = (self.caller.user, self.chat);
        let held = chat.quota.hold(connection, user).await?;
        if let Some(key) = &self.request.key {
            // What a repetition has stored meanwhile is not to be cancelled.
            let not_before = self.now - KEY_LIFETIME;
            if let Some(first) = idempotency::find(connection, user, key.as_str(), not_before).await? {
                return Ok((Outcome::KeyUsed(first), HeldFiles::default(), None));
            }
        }
        let files = self.target.files.hold(connection, user).await?;
        let Some(conversation) = self.target.conversation else {
            let outcome = self.store_within_day(connection, Others::Wait, &files).await?;
            return Ok((outcome, files, None));
        };
        let Some(locked) = conversations::lock_owned(connection, user, conversation).await? else {
            return Ok((Outcome::NoConversation, files, None));
        };
        let mut finishing = chat.answers.finishing(connection, held, conversation, self.now);
        finishing.cancel(&locked.running, CancelMode::Signal).await?;
        finishing.make_waiting_answers_ready().await?;
        let outcome = self
            .store_within_day(finishing.connection(), Others::AreCancelled, &files)
            .await?;
        let Outcome::Stored(stored) = &outcome else {
            // The transaction must not commit what it has cancelled.
            return Err(self.refusal(&outcome));
        };
        let finished = finishing.close(self.events(stored)).await?;
        Ok((outcome, files, Some(finished)))
    }

    async fn store_reserving(
        &self,
        connection: &mut PgConnection,
        others: Others,
        reserved_tokens: i64,
        files: &HeldFiles,
    ) -> Result<Outcome, StartAnswerError> {
        let quota = self.chat.quota;
        let digest = self.request.hash();
        let title = Title::excerpt(match files.files.first() {
            // A conversation that begins with a file alone has its name.
            Some(file) if self.target.question.is_blank() => &file.name,
            _ => self.target.question.text(),
        });
        let kind = JobKind::of::<GenerateAnswer>();
        let job = AnswerJob {
            id: new_job_id(),
            queue: kind.queue,
            max_attempts: kind.max_attempts,
            metadata: self.with_origin(kind.metadata),
            waiting_delay: WAITING_DELAY,
        };
        let new = NewRequest {
            user: self.caller.user,
            conversation: self.target.conversation,
            asked: match &self.target.question {
                Question::New { text, follows } => Asked::New {
                    words: text.as_str(),
                    follows: *follows,
                },
                Question::Existing(question) => Asked::Existing(question.id),
            },
            excerpt: title.as_str(),
            key: self
                .request
                .key
                .as_ref()
                .map(IdempotencyKey::as_str)
                .map(|key| RequestKey {
                    key,
                    digest: &digest,
                    not_before: self.now - KEY_LIFETIME,
                }),
            room: Room {
                in_conversation: match (others, self.request.busy_policy) {
                    (Others::AreCancelled, _) => i32::MAX,
                    (Others::Wait, BusyPolicy::Queue) => MAX_UNFINISHED,
                    (Others::Wait, BusyPolicy::Reject | BusyPolicy::Interrupt) => 1,
                },
                of_user: i32::try_from(quota.max_unfinished()).unwrap_or(i32::MAX),
                running: i32::try_from(quota.running_answers).unwrap_or(i32::MAX),
            },
            reserved_tokens,
            notice: self.notice.as_ref(),
            job: &job,
            logs: others == Others::Wait,
        };
        let outcome = asking::ask(connection, &new, self.now).await?;
        if matches!(outcome, Outcome::Busy { .. } | Outcome::TooManyUnfinished) {
            // What is not there comes before what is in the way.
            files.check_found()?;
        }
        if let Outcome::Stored(stored) = &outcome
            && !self.target.files.is_none()
        {
            files.check(self.target.question.is_blank())?;
            attachments::insert(connection, stored.turn.question, &files.ids()).await?;
        }
        Ok(outcome)
    }

    /// The metadata of the job with the ids of the request, which are kept with the answer as well.
    fn with_origin(&self, (mut keys, mut values): (Vec<String>, Vec<String>)) -> (Vec<String>, Vec<String>) {
        let origin = &self.request.origin;
        for (key, id) in [("request_id", &origin.request_id), ("trace_id", &origin.trace_id)] {
            if let Some(id) = id {
                keys.push(key.to_owned());
                values.push(id.clone());
            }
        }
        (keys, values)
    }

    /// What was stored, as its caller gets it.
    pub(super) fn started(&self, stored: &Stored, files: HeldFiles) -> StartedAnswer {
        let turn = &stored.turn;
        let new = NewAnswer {
            conversation: stored.conversation,
            notice: self.notice.as_ref(),
        };
        let user_message = match &self.target.question {
            Question::New { text, .. } => {
                let attachments = files.into_attachments(turn.question, self.chat.messages.links());
                Message::just_said(turn, &new, (text.as_str().to_owned(), attachments), self.now)
            }
            Question::Existing(question) => (**question).clone(),
        };
        StartedAnswer {
            conversation: stored.conversation,
            user_message,
            answer: Message::just_asked(turn.answer, turn.question, &new, self.now),
            replayed: false,
        }
    }

    /// The events of what was stored, as the statement that stores it would append them.
    fn events(&self, stored: &Stored) -> Vec<Event> {
        let (conversation, turn) = (stored.conversation, &stored.turn);
        let mut events = Vec::new();
        if stored.retitled {
            events.push(Event::Conversation(conversation));
        }
        if self.target.question.is_new() {
            events.push(Event::Message(conversation, turn.question));
        }
        events.push(Event::Message(conversation, turn.answer));
        events
    }

    /// Why nothing was stored.
    pub(super) fn refusal(&self, outcome: &Outcome) -> StartAnswerError {
        match outcome {
            Outcome::UserGone => StoreError::UserGone.into(),
            Outcome::UserSuspended => StartAnswerError::Suspended,
            Outcome::Busy { unfinished } => match self.request.busy_policy {
                BusyPolicy::Queue => StartAnswerError::QueueFull {
                    limit: MAX_UNFINISHED.unsigned_abs() as usize,
                },
                BusyPolicy::Reject | BusyPolicy::Interrupt => StartAnswerError::Busy { running: *unfinished },
            },
            Outcome::TooManyUnfinished => self.chat.quota.too_many(),
            // What was stored is no refusal, and a used key is answered with what it stored.
            Outcome::NoConversation | Outcome::KeyUsed(_) | Outcome::Stored(_) => {
                StartAnswerError::ConversationNotFound
            }
        }
    }
}
