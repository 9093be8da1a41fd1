//! One connection's view of everything that happens to its user, on one cursor: the event log and the texts of running
//! answers. Any server resumes it from the cursor, without gaps or repetitions.
//!
//! The log is the truth. Signals only say that it is worth reading, and the heartbeat makes every connection compare its
//! cursor with the log. The end of an answer is reported when the log reports it, so a cursor is never past an end that its
//! reader has not seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cura_domain::answer::Position;
use cura_domain::cursor::Cursor;
use cura_domain::message::{Message, Role};
use cura_domain::{ConversationId, MessageId, UserId};
use cura_live::{Signal, UserWatch};
use cura_store::{StoreError, events};
use futures_util::future::{BoxFuture, select_all};
use tokio::time::Instant;

use super::answer_event::AnswerEvent;
use super::answer_follower::AnswerFollower;
use super::log_reader::{Fetch, LogReader};
use super::sources::Sources;
use super::user_event::{FeedItem, Resync, UserEvent};
use typing::Typing;

mod apply;
mod typing;

/// The shortest pause after a failed fetch; connections are spread over twice that.
const RETRY_PAUSE_MS: u64 = 1000;

/// One connection's view of everything that happens to its user, or in one conversation.
pub struct UserFeed {
    log: LogReader,
    /// A pending fetch of the log. Texts are passed on meanwhile.
    fetching: Option<BoxFuture<'static, Result<Fetch, StoreError>>>,
    signals: UserWatch,
    /// Identifies this connection among the user's connections.
    origin: u64,
    /// The cursor after everything in `ready`.
    cursor: Cursor,
    /// The number of the last event before this connection, or before its last resync.
    started_at: i64,
    /// The cursor after the last item that was returned.
    delivered: Arc<str>,
    running: Vec<AnswerFollower>,
    /// Final answers whose end the log has not reported yet.
    ended: Vec<Message>,
    ready: VecDeque<FeedItem>,
    fetch_wanted: bool,
    /// Whether there was more in the log than was read so far.
    is_behind: bool,
    /// The next fetch waits until then.
    fetch_after: Option<Instant>,
    typing: Typing,
}

impl UserFeed {
    /// Resumes after `cursor`, or starts now; restricted to one conversation if one is given, of which the caller has
    /// checked that it is the user's.
    pub(super) async fn open(
        sources: Sources,
        user: UserId,
        only: Option<ConversationId>,
        cursor: Option<Cursor>,
    ) -> Result<Self, StoreError> {
        // Subscribe before reading, so what happens in between is not lost.
        let signals = sources.live.watch_user(user);
        let resumes = cursor.is_some();
        // A cursor of everything can be resumed for one conversation, but not the other way round; one that leaves out answers
        // cannot be resumed at all.
        let (is_foreign, cursor) = match cursor {
            Some(cursor) if cursor.is_cut || (cursor.scope.is_some() && cursor.scope != only) => (true, None),
            cursor => (false, cursor),
        };
        let origin = u64::from_ne_bytes(sources.entropy.bytes());
        let log = LogReader { sources, user, only };
        let mut cursor = match cursor {
            Some(cursor) => Cursor { scope: only, ..cursor },
            None => log.head().await?,
        };
        let running = log.followers_of(&mut cursor).await?;
        let mut feed = Self {
            log,
            fetching: None,
            signals,
            origin,
            started_at: cursor.seq,
            delivered: cursor.to_string().into(),
            cursor,
            running,
            ended: Vec::new(),
            ready: VecDeque::new(),
            fetch_wanted: resumes && !is_foreign,
            is_behind: resumes && !is_foreign,
            fetch_after: None,
            typing: Typing::default(),
        };
        if is_foreign {
            feed.push(UserEvent::Resync(Resync::Unknown));
        }
        Ok(feed)
    }

    /// The cursor after the last item that was returned.
    pub fn cursor(&self) -> Arc<str> {
        Arc::clone(&self.delivered)
    }

    /// Identifies this connection; its own signals are not returned to it.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Whether the end of a final answer is before the start of this connection, which then never reports it.
    pub fn started_after_end_of(
        &self,
        answer: MessageId,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send + use<> {
        let (LogReader { sources, user, .. }, started_at) = (self.log.clone(), self.started_at);
        async move {
            let reported = sources
                .database
                .connection(async |connection| events::has_end_after(connection, user, answer, started_at).await);
            Ok(!reported.await?)
        }
    }

    /// The next item; waits for it. Cancel safe.
    pub async fn next(&mut self) -> FeedItem {
        loop {
            if let Some(item) = self.ready.pop_front() {
                if let Some(cursor) = &item.cursor {
                    self.delivered = Arc::clone(cursor);
                }
                return item;
            }
            self.start_fetch();
            let timer = self.typing.next_expiry().into_iter().chain(self.fetch_after).min();
            tokio::select! {
                fetched = result_of(&mut self.fetching) => {
                    self.fetching = None;
                    self.on_fetched(fetched);
                }
                signal = self.signals.next() => self.on_signal(signal),
                (at, event) = next_of(&mut self.running) => self.on_answer_event(at, event),
                () = sleep_until(timer) => self.expire_typing(),
            }
        }
    }

    fn start_fetch(&mut self) {
        let is_due = self.fetch_after.is_none_or(|at| at <= Instant::now());
        if self.fetch_wanted && self.fetching.is_none() && is_due {
            self.fetch_wanted = false;
            self.fetch_after = None;
            self.fetching = Some(self.log.fetch(self.cursor.seq, self.is_behind));
        }
    }

    fn on_fetched(&mut self, fetched: Result<Fetch, StoreError>) {
        match fetched {
            Ok(fetch) => self.apply(fetch),
            Err(error) => {
                tracing::debug!(%error, "an event log could not be read");
                let pause = Duration::from_millis(RETRY_PAUSE_MS + self.origin % RETRY_PAUSE_MS);
                self.fetch_wanted = true;
                self.fetch_after = Some(Instant::now() + pause);
            }
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Logged(seq) => self.fetch_wanted |= seq > self.cursor.seq,
            // Also when it is lower than the cursor: then the log was restored from a backup.
            Signal::LastEvent(seq) => self.fetch_wanted |= seq != self.cursor.seq,
            Signal::ReadLog => self.fetch_wanted = true,
            Signal::Typing {
                conversation,
                is_typing,
                origin,
            } => {
                if origin == self.origin || self.log.only.is_some_and(|only| only != conversation) {
                    return;
                }
                self.typing.set(conversation, is_typing);
                self.push_transient(UserEvent::Typing(conversation, Role::User, is_typing));
            }
        }
    }

    fn expire_typing(&mut self) {
        for conversation in self.typing.expire() {
            self.push_transient(UserEvent::Typing(conversation, Role::User, false));
        }
    }

    fn on_answer_event(&mut self, at: usize, event: Option<AnswerEvent>) {
        match event {
            Some(AnswerEvent::Ended { message, .. }) => {
                // The missing text was passed on before; the log reports the end.
                self.running.swap_remove(at);
                self.ended.push(*message);
                self.fetch_wanted = true;
            }
            Some(AnswerEvent::Gone { .. }) | None => {
                let follower = self.running.swap_remove(at);
                self.push_gone(&follower);
                self.fetch_wanted = true;
            }
            Some(event) => {
                let (id, position) = (self.running[at].answer(), event.position());
                self.push_answer(id, position, event);
            }
        }
    }

    /// Reports that an answer was deleted while it was generated.
    fn push_gone(&mut self, follower: &AnswerFollower) {
        let (id, position) = (follower.answer(), follower.position());
        self.cursor.running.remove(&id);
        self.push(UserEvent::Answer(id, AnswerEvent::Gone { position }));
        if let Some(conversation) = follower.conversation() {
            self.push_transient(UserEvent::Typing(conversation, Role::Assistant, false));
        }
    }

    fn push_answer(&mut self, id: MessageId, position: Position, event: AnswerEvent) {
        self.cursor.running.insert(id, position);
        self.push(UserEvent::Answer(id, event));
    }

    /// Adds an event with the cursor as it is now.
    fn push(&mut self, event: UserEvent) {
        let typing = event.typing();
        let cursor = Some(self.cursor.to_string().into());
        self.ready.push_back(FeedItem { event, cursor });
        if let Some(typing) = typing {
            self.push_transient(typing);
        }
    }

    /// Adds an event that does not move the cursor.
    fn push_transient(&mut self, event: UserEvent) {
        self.ready.push_back(FeedItem { event, cursor: None });
    }
}

/// The result of the pending fetch; never resolves if there is none.
async fn result_of(fetching: &mut Option<BoxFuture<'static, Result<Fetch, StoreError>>>) -> Result<Fetch, StoreError> {
    match fetching {
        Some(fetching) => fetching.await,
        None => std::future::pending().await,
    }
}

/// The next event of the first answer that has one, and the index of that answer.
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
