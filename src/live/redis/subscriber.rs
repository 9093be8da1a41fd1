//! The subscriber: one subscription per process, for every text and every user that is watched here.
//!
//! It subscribes before it reads, so nothing published in between is lost; text that was already read is recognised by its
//! offset. A gap, a new attempt or a new connection is repaired by reading the whole text.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisError;
use ::redis::aio::{PubSubSink, PubSubStream};
use cura_domain::MessageId;
use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connection::Connection;
use super::echo::Echo;
use super::keys::Channel;
use super::scripts::{ReadReply, Scripts};
use super::text_message::TextMessage;
use super::trouble::RedisTrouble;
use crate::memory::{TextTable, UserTable};
use crate::signals::Signal;
use crate::text::MirrorUpdate;

/// How many channels are subscribed to, or texts read, at once.
const BATCH: usize = 64;
/// So many newly watched users may each read their event log at once.
const MAX_LOG_READS: usize = 100;
/// The first and the longest pause after a lost connection, and between two tries to read a text.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A subscription that lasts so long was none of several that fail: the pauses begin anew.
const LASTING: Duration = Duration::from_secs(5);

pub(super) struct Subscriber {
    /// The name of this process, which no other process has.
    pub(super) name: u64,
    pub(super) connection: Arc<Connection>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) texts: TextTable,
    pub(super) users: UserTable,
    /// Wakes the subscriber when the set of watched texts or users has changed.
    pub(super) watched_changed: Arc<Notify>,
    /// Why there is no subscription, if there is none.
    pub(super) trouble: watch::Sender<Option<RedisTrouble>>,
    pub(super) timeout: Duration,
}

/// A subscription and what it has brought so far.
struct Subscribed {
    sink: PubSubSink,
    channels: HashSet<Channel>,
    /// Texts that have to be read but could not be.
    unread: HashSet<MessageId>,
}

impl Subscriber {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            if let Err(trouble) = self.run_subscription().await {
                self.connection.note_trouble(&trouble);
                self.trouble.send_replace(Some(trouble));
            }
            if begun.elapsed() >= LASTING {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Ends when the subscription is better made elsewhere.
    async fn run_subscription(&self) -> Result<(), RedisTrouble> {
        let replaced = self.connection.until_replaced();
        let (sink, messages) = self.connection.publications().await?.split();
        let echo = Echo::new(self.name);
        let mut subscribed = Subscribed {
            sink,
            channels: HashSet::new(),
            unread: HashSet::new(),
        };
        self.with_timeout(subscribed.sink.subscribe(echo.channel().name()))
            .await?;
        self.resubscribe(&mut subscribed).await?;
        self.trouble.send_replace(None);
        tokio::select! {
            ended = self.receive(&mut subscribed, messages, &echo) => ended.map(|never| match never {}),
            () = replaced => Ok(()),
        }
    }

    async fn receive(
        &self,
        subscribed: &mut Subscribed,
        mut messages: PubSubStream,
        echo: &Echo,
    ) -> Result<Infallible, RedisTrouble> {
        let mut unheard = pin!(echo.call(&self.connection));
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                trouble = &mut unheard => return Err(trouble),
                () = self.watched_changed.notified() => self.resubscribe(subscribed).await?,
                () = sleep(pause), if !subscribed.unread.is_empty() => {
                    let unread: Vec<MessageId> = subscribed.unread.drain().collect();
                    self.read_texts(&unread, &mut subscribed.unread).await;
                    pause = if subscribed.unread.is_empty() { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                }
                message = messages.next() => {
                    let Some(message) = message else { return Err(RedisTrouble::Closed) };
                    match Channel::parse(message.get_channel_name()) {
                        Some(Channel::Text(id)) if self.apply(id, message.get_payload_bytes()) == MirrorUpdate::Gap => {
                            self.read_texts(&[id], &mut subscribed.unread).await;
                        }
                        Some(Channel::User(user)) => {
                            let signal = std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default();
                            self.users.publish(user, Signal::decode(signal));
                        }
                        Some(Channel::Echo(_)) => echo.note(message.get_payload_bytes()),
                        Some(Channel::Text(_)) | None => {}
                    }
                }
            }
        }
    }

    /// Subscribes to what is newly watched and reads it; unsubscribes from what is no longer watched.
    async fn resubscribe(&self, subscribed: &mut Subscribed) -> Result<(), RedisTrouble> {
        let texts = self.texts.watched().into_iter().map(Channel::Text);
        let users = self.users.watched().into_iter().map(Channel::User);
        let watched: HashSet<Channel> = texts.chain(users).collect();
        let new: Vec<Channel> = watched.difference(&subscribed.channels).copied().collect();
        // After a lost connection all users are new. They wait seconds for the server's own reading of all event logs,
        // which costs one query for a thousand of them.
        let read_logs = new.len() <= MAX_LOG_READS;
        for channels in new.chunks(BATCH) {
            let names: Vec<String> = channels.iter().copied().map(Channel::name).collect();
            self.with_timeout(subscribed.sink.subscribe(names)).await?;
            let mut texts = Vec::new();
            for channel in channels {
                match channel {
                    Channel::Text(id) => texts.push(*id),
                    // Signals published before the subscription are lost.
                    Channel::User(user) if read_logs => self.users.publish(*user, Signal::ReadLog),
                    Channel::User(_) | Channel::Echo(_) => {}
                }
            }
            self.read_texts(&texts, &mut subscribed.unread).await;
        }
        let left: Vec<Channel> = subscribed.channels.difference(&watched).copied().collect();
        for channels in left.chunks(BATCH) {
            let names: Vec<String> = channels.iter().copied().map(Channel::name).collect();
            self.with_timeout(subscribed.sink.unsubscribe(names)).await?;
        }
        subscribed.unread.retain(|id| watched.contains(&Channel::Text(*id)));
        subscribed.channels = watched;
        Ok(())
    }

    fn apply(&self, id: MessageId, payload: &[u8]) -> MirrorUpdate {
        match TextMessage::decode(payload) {
            TextMessage::Replaced => MirrorUpdate::Gap,
            TextMessage::Appended { fence, offset, text } => self.texts.mirror_append(id, fence, offset, text),
            TextMessage::Ended(fence) => {
                self.texts.end(id, fence);
                MirrorUpdate::Applied
            }
        }
    }

    /// Reads texts; adds those that cannot be read to `unread`.
    async fn read_texts(&self, ids: &[MessageId], unread: &mut HashSet<MessageId>) {
        for batch in ids.chunks(BATCH) {
            let reads = batch.iter().map(async |id| {
                match self.connection.call::<ReadReply>(&self.scripts.read(*id)).await {
                    Ok(ReadReply(Some(whole))) => self.texts.mirror_whole(*id, whole),
                    Ok(ReadReply(None)) => {}
                    Err(_) => return Some(*id),
                }
                None
            });
            unread.extend(futures_util::future::join_all(reads).await.into_iter().flatten());
        }
    }

    async fn with_timeout(&self, call: impl Future<Output = Result<(), RedisError>>) -> Result<(), RedisTrouble> {
        let answered = timeout(self.timeout * 2, call)
            .await
            .map_err(|_| RedisTrouble::Silent)?;
        answered.map_err(|error| RedisTrouble::from(&error))
    }
}
