//! Everything that happens to a user, on one cursor: what the log says, and the texts of running answers. From any server,
//! from any place, nothing twice and nothing missing.
//!
//! The log is the truth; signals only say that it is worth a look, and every ten seconds it is looked at anyway. The end of
//! an answer is told when the log tells it, so that a cursor never stands beyond an end its reader has not seen.

mod log;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cura_domain::answer::{Fence, Position};
use cura_domain::conversation::Conversation;
use cura_domain::cursor::Cursor;
use cura_domain::message::{Message, Role};
use cura_domain::{ConversationId, MessageId};
use cura_live::{Signal, UserWatch};
use cura_store::events::Standing;
use cura_store::{StoreError, events};
use futures_util::future::{BoxFuture, select_all};
use tokio::time::Instant;

use crate::follow::{AnswerEvent, AnswerFollower};
use crate::{App, Caller};
use log::{Look, Reader};

/// How long a log that cannot be read is left alone, at least; connections spread over twice that.
const PAUSE_MS: u64 = 1000;
/// How long somebody who types and says nothing more is taken to type.
const TYPING: Duration = Duration::from_secs(6);
/// How often the log is looked at although nothing was announced.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Users looked after in one statement.
const BATCH: usize = 1000;

/// Something a user's connection is told.
#[derive(Debug, Clone)]
pub enum UserEvent {
    /// A message was said, or an answer asked for: as it was then.
    Message(Box<Message>),
    /// Something about an answer; its end, too.
    Answer(MessageId, AnswerEvent),
    /// A conversation as it is now; `None` when it was deleted.
    Conversation(ConversationId, Option<Box<Conversation>>),
    /// The user has read as far as this message.
    Read(ConversationId, MessageId),
    /// Somebody types, or has stopped.
    Typing(ConversationId, Role, bool),
    /// An archive of everything is ready.
    Export(serde_json::Value),
    /// The cursor is of no use: reload, and go on from here.
    Resync(Resync),
}

/// Why a cursor is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resync {
    /// It is older than the log.
    TooOld,
    /// It is from elsewhere, or from a future that did not come.
    Unknown,
}

/// An event, and the cursor after it if it moves it.
#[derive(Debug, Clone)]
pub struct Told {
    /// What happened.
    pub event: UserEvent,
    /// Where the connection stands now.
    pub cursor: Option<Arc<str>>,
}

/// One connection's view of everything that happens to its user, or of one conversation.
pub struct UserFeed {
    log: Reader,
    /// A look at the log that is under way: a slow one keeps nobody from the texts that come.
    looking: Option<BoxFuture<'static, Result<Look, StoreError>>>,
    signals: UserWatch,
    /// Our own name among the user's connections.
    origin: u64,
    cursor: Cursor,
    /// The number of the last event before this connection, or before its last resync.
    began_at: i64,
    /// The cursor after what was told last: what is ready is not told yet.
    told: Arc<str>,
    running: Vec<AnswerFollower>,
    /// Answers that are over, and whose end the log has not told yet.
    over: Vec<Message>,
    ready: VecDeque<Told>,
    look: bool,
    look_at: Option<Instant>,
    typing: Vec<(ConversationId, Instant)>,
}

impl App {
    /// Everything that happens to the caller from `cursor` on, or from now on; only in one conversation, if one is named,
    /// which the caller has been found to own.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user_feed(
        &self,
        caller: Caller,
        only: Option<ConversationId>,
        cursor: Option<Cursor>,
    ) -> Result<UserFeed, StoreError> {
        // Listened to before anything is read, so that what happens in between is not lost.
        let signals = self.0.live.watch_user(caller.user);
        let resumed = cursor.is_some();
        // What is about everything is about one conversation, too; not the other way round.
        let (foreign, cursor) = match cursor {
            Some(cursor) if cursor.scope.is_some() && cursor.scope != only => (true, None),
            cursor => (false, cursor),
        };
        let mut cursor = match cursor {
            Some(cursor) => Cursor { scope: only, ..cursor },
            None => standing_cursor(only, self.standing(caller, only).await?),
        };
        let mut feed = UserFeed {
            log: Reader {
                app: self.clone(),
                caller,
                only,
            },
            looking: None,
            signals,
            origin: u64::from_ne_bytes(self.0.entropy.bytes()),
            cursor: Cursor::default(),
            began_at: cursor.seq,
            told: Arc::from(""),
            running: Vec::new(),
            over: Vec::new(),
            ready: VecDeque::new(),
            look: resumed && !foreign,
            look_at: None,
            typing: Vec::new(),
        };
        feed.running = feed.log.followers_of(&mut cursor).await?;
        feed.cursor = cursor;
        feed.told = feed.cursor.to_string().into();
        if foreign {
            feed.tell(UserEvent::Resync(Resync::Unknown));
        }
        Ok(feed)
    }

    async fn standing(&self, caller: Caller, only: Option<ConversationId>) -> Result<Standing, StoreError> {
        self.read(async |connection| events::standing(connection, caller.user, only).await)
            .await
    }

    /// Tells the caller's other connections that they type here, or have stopped.
    pub async fn tell_typing(&self, caller: Caller, conversation: ConversationId, is_typing: bool, origin: u64) {
        let signal = Signal::Typing {
            conversation,
            is_typing,
            origin,
        };
        if let Err(error) = self.0.live.publish_to_user(caller.user, signal).await {
            tracing::debug!(%error, "that somebody types could not be told");
        }
    }

    /// Makes every connection look at the log now and then, whoever announced what; runs until dropped. One per server.
    pub async fn keep_looking_at_logs(self) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            heartbeat.tick().await;
            for users in self.0.live.local_users().chunks(BATCH) {
                let last = self.read(async |connection| events::last_of(connection, users).await);
                match last.await {
                    Ok(last) => {
                        for (user, seq) in last {
                            self.0.live.publish_to_local_user(user, Signal::LastEvent(seq));
                        }
                    }
                    Err(error) => tracing::debug!(%error, "looking at the logs failed"),
                }
            }
        }
    }
}

fn standing_cursor(scope: Option<ConversationId>, standing: Standing) -> Cursor {
    Cursor {
        scope,
        seq: standing.seq,
        running: standing.running.into_iter().map(|id| (id, Position::START)).collect(),
    }
}

impl UserFeed {
    /// Where the connection stands: after what it was told last.
    pub fn cursor(&self) -> Arc<str> {
        Arc::clone(&self.told)
    }

    /// Whether the end of an answer that is final lies before this connection's beginning: it was not, and will not be, told.
    ///
    /// # Errors
    /// When the store fails.
    pub fn began_after_end_of(
        &self,
        answer: MessageId,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send + use<> {
        let (Reader { app, caller, .. }, began_at) = (self.log.clone(), self.began_at);
        async move {
            let ended = app.read(async |connection| events::ended_at(connection, caller.user, answer).await);
            Ok(ended.await?.is_none_or(|seq| seq <= began_at))
        }
    }

    /// This connection's own name: what it says itself, it is not told.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// The next event; waits for it. Safe to cancel: nothing is lost.
    pub async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.ready.pop_front() {
                if let Some(cursor) = &told.cursor {
                    self.told = Arc::clone(cursor);
                }
                return told;
            }
            if self.look && self.looking.is_none() && self.look_at.is_none_or(|at| at <= Instant::now()) {
                self.look = false;
                self.look_at = None;
                self.looking = Some(self.log.look(self.cursor.seq));
            }
            let wakes = self.typing.iter().map(|(_, until)| *until).chain(self.look_at).min();
            tokio::select! {
                found = found(&mut self.looking) => {
                    self.looking = None;
                    match found {
                        Ok(look) => self.learn(look),
                        Err(error) => {
                            tracing::debug!(%error, "reading a log failed");
                            let pause = Duration::from_millis(PAUSE_MS + self.origin % PAUSE_MS);
                            self.look = true;
                            self.look_at = Some(Instant::now() + pause);
                        }
                    }
                }
                signal = self.signals.next() => self.hear(signal),
                (at, event) = next_of(&mut self.running) => self.pass_on(at, event),
                () = sleep_until(wakes) => self.end_typing(),
            }
        }
    }

    fn hear(&mut self, signal: Signal) {
        match signal {
            Signal::Logged(seq) => self.look |= seq > self.cursor.seq,
            // Less than we know: the log was set back.
            Signal::LastEvent(seq) => self.look |= seq != self.cursor.seq,
            Signal::ReadLog => self.look = true,
            Signal::Typing {
                conversation,
                is_typing,
                origin,
            } => {
                if origin == self.origin || self.log.only.is_some_and(|only| only != conversation) {
                    return;
                }
                self.typing.retain(|(typed, _)| *typed != conversation);
                if is_typing {
                    self.typing.push((conversation, Instant::now() + TYPING));
                }
                self.tell_passing(UserEvent::Typing(conversation, Role::User, is_typing));
            }
        }
    }

    /// Whoever has not said for a while that they type has stopped.
    fn end_typing(&mut self) {
        let now = Instant::now();
        let (over, still) = self.typing.iter().partition(|(_, until)| *until <= now);
        self.typing = still;
        let over: Vec<(ConversationId, Instant)> = over;
        for (conversation, _) in over {
            self.tell_passing(UserEvent::Typing(conversation, Role::User, false));
        }
    }

    /// Passes on what an answer's follower has seen.
    fn pass_on(&mut self, at: usize, event: Option<AnswerEvent>) {
        match event {
            Some(AnswerEvent::Ended { message, .. }) => {
                // What is missing of its text was passed on before; the log tells that it is over.
                self.running.swap_remove(at);
                self.over.push(*message);
                self.look = true;
            }
            Some(AnswerEvent::Gone { .. }) | None => {
                let follower = self.running.swap_remove(at);
                self.tell_gone(&follower);
                self.look = true;
            }
            Some(event) => {
                let (id, position) = (self.running[at].answer(), event.position());
                self.tell_answer(id, position, event);
            }
        }
    }

    /// Tells that an answer was deleted while it was written.
    fn tell_gone(&mut self, follower: &AnswerFollower) {
        let (id, position) = (follower.answer(), follower.position());
        self.cursor.running.remove(&id);
        self.tell(UserEvent::Answer(id, AnswerEvent::Gone { position }));
        if let Some(conversation) = follower.conversation() {
            self.tell_passing(UserEvent::Typing(conversation, Role::Assistant, false));
        }
    }

    fn tell_answer(&mut self, id: MessageId, position: Position, event: AnswerEvent) {
        self.cursor.running.insert(id, position);
        self.tell(UserEvent::Answer(id, event));
    }

    fn tell(&mut self, event: UserEvent) {
        let typing = typing_of(&event);
        let cursor = Some(self.cursor.to_string().into());
        self.ready.push_back(Told { event, cursor });
        if let Some(typing) = typing {
            self.tell_passing(typing);
        }
    }

    /// Tells what moves no cursor.
    fn tell_passing(&mut self, event: UserEvent) {
        self.ready.push_back(Told { event, cursor: None });
    }
}

/// Cura types while it writes.
fn typing_of(event: &UserEvent) -> Option<UserEvent> {
    match event {
        UserEvent::Answer(_, AnswerEvent::Ended { message, .. }) => {
            Some(UserEvent::Typing(message.conversation_id, Role::Assistant, false))
        }
        UserEvent::Message(message) if message.role == Role::Assistant && message.attempt == Fence(0) => {
            Some(UserEvent::Typing(message.conversation_id, Role::Assistant, true))
        }
        _ => None,
    }
}

/// What a look has found; never, if none is under way.
async fn found(looking: &mut Option<BoxFuture<'static, Result<Look, StoreError>>>) -> Result<Look, StoreError> {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// What the first of these answers to have something new has, and which it is.
async fn next_of(running: &mut [AnswerFollower]) -> (usize, Option<AnswerEvent>) {
    if running.is_empty() {
        return std::future::pending().await;
    }
    let (event, at, _) = select_all(running.iter_mut().map(|follower| Box::pin(follower.next()))).await;
    (at, event)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
