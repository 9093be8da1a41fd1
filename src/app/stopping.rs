//! Stopping an answer: the wish is written down before anybody is told, so that no worker that begins later overlooks it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::answer::{Fence, Position};
use cura_domain::event::Event;
use cura_domain::message::{Message, MessageStatus, Role};
use cura_domain::{ConversationId, MessageId, UserId};
use cura_queue::{Cancelled, GenerateAnswer};
use cura_store::answers::End;
use cura_store::attempts::Spent;
use cura_store::{PgConnection, StoreError, answers, attempts, conversations, events, messages, usage};
use futures_util::future::join_all;

use crate::feed::AnswerEvent;
use crate::messages::MessageError as ReadMessageError;
use crate::{App, Caller};

/// How long whoever writes an answer may take to stop by itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// What stopping did.
#[derive(Debug, Default)]
pub(crate) struct Stopped {
    /// The answers that are final now; the others are told when the transaction commits.
    pub(crate) ended: Vec<MessageId>,
    /// What they cost, to be counted at the end of the transaction.
    spent: Vec<Spent>,
}

/// What is to be told once a transaction has committed.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    /// The number of the last event.
    pub(crate) seq: Option<i64>,
    /// The answers that became final.
    pub(crate) ended: Vec<MessageId>,
}

impl Stopped {
    /// Counts what the answers cost: after all jobs, because everybody locks these rows in this order.
    ///
    /// # Errors
    /// When Postgres fails.
    pub(crate) async fn count(&self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), StoreError> {
        for spent in &self.spent {
            usage::add(connection, spent.user, &spent.model, 0, &spent.usage, now).await?;
        }
        Ok(())
    }

    /// What happened, for the log.
    pub(crate) fn events(&self, conversation: ConversationId) -> Vec<Event> {
        if self.ended.is_empty() {
            return Vec::new();
        }
        Event::ends(conversation, &self.ended)
    }
}

impl App {
    /// Stops an answer and gives it as it is then: with the text that was streamed. One that is final is given as it is.
    ///
    /// A queued answer never reaches the AI service. A running one is given three seconds to stop by itself; then what was
    /// streamed becomes its end, and what its worker still writes changes nothing.
    ///
    /// # Errors
    /// [`ReadMessageError::NotFound`] also when it is somebody else's, or no answer.
    pub async fn cancel_answer(&self, caller: Caller, id: MessageId) -> Result<Message, ReadMessageError> {
        let message = self.message(caller, id).await?;
        if message.role != Role::Assistant {
            return Err(ReadMessageError::NotFound);
        }
        if message.status != MessageStatus::Sending {
            return Ok(message);
        }
        if self.stop(caller, &message, false).await? == StopState::Told {
            let mut follower = self.follow(caller, id, Position::START);
            let ended = async {
                while let Some(event) = follower.next().await {
                    match event {
                        AnswerEvent::Ended { message, .. } => return Some(*message),
                        AnswerEvent::Gone { .. } => return None,
                        _ => {}
                    }
                }
                None
            };
            if let Ok(Some(message)) = tokio::time::timeout(PATIENCE, ended).await {
                return Ok(message);
            }
            self.stop(caller, &message, true).await?;
        }
        self.message(caller, id).await
    }

    async fn stop(&self, caller: Caller, message: &Message, by_force: bool) -> Result<StopState, ReadMessageError> {
        let stopped = self.write(async |connection| self.write_stop(connection, caller, message, by_force).await);
        let (state, announced) = stopped.await?;
        self.announce_ended(caller, announced).await;
        Ok(state)
    }

    async fn write_stop(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        message: &Message,
        by_force: bool,
    ) -> Result<(StopState, Announced), ReadMessageError> {
        let now = self.clock.now_micros();
        let (user, conversation) = (caller.user, message.conversation_id);
        let locked = conversations::lock_owned(connection, user, conversation).await?;
        if locked.is_none() {
            return Err(ReadMessageError::NotFound);
        }
        let mut stopped = Stopped::default();
        let state = self
            .stop_one(connection, user, message.id, by_force, &mut stopped, now)
            .await?;
        let mut announced = Announced::default();
        if state == StopState::Ended {
            conversations::touch(connection, conversation, 0, None, now).await?;
            self.let_others_begin(connection, user).await?;
            stopped.count(connection, now).await?;
            let ended = stopped.events(conversation);
            announced.seq = Some(events::append(connection, user, &ended, now).await?);
            announced.ended = stopped.ended;
        }
        Ok((state, announced))
    }

    /// Tells what has become true. Watchers that miss this find out from Postgres.
    pub(crate) async fn announce_ended(&self, caller: Caller, announced: Announced) {
        let logged = async {
            if let Some(seq) = announced.seq {
                self.announce(caller.user, seq).await;
            }
        };
        tokio::join!(self.announce_over(&announced.ended), logged);
    }

    /// Tells the watchers of these answers to ask Postgres: nobody writes them any more.
    pub(crate) async fn announce_over(&self, answers: &[MessageId]) {
        // Watchers that miss this find out from Postgres.
        join_all(answers.iter().map(|answer| self.0.live.end(*answer, Fence::MAX))).await;
    }

    /// Stops answers of a conversation that is locked.
    pub(crate) async fn stop_in(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        conversation: ConversationId,
        running: &[MessageId],
        now: DateTime<Utc>,
    ) -> Result<Stopped, StoreError> {
        let mut stopped = Stopped::default();
        for answer in running {
            self.stop_one(connection, user, *answer, false, &mut stopped, now)
                .await?;
        }
        if !stopped.ended.is_empty() {
            conversations::touch(connection, conversation, 0, None, now).await?;
            self.let_others_begin(connection, user).await?;
        }
        Ok(stopped)
    }

    async fn stop_one(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        id: MessageId,
        by_force: bool,
        stopped: &mut Stopped,
        now: DateTime<Utc>,
    ) -> Result<StopState, StoreError> {
        let Some(locked) = answers::request_cancel(connection, user, id, now).await? else {
            return Ok(StopState::Final);
        };
        if locked.status != MessageStatus::Sending {
            return Ok(StopState::Final);
        }
        let cancelled = cura_queue::cancel::<GenerateAnswer>(connection, &id.to_string())
            .await
            .map_err(StoreError::from)?;
        if cancelled == Cancelled::Signalled && !by_force {
            return Ok(StopState::Told);
        }
        let streamed = self.streamed(connection, id, locked.fence).await?;
        let model = self.0.ai.primary_model();
        let voice = (&*model.provider, &*model.model);
        let lost = attempts::record_lost(connection, id, locked.fence, streamed.len(), voice, now).await?;
        let end = End {
            text: Some(&streamed),
            ..End::CANCELLED
        };
        answers::end(connection, id, None, &end, now).await?;
        stopped.ended.push(id);
        stopped.spent.extend(lost);
        Ok(StopState::Ended)
    }

    /// The text watchers were shown.
    async fn streamed(&self, connection: &mut PgConnection, id: MessageId, fence: Fence) -> Result<String, StoreError> {
        if fence == Fence::default() {
            return Ok(String::new());
        }
        let saved = messages::saved_text(connection, id).await?;
        Ok(self.shown(id, fence, saved).await)
    }

    /// Lets answers of `user` begin that waited for one that has just become final.
    pub(crate) async fn let_others_begin(&self, connection: &mut PgConnection, user: UserId) -> Result<(), StoreError> {
        let waiting = answers::list_startable(connection, user).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = waiting.iter().map(MessageId::to_string).collect();
        cura_queue::make_ready::<GenerateAnswer>(connection, &keys)
            .await
            .map_err(StoreError::from)
    }
}

/// What became of a wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopState {
    /// It was final before.
    Final,
    /// It is final now.
    Ended,
    /// Whoever writes it is told at commit.
    Told,
}
