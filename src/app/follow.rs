//! Watching an answer come: gap-free, never repeated, from any place, during and after the generation.
//!
//! The text comes from `live`, the end from Postgres. When `live` is silent, Postgres is asked whether it knows more: an
//! announcement that got lost, or a `live` that is down, costs seconds, never a word.

use std::collections::VecDeque;
use std::time::Duration;

use cura_domain::answer::{Fence, Position};
use cura_domain::message::{Message, MessageStatus};
use cura_domain::notice::Notice;
use cura_domain::{ConversationId, MessageId};
use cura_live::{Follower, Progress};
use cura_queue::GenerateAnswer;
use cura_store::{StoreError, answers, messages};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::{App, Caller};

/// How long `live` may be silent before Postgres is asked.
const SILENCE: Duration = Duration::from_secs(3);
/// The same, before anything was seen.
const FIRST_SILENCE: Duration = Duration::from_secs(1);

/// What a watcher of an answer sees.
#[derive(Debug, Clone)]
pub enum AnswerEvent {
    /// What is shown beside it, because the question points to danger.
    Notice {
        /// What.
        notice: Notice,
        /// Where the watcher stands.
        position: Position,
    },
    /// Nobody has had time for it yet.
    Queued {
        /// Its place among those that wait, from 1.
        place: i64,
        /// Where the watcher stands.
        position: Position,
    },
    /// A worker has it.
    Started {
        /// Which attempt this is, from 1.
        attempt: Fence,
        /// Where the watcher stands now.
        position: Position,
    },
    /// Text to append.
    Chunk {
        /// Where it belongs, in UTF-8 bytes.
        offset: u64,
        /// The text.
        content: String,
        /// Where the watcher stands after it.
        position: Position,
    },
    /// Text to cut back: a new attempt could not continue exactly.
    Reset {
        /// How many bytes stay.
        offset: u64,
        /// Where the watcher stands now.
        position: Position,
    },
    /// The answer was deleted while it was watched: the last event.
    Gone {
        /// Where the watcher stands.
        position: Position,
    },
    /// The answer is final, sent or failed: the last event.
    Ended {
        /// The final message.
        message: Box<Message>,
        /// Where the watcher stands now.
        position: Position,
    },
}

impl AnswerEvent {
    /// Where the watcher stands after it.
    pub const fn position(&self) -> Position {
        match self {
            Self::Notice { position, .. }
            | Self::Queued { position, .. }
            | Self::Started { position, .. }
            | Self::Chunk { position, .. }
            | Self::Reset { position, .. }
            | Self::Gone { position }
            | Self::Ended { position, .. } => *position,
        }
    }
}

/// Watches one answer of one user.
pub struct AnswerFollower {
    app: App,
    caller: Caller,
    answer: MessageId,
    /// Where it is said, if that is known.
    conversation: Option<ConversationId>,
    live: Follower,
    /// How far the watcher has come, with what is ready and not told yet.
    reached: Position,
    /// Where the watcher stood after what it was told last.
    position: Position,
    ready: VecDeque<AnswerEvent>,
    ended: bool,
    /// When to ask Postgres; what was announced while a question is under way is asked for after it.
    ask_at: Instant,
    /// A question to Postgres that is under way: a slow one keeps nobody from the text that comes.
    asking: Option<BoxFuture<'static, Result<Known, StoreError>>>,
    /// The place in the queue that was told last.
    told_place: Option<i64>,
}

/// What Postgres knows of an answer: the message, and its place in the queue if it waits there.
type Known = (Option<Message>, Option<i64>);

impl App {
    /// Watches an answer from `position`. The caller has checked that it is the user's.
    pub fn follow(&self, caller: Caller, answer: MessageId, position: Position) -> AnswerFollower {
        AnswerFollower {
            app: self.clone(),
            caller,
            answer,
            conversation: None,
            live: self.0.live.follow(answer, position.of_text()),
            reached: position,
            position,
            ready: VecDeque::new(),
            ended: false,
            // Who has seen nothing yet wants to know soon why.
            ask_at: Instant::now()
                + if position.of_text() == Position::START {
                    FIRST_SILENCE
                } else {
                    SILENCE
                },
            asking: None,
            told_place: None,
        }
    }

    /// Watches a message that was just read: what is missing comes from it at once, and if it is final, so does the end.
    pub fn follow_read(&self, caller: Caller, message: Message, position: Position) -> AnswerFollower {
        let mut follower = self.follow(caller, message.id, position);
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
}

impl App {
    /// Everything that was told of an answer that is final, once more.
    pub fn retell(&self, caller: Caller, answer: Message) -> impl Iterator<Item = AnswerEvent> + Send + use<> {
        let mut follower = self.follow_read(caller, answer, Position::START);
        follower.take_ready().into_iter()
    }
}

impl AnswerFollower {
    /// Which answer is watched.
    pub fn answer(&self) -> MessageId {
        self.answer
    }

    /// Where it is said, if that is known.
    pub(crate) fn conversation(&self) -> Option<ConversationId> {
        self.conversation
    }

    /// What is known already, without waiting.
    pub(crate) fn take_ready(&mut self) -> VecDeque<AnswerEvent> {
        std::mem::take(&mut self.ready)
    }

    /// Where the watcher stands: after what it was told last.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next event; `None` after [`AnswerEvent::Ended`] or [`AnswerEvent::Gone`]. Safe to cancel: nothing is lost.
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
                    match progress {
                        Progress::Started { attempt, position } => {
                            self.reached = position;
                            return Some(AnswerEvent::Started { attempt, position });
                        }
                        Progress::Reset { attempt, offset } => {
                            self.reached = Position { attempt, offset };
                            return Some(AnswerEvent::Reset { offset, position: self.reached });
                        }
                        Progress::Text { offset, content, position } => {
                            self.reached = position;
                            return Some(AnswerEvent::Chunk { offset, content, position });
                        }
                        // The truth is in Postgres; if it cannot be read now, soon.
                        Progress::Ended => self.ask_at = Instant::now(),
                        Progress::Deleted => {
                            self.live = self.app.0.live.follow(self.answer, self.reached.of_text());
                            self.ask_at = Instant::now();
                        }
                    }
                }
                () = tokio::time::sleep_until(self.ask_at), if self.asking.is_none() => {
                    self.asking = Some(ask(self.app.clone(), self.caller, self.answer));
                    self.ask_at = Instant::now() + SILENCE;
                }
                known = asked(&mut self.asking) => {
                    self.asking = None;
                    self.learn(known);
                }
            }
        }
    }

    /// Goes on from what Postgres knows of the answer.
    fn learn(&mut self, known: Result<Known, StoreError>) {
        match known {
            Ok((Some(message), place)) if message.status == MessageStatus::Sending => {
                if let Some(place) = place.filter(|place| self.told_place.replace(*place) != Some(*place)) {
                    let position = self.reached;
                    self.ready.push_back(AnswerEvent::Queued { place, position });
                }
                self.catch_up(&message);
            }
            Ok((Some(message), _)) => self.end_with(message),
            Ok((None, _)) => {
                self.ready.push_back(AnswerEvent::Gone { position: self.reached });
                self.ended = true;
            }
            Err(error) => tracing::debug!(message_id = %self.answer, %error, "asking for an answer's state failed"),
        }
    }

    /// Tells what a saved text has beyond what the watcher has; follows `live` from there.
    fn catch_up(&mut self, message: &Message) {
        let before = self.reached;
        if message.attempt < before.attempt
            || (message.attempt == before.attempt && message.content.len() as u64 <= before.offset)
        {
            return;
        }
        self.align(message);
        if self.reached != before {
            self.live = self.app.0.live.follow(self.answer, self.reached);
        }
    }

    fn end_with(&mut self, message: Message) {
        self.align(&message);
        self.ready.push_back(AnswerEvent::Ended {
            message: Box::new(message),
            position: self.reached,
        });
        self.ended = true;
    }

    /// Brings the watcher to the end of `message.content`: cuts back what a newer attempt rewrote, adds what is missing.
    fn align(&mut self, message: &Message) {
        let text = &message.content;
        // Whoever was only told what is shown beside it stands before the text.
        let told = self.reached;
        self.reached = told.of_text();
        let keep = usize::try_from(message.attempt_offsets.keep(self.reached))
            .unwrap_or(usize::MAX)
            .min(text.len());
        let keep = text.floor_char_boundary(keep);
        let attempt = message.attempt.max(self.reached.attempt);
        if attempt > self.reached.attempt {
            // Whoever resumes from here before the reset was told has to be told.
            let position = if (keep as u64) < self.reached.offset {
                self.reached
            } else {
                Position {
                    attempt,
                    ..self.reached
                }
            };
            self.ready.push_back(AnswerEvent::Started { attempt, position });
        }
        if (keep as u64) < self.reached.offset {
            let position = Position {
                attempt,
                offset: keep as u64,
            };
            self.ready.push_back(AnswerEvent::Reset {
                offset: keep as u64,
                position,
            });
        }
        self.reached = if attempt == Fence(0) {
            told
        } else {
            Position {
                attempt,
                offset: text.len() as u64,
            }
        };
        if keep < text.len() {
            self.ready.push_back(AnswerEvent::Chunk {
                offset: keep as u64,
                content: text[keep..].to_owned(),
                position: self.reached,
            });
        }
    }
}

/// Asks Postgres what it knows of an answer. On the heap, only while it lasts: many watch, few ask.
fn ask(app: App, caller: Caller, answer: MessageId) -> BoxFuture<'static, Result<Known, StoreError>> {
    Box::pin(async move {
        app.read(async |connection| {
            let message = messages::find_owned(connection, caller.user, answer)
                .await?
                .map(|message| app.readable(message));
            let waits = |message: &Message| message.status == MessageStatus::Sending && message.attempt == Fence(0);
            // A worker has had time for who has had its turn: then it is the provider that rests.
            let place = if message.as_ref().is_some_and(waits) && !answers::has_had_its_turn(connection, answer).await?
            {
                let place = cura_queue::queue_position::<GenerateAnswer>(connection, &answer.to_string()).await;
                place.map_err(StoreError::from)?
            } else {
                None
            };
            Ok((message, place))
        })
        .await
    })
}

/// What the question says when it is answered; never, if none is under way.
async fn asked(asking: &mut Option<BoxFuture<'static, Result<Known, StoreError>>>) -> Result<Known, StoreError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}
