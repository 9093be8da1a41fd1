//! Reads one answer from any position, while it is generated or afterwards: every byte once, in order.
//!
//! The text comes from `live`, the end from Postgres. When `live` is silent, Postgres is asked: a lost signal, or a `live`
//! that is down, costs seconds but no text.

use std::collections::VecDeque;
use std::time::Duration;

use cura_domain::answer::Position;
use cura_domain::message::{Message, MessageStatus};
use cura_domain::{ConversationId, MessageId, UserId};
use cura_live::{Follower, Progress};
use cura_store::StoreError;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::answer_event::AnswerEvent;
use super::answer_state::{AnswerState, read_state};
use super::catch_up::catch_up;
use super::lazy_timer::LazyTimer;
use super::sources::Sources;

/// How long `live` may be silent before Postgres is asked.
const SILENCE: Duration = Duration::from_secs(3);
/// The same for a reader that has seen nothing yet: it wants to know soon why it waits.
const FIRST_SILENCE: Duration = Duration::from_secs(1);

/// Reads one answer of one user.
pub struct AnswerFollower {
    sources: Sources,
    user: UserId,
    answer: MessageId,
    /// The conversation of the answer, if the answer was read before.
    conversation: Option<ConversationId>,
    live: Follower,
    /// The position after everything in `ready`.
    reached: Position,
    /// The position after the last event that was returned.
    position: Position,
    ready: VecDeque<AnswerEvent>,
    ended: bool,
    /// When to ask Postgres next. A signal that arrives while a question is pending leads to another one after it.
    ask_at: Instant,
    timer: LazyTimer,
    /// A pending question to Postgres. Text is passed on meanwhile.
    asking: Option<BoxFuture<'static, Result<AnswerState, StoreError>>>,
    /// The queue position that was returned last.
    last_queue_position: Option<i64>,
}

impl AnswerFollower {
    /// Reads an answer from `position`. The caller has checked that it is the user's.
    pub(super) fn new(sources: &Sources, user: UserId, answer: MessageId, position: Position) -> Self {
        let silence = if position.of_text() == Position::START {
            FIRST_SILENCE
        } else {
            SILENCE
        };
        Self {
            sources: sources.clone(),
            user,
            answer,
            conversation: None,
            live: sources.live.follow(answer, position.of_text()),
            reached: position,
            position,
            ready: VecDeque::new(),
            ended: false,
            ask_at: Instant::now() + silence,
            timer: LazyTimer::new(Instant::now() + silence),
            asking: None,
            last_queue_position: None,
        }
    }

    /// Reads an answer whose row was just read: the text up to there is ready at once, and if it is final, so is its end.
    pub(super) fn of_message(sources: &Sources, user: UserId, message: Message, position: Position) -> Self {
        let mut follower = Self::new(sources, user, message.id, position);
        follower.conversation = Some(message.conversation_id);
        if position == Position::START
            && let Some(notice) = message.notice.clone()
        {
            follower.reached = Position::NOTICED;
            follower.ready.push_back(AnswerEvent::Notice {
                notice,
                position: follower.reached,
            });
        }
        if message.status != MessageStatus::Sending {
            follower.end_with(message);
        }
        follower
    }

    /// The answer that is read.
    pub fn answer(&self) -> MessageId {
        self.answer
    }

    /// The conversation of the answer, if the answer was read before.
    pub(super) fn conversation(&self) -> Option<ConversationId> {
        self.conversation
    }

    /// The events that are known already, without waiting.
    pub(super) fn take_ready(&mut self) -> VecDeque<AnswerEvent> {
        std::mem::take(&mut self.ready)
    }

    /// The position after the last event that was returned.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next event; `None` after [`AnswerEvent::Ended`] or [`AnswerEvent::Gone`]. Cancel safe.
    pub async fn next(&mut self) -> Option<AnswerEvent> {
        let event = self.advance().await?;
        self.position = event.position();
        Some(event)
    }

    async fn advance(&mut self) -> Option<AnswerEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                progress = self.live.next() => {
                    self.ask_at = Instant::now() + SILENCE;
                    if let Some(event) = self.on_progress(progress) {
                        return Some(event);
                    }
                }
                () = self.timer.at(self.ask_at), if self.asking.is_none() => {
                    self.asking = Some(read_state(self.sources.clone(), self.user, self.answer));
                    self.ask_at = Instant::now() + SILENCE;
                }
                state = answer_of(&mut self.asking) => {
                    self.asking = None;
                    self.on_state(state);
                }
            }
        }
    }

    fn on_progress(&mut self, progress: Progress) -> Option<AnswerEvent> {
        match progress {
            Progress::Started { attempt, position } => {
                self.reached = position;
                Some(AnswerEvent::Started { attempt, position })
            }
            Progress::Reset { attempt, offset } => {
                self.reached = Position { attempt, offset };
                Some(AnswerEvent::Reset {
                    offset,
                    position: self.reached,
                })
            }
            Progress::Text {
                offset,
                content,
                position,
            } => {
                self.reached = position;
                Some(AnswerEvent::Chunk {
                    offset,
                    content,
                    position,
                })
            }
            // Postgres has the end; if it cannot be read now, it is asked again.
            Progress::Ended => {
                self.ask_at = Instant::now();
                None
            }
            Progress::Deleted => {
                self.live = self.sources.live.follow(self.answer, self.reached.of_text());
                self.ask_at = Instant::now();
                None
            }
        }
    }

    fn on_state(&mut self, state: Result<AnswerState, StoreError>) {
        match state {
            Ok(AnswerState::Unfinished {
                message,
                queue_position,
            }) => {
                if let Some(queue_position) = queue_position
                    && self.last_queue_position.replace(queue_position) != Some(queue_position)
                {
                    let position = self.reached;
                    self.ready.push_back(AnswerEvent::Queued {
                        queue_position,
                        position,
                    });
                }
                self.catch_up_with(&message);
            }
            Ok(AnswerState::Final(message)) => self.end_with(*message),
            Ok(AnswerState::Gone) => {
                self.ready.push_back(AnswerEvent::Gone { position: self.reached });
                self.ended = true;
            }
            Err(error) => {
                tracing::debug!(message_id = %self.answer, %error, "the state of an answer could not be read")
            }
        }
    }

    /// Moves the reader to the end of the saved text if that is ahead of it, and follows `live` from there.
    fn catch_up_with(&mut self, message: &Message) {
        let before = self.reached;
        if message.attempt < before.attempt
            || (message.attempt == before.attempt && message.content.len() as u64 <= before.offset)
        {
            return;
        }
        self.move_to_end(message);
        if self.reached != before {
            self.live = self.sources.live.follow(self.answer, self.reached);
        }
    }

    fn move_to_end(&mut self, message: &Message) {
        let (events, end) = catch_up(self.reached, message);
        self.ready.extend(events);
        self.reached = end;
    }

    fn end_with(&mut self, message: Message) {
        self.move_to_end(&message);
        self.ready.push_back(AnswerEvent::Ended {
            message: Box::new(message),
            position: self.reached,
        });
        self.ended = true;
    }
}

/// The answer to the pending question; never resolves if there is none.
async fn answer_of(
    asking: &mut Option<BoxFuture<'static, Result<AnswerState, StoreError>>>,
) -> Result<AnswerState, StoreError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}
