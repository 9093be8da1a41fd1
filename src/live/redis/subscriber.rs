//! The subscriber: one subscription per process, for every text and every user that is watched here.
//!
//! It subscribes before it reads, so nothing published in between is lost; text that was already read is recognised by its
//! offset. A gap, a new attempt or a new connection is repaired by reading the whole text.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisError;
use ::redis::aio::PubSubSink;
use cura_domain::MessageId;
use futures_util::StreamExt;
use tokio::sync::Notify;

use super::connection::{Connection, timed_out};
use super::keys::Channel;
use super::scripts::{ReadReply, Scripts};
use super::text_message::TextMessage;
use crate::memory::{TextTable, UserTable};
use crate::signals::Signal;
use crate::text::MirrorUpdate;

/// How many channels are subscribed to, or texts read, at once.
const BATCH: usize = 64;
/// So many newly watched users may each read their event log at once.
const MAX_LOG_READS: usize = 100;
/// How often the subscription is checked. A dead connection looks like one on which nothing happens.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// The first and the longest pause after a lost connection.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Subscriber {
    pub(super) connection: Arc<Connection>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) texts: TextTable,
    pub(super) users: UserTable,
    /// Wakes the subscriber when the set of watched texts or users has changed.
    pub(super) watched_changed: Arc<Notify>,
    pub(super) timeout: Duration,
}

impl Subscriber {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut connected = false;
            let ended = self.run_subscription(&mut connected).await;
            // Logged only when a working subscription is lost: `/health` and the programs' start report an absent Redis.
            match ended.err().map(|error| error.to_string()) {
                error if connected => {
                    pause = FIRST_PAUSE;
                    tracing::warn!(error, "lost the subscription to Redis; subscribing again");
                }
                error => tracing::debug!(error, "cannot subscribe to Redis"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn run_subscription(&self, connected: &mut bool) -> Result<(), RedisError> {
        let (mut sink, mut messages) = self
            .with_timeout(self.connection.client.get_async_pubsub())
            .await?
            .split();
        *connected = true;
        let mut subscribed = HashSet::new();
        self.resubscribe(&mut sink, &mut subscribed).await?;
        let mut ping = tokio::time::interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ping.tick() => self.with_timeout(sink.ping::<::redis::Value>()).await.map(drop)?,
                () = self.watched_changed.notified() => self.resubscribe(&mut sink, &mut subscribed).await?,
                message = messages.next() => {
                    let Some(message) = message else { return Ok(()) };
                    match Channel::parse(message.get_channel_name()) {
                        Some(Channel::Text(id)) if self.apply(id, message.get_payload_bytes()) == MirrorUpdate::Gap => {
                            self.read_texts(&[id]).await?;
                        }
                        Some(Channel::User(user)) => {
                            let signal = std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default();
                            self.users.publish(user, Signal::decode(signal));
                        }
                        Some(Channel::Text(_)) | None => {}
                    }
                }
            }
        }
    }

    /// Subscribes to what is newly watched and reads it; unsubscribes from what is no longer watched.
    async fn resubscribe(&self, sink: &mut PubSubSink, subscribed: &mut HashSet<Channel>) -> Result<(), RedisError> {
        let texts = self.texts.watched().into_iter().map(Channel::Text);
        let users = self.users.watched().into_iter().map(Channel::User);
        let watched: HashSet<Channel> = texts.chain(users).collect();
        let new: Vec<Channel> = watched.difference(subscribed).copied().collect();
        // After a lost connection all users are new. They wait seconds for the server's own reading of all event logs,
        // which costs one query for a thousand of them.
        let read_logs = new.len() <= MAX_LOG_READS;
        for channels in new.chunks(BATCH) {
            let names: Vec<String> = channels.iter().copied().map(Channel::name).collect();
            self.with_timeout(sink.subscribe(names)).await?;
            let mut texts = Vec::new();
            for channel in channels {
                match channel {
                    Channel::Text(id) => texts.push(*id),
                    // Signals published before the subscription are lost.
                    Channel::User(user) if read_logs => self.users.publish(*user, Signal::ReadLog),
                    Channel::User(_) => {}
                }
            }
            self.read_texts(&texts).await?;
        }
        let left: Vec<String> = subscribed.difference(&watched).copied().map(Channel::name).collect();
        for channels in left.chunks(BATCH) {
            self.with_timeout(sink.unsubscribe(channels.to_vec())).await?;
        }
        *subscribed = watched;
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

    async fn read_texts(&self, ids: &[MessageId]) -> Result<(), RedisError> {
        let reads = ids.iter().map(|id| async move {
            let call = self.scripts.read(*id);
            let reply = self
                .connection
                .call(async |connection| call.invoke_async::<ReadReply>(connection).await);
            if let ReadReply(Some(whole)) = reply.await? {
                self.texts.mirror_whole(*id, whole);
            }
            Ok::<(), RedisError>(())
        });
        futures_util::future::try_join_all(reads).await?;
        Ok(())
    }

    async fn with_timeout<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
        tokio::time::timeout(self.timeout * 2, call)
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    }
}
