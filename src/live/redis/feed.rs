//! The feed: one subscription per process, for every answer somebody here reads.
//!
//! Subscribe first, then read, so that what arrives in between is not lost; pieces that were already read are recognised
//! by their offset. A gap, a new attempt or a new connection is repaired by reading the whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::PubSubSink;
use ::redis::{RedisError, Script};
use cura_domain::MessageId;
use cura_domain::answer::Fence;
use futures_util::StreamExt;
use tokio::sync::Notify;

use super::connection::Connection;
use super::scripts::{self, Channel, Whole};
use crate::answers::{Answers, Mirrored};
use crate::users::{Signal, Users};

/// How many answers are subscribed to or read at once.
const BATCH: usize = 64;
/// So many that come anew may each look at the log.
const FEW: usize = 100;
/// How often a silent subscription has to show that it lives.
const PING_EVERY: Duration = Duration::from_secs(5);
/// The first and the longest pause after a lost connection.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Feed {
    pub(super) connection: Arc<Connection>,
    pub(super) mirror: Answers,
    pub(super) users: Users,
    pub(super) changed: Arc<Notify>,
    pub(super) timeout: Duration,
}

impl Feed {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let read = scripts::read_script();
        let mut pause = FIRST_PAUSE;
        loop {
            let mut subscribed = false;
            let ended = self.follow_all(&read, &mut subscribed).await;
            // Said once, when it is lost: how Redis is, `/health` and the start of a program say.
            match ended.err().map(|error| error.to_string()) {
                lost if subscribed => {
                    pause = FIRST_PAUSE;
                    tracing::warn!(error = lost, "the subscription to Redis was lost; subscribing again");
                }
                failed => tracing::debug!(error = failed, "subscribing to Redis failed"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn follow_all(&self, read: &Script, connected: &mut bool) -> Result<(), RedisError> {
        let (mut sink, mut messages) = self.bounded(self.connection.client.get_async_pubsub()).await?.split();
        *connected = true;
        let mut subscribed = HashSet::new();
        self.resubscribe(&mut sink, &mut subscribed, read).await?;
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A connection that swallows everything looks like one on which nothing happens.
                _ = ping.tick() => self.bounded(sink.ping::<::redis::Value>()).await.map(drop)?,
                () = self.changed.notified() => self.resubscribe(&mut sink, &mut subscribed, read).await?,
                message = messages.next() => {
                    let Some(message) = message else { return Ok(()) };
                    match Channel::of(message.get_channel_name()) {
                        Some(Channel::Answer(id)) if self.apply(id, message.get_payload_bytes()) == Mirrored::Gap => {
                            self.read(read, &[id]).await?;
                        }
                        Some(Channel::User(user)) => {
                            let told = std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default();
                            self.users.tell(user, Signal::decode(told));
                        }
                        Some(Channel::Answer(_)) | None => {}
                    }
                }
            }
        }
    }

    /// Subscribes to what is newly watched and reads it; leaves what nobody watches any more.
    async fn resubscribe(
        &self,
        sink: &mut PubSubSink,
        subscribed: &mut HashSet<Channel>,
        read: &Script,
    ) -> Result<(), RedisError> {
        let answers = self.mirror.watched().into_iter().map(Channel::Answer);
        let users = self.users.watched().into_iter().map(Channel::User);
        let watched: HashSet<Channel> = answers.chain(users).collect();
        let new: Vec<Channel> = watched.difference(subscribed).copied().collect();
        // After a lost connection, everybody is new: the next look at all logs, seconds away, is one for a thousand of them.
        let few = new.len() <= FEW;
        for channels in new.chunks(BATCH) {
            let names: Vec<String> = channels.iter().copied().map(Channel::name).collect();
            self.bounded(sink.subscribe(names)).await?;
            let mut answers = Vec::new();
            for channel in channels {
                match channel {
                    Channel::Answer(id) => answers.push(*id),
                    // What was said before we listened.
                    Channel::User(user) if few => self.users.tell(*user, Signal::Look),
                    Channel::User(_) => {}
                }
            }
            self.read(read, &answers).await?;
        }
        let left: Vec<String> = subscribed.difference(&watched).copied().map(Channel::name).collect();
        for channels in left.chunks(BATCH) {
            self.bounded(sink.unsubscribe(channels.to_vec())).await?;
        }
        *subscribed = watched;
        Ok(())
    }

    fn apply(&self, id: MessageId, payload: &[u8]) -> Mirrored {
        let Ok(payload) = std::str::from_utf8(payload) else {
            return Mirrored::Gap;
        };
        let mut parts = payload.splitn(4, ' ');
        let kind = parts.next();
        let fence = parts.next().and_then(|fence| fence.parse().ok()).map(Fence);
        match (kind, fence) {
            (Some("a"), Some(fence)) => {
                let offset = parts.next().and_then(|offset| offset.parse().ok());
                let (Some(offset), Some(text)) = (offset, parts.next()) else {
                    return Mirrored::Gap;
                };
                self.mirror.mirror_append(id, fence, offset, text)
            }
            (Some("e"), Some(fence)) => {
                self.mirror.end(id, fence);
                Mirrored::Fits
            }
            _ => Mirrored::Gap,
        }
    }

    async fn read(&self, read: &Script, ids: &[MessageId]) -> Result<(), RedisError> {
        let reads = ids.iter().map(|id| async move {
            let mut call = read.prepare_invoke();
            call.key(scripts::state_key(*id)).key(scripts::text_key(*id));
            let read = self
                .connection
                .call(async |connection| call.invoke_async::<Whole>(connection).await);
            let whole = read.await?;
            if let Some(whole) = whole.0 {
                self.mirror.mirror_whole(*id, whole);
            }
            Ok::<(), RedisError>(())
        });
        futures_util::future::try_join_all(reads).await?;
        Ok(())
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
        match tokio::time::timeout(self.timeout * 2, call).await {
            Ok(done) => done,
            Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        }
    }
}
