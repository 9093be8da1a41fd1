//! `live`: what may be lost. Texts of running answers on their way from worker to readers, signals to a user's
//! connections, who watches, and rate limits; in memory or on Redis.
//!
//! An answer is one growing text, so a stream needs no log: a reader has a [`Position`] and gets the text beyond it. As
//! long as `live` has the text, every reader sees it without gaps or repetitions, from any position, however late or slow;
//! writes of an older attempt are refused. `live` may lose everything at any time: the worker writes the text back, and
//! Postgres has the end.

mod appender;
mod config;
mod error;
mod failure_waits;
mod failures;
mod follower;
mod memory;
mod presence;
mod rate_decision;
mod rate_limits;
mod redis;
mod refusals;
mod signals;
mod text;
mod traces;
mod watch_guard;
mod watchers;

use cura_domain::answer::{AttemptOffsets, Fence, Position};
use cura_domain::{MessageId, UserId};
use futures_util::future::join_all;
use tokio::time::Instant;

pub use appender::Appender;
pub use config::LiveConfig;
pub use error::{AppendError, InvalidUrl, LiveUnavailable};
pub use failure_waits::FailureWaits;
pub use follower::{Follower, Progress};
use memory::{MemoryLive, UserTable};
pub use presence::{LastLook, Liveness};
pub use rate_decision::RateDecision;
pub use rate_limits::{Limit, RateLimiter};
use redis::RedisLive;
pub use redis::{RedisTrouble, check_redis_url};
pub use signals::{Signal, UserWatch};
pub use text::LiveText;
pub use traces::Traces;
pub use watchers::Watcher;

/// Running answers, signals and watchers. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Live {
    config: LiveConfig,
    implementation: Implementation,
}

/// Every method of [`Live`] chooses here and nowhere else.
#[derive(Clone)]
enum Implementation {
    Memory(MemoryLive),
    Redis(RedisLive),
}
use Implementation::{Memory, Redis};

impl Live {
    /// Seen by this process only.
    pub fn in_process(config: LiveConfig) -> Self {
        let implementation = Memory(MemoryLive::new(config));
        Self { config, implementation }
    }

    /// Seen by every process on the Redis at `url`, which need not be available yet: the connection is opened as soon as
    /// it is. A server (`redis://`), a cluster (`redis-cluster://a:6379,b:6379`), or the master that sentinels name
    /// (`redis-sentinel://a:26379,b:26379/mymaster`); `rediss` for TLS.
    ///
    /// # Errors
    /// When `url` is not a Redis URL.
    pub fn redis(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let implementation = Redis(RedisLive::connect(url, config)?);
        Ok(Self { config, implementation })
    }

    /// `in-process` or `redis`.
    pub fn kind(&self) -> &'static str {
        match &self.implementation {
            Memory(_) => "in-process",
            Redis(_) => "redis",
        }
    }

    /// Whether what it holds is there when this process has died.
    pub fn outlives_process(&self) -> bool {
        matches!(&self.implementation, Redis(_))
    }

    /// Its limits and lifetimes.
    pub fn config(&self) -> &LiveConfig {
        &self.config
    }

    /// Begins an attempt: older ones can no longer write. `text` is what the attempt keeps of the answer; the last of
    /// `offsets` is its length.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn begin(
        &self,
        id: MessageId,
        fence: Fence,
        offsets: &AttemptOffsets,
        text: &str,
    ) -> Result<(), AppendError> {
        self.replace(id, fence, offsets, text).await
    }

    /// Writes on where the text of an attempt ends: at `offset`.
    pub fn appender(&self, id: MessageId, fence: Fence, offset: u64) -> Appender {
        let (attempt, most) = ((id, fence), self.config.max_text_bytes);
        match &self.implementation {
            Memory(memory) => Appender::memory(memory.clone(), attempt, offset, most),
            Redis(redis) => Appender::redis(redis.appends(), attempt, offset, most),
        }
    }

    /// Adds `text` at `offset`, and waits until it is written. Repeating a call whose reply was lost changes nothing and succeeds.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> Result<(), AppendError> {
        let mut appender = self.appender(id, fence, offset);
        appender.append(text).await?;
        appender.flush().await
    }

    /// Writes the whole text back after `live` lost some of it. Readers neither miss nor repeat a byte.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn restore(
        &self,
        id: MessageId,
        fence: Fence,
        offsets: &AttemptOffsets,
        text: &str,
    ) -> Result<(), AppendError> {
        self.replace(id, fence, offsets, text).await
    }

    /// Ends the text of every attempt up to this one, because the answer is final in Postgres. Readers get [`Progress::Ended`] after the
    /// last of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn end(&self, id: MessageId, fence: Fence) -> Result<(), AppendError> {
        match &self.implementation {
            Memory(memory) => {
                memory.end(id, fence);
                Ok(())
            }
            Redis(redis) => redis.end(id, fence).await,
        }
    }

    /// Drops a text at once, as a restart of `live` does: a running attempt writes it back. Readers get
    /// [`Progress::Deleted`].
    pub async fn delete(&self, id: MessageId) -> Result<(), LiveUnavailable> {
        match &self.implementation {
            Memory(memory) => {
                memory.delete(id);
                Ok(())
            }
            Redis(redis) => redis.delete(id).await,
        }
    }

    /// Forgets a text for good: it is gone at once, and no attempt that is still writing, or was frozen, can write it again
    /// for [`LiveConfig::idle_ttl`], which outlasts every attempt. Readers learn from Postgres why.
    pub async fn forget(&self, id: MessageId) -> Result<(), LiveUnavailable> {
        match &self.implementation {
            Memory(memory) => {
                memory.forget(id);
                Ok(())
            }
            Redis(redis) => redis.forget(id).await,
        }
    }

    /// The text so far; `None` if no attempt has begun, or it is no longer kept.
    pub async fn read(&self, id: MessageId) -> Result<Option<LiveText>, LiveUnavailable> {
        let state = match &self.implementation {
            Memory(memory) => memory.read(id),
            Redis(redis) => redis.read(id).await?,
        };
        Ok(state.and_then(Option::from))
    }

    /// Follows a text from `from` on, whether an attempt has begun or not.
    pub fn follow(&self, id: MessageId, from: Position) -> Follower {
        match &self.implementation {
            Memory(memory) => memory.follow(id, from),
            Redis(redis) => redis.follow(id, from),
        }
    }

    /// Receives the signals published to `user` on any server.
    pub fn watch_user(&self, user: UserId) -> UserWatch {
        match &self.implementation {
            Memory(memory) => memory.watch_user(user),
            Redis(redis) => redis.watch_user(user),
        }
    }

    /// Publishes a signal to the connections of `user` on every server. A connection that misses it learns of the event
    /// when it next reads the event log.
    pub async fn publish_to_user(&self, user: UserId, signal: Signal) -> Result<(), LiveUnavailable> {
        match &self.implementation {
            Memory(memory) => {
                memory.publish_to_user(user, signal);
                Ok(())
            }
            Redis(redis) => redis.publish_to_user(user, signal).await,
        }
    }

    /// Publishes that the event log of `user` has an event with the number `seq`. A failure is only logged: connections
    /// learn of the event when they next read the event log.
    pub async fn publish_event(&self, user: UserId, seq: i64) {
        if let Err(error) = self.publish_to_user(user, Signal::Logged(seq)).await {
            tracing::debug!(%error, user_id = %user, seq, "cannot publish an event");
        }
    }

    /// Signals the readers of these answers that no attempt up to the given one writes any more. A reader that misses it asks
    /// Postgres.
    pub async fn publish_ends(&self, answers: &[(MessageId, Fence)]) {
        join_all(answers.iter().map(|(answer, fence)| self.end(*answer, *fence))).await;
    }

    /// Forgets the texts of answers that were deleted, which signals their readers. A reader that misses it asks Postgres.
    pub async fn publish_deleted(&self, answers: &[MessageId]) {
        let forgotten = join_all(answers.iter().map(|answer| self.forget(*answer))).await;
        if let Some(error) = forgotten.into_iter().find_map(Result::err) {
            tracing::warn!(%error, "texts of deleted answers could not be removed from live; the job that removes their rows tries again");
        }
    }

    /// What is kept of `user`, and the texts of all answers. Looks through all keys of Redis; what is only in this process is not looked
    /// at.
    ///
    /// # Errors
    /// When Redis does not answer, or does not let its keys be looked through.
    pub async fn find_traces(&self, user: UserId) -> Result<Traces, LiveUnavailable> {
        match &self.implementation {
            Memory(_) => Ok(Traces::default()),
            Redis(redis) => redis.find_traces(user).await,
        }
    }

    /// Deletes every key of Cura's on Redis, for a database that they were not written for; gives how many there were. Nothing may be running.
    ///
    /// # Errors
    /// When Redis does not answer, or does not let its keys be looked through.
    pub async fn forget_all(&self) -> Result<u64, LiveUnavailable> {
        match &self.implementation {
            Memory(_) => Ok(0),
            Redis(redis) => redis.forget_all().await,
        }
    }

    /// Publishes a signal to the connections of `user` in this process.
    pub fn publish_to_local_user(&self, user: UserId, signal: Signal) {
        self.local_table().publish(user, signal);
    }

    /// The users with connections in this process.
    pub fn local_users(&self) -> Vec<UserId> {
        self.local_table().watched()
    }

    /// Registers a connection that looks at what happens to `user`. It counts on every server until it is dropped or
    /// hidden, or, if its liveness has to be shown, until it was silent for too long.
    pub fn watcher(&self, user: UserId, liveness: Liveness) -> Watcher {
        let table = match &self.implementation {
            Memory(memory) => memory.watchers(),
            Redis(redis) => redis.watchers(),
        };
        Watcher::new(table.clone(), user, liveness)
    }

    /// Whether a watcher of `user` counts on any server. Those of a server that died count for half a minute. Nobody
    /// watches when Redis does not answer within [`LiveConfig::timeout`]: it is better to tell somebody twice than not
    /// at all.
    pub async fn is_watched(&self, user: UserId) -> bool {
        match &self.implementation {
            Memory(memory) => memory.watchers().is_watched(user, Instant::now()),
            Redis(redis) => redis.is_watched(user).await.unwrap_or_default(),
        }
    }

    /// As [`Self::is_watched`], at the end of an answer: who watches is remembered for five minutes, for
    /// [`Self::last_look`]. Repeating it adds those who have come since.
    pub async fn look_at_end(&self, user: UserId, answer: MessageId) -> bool {
        match &self.implementation {
            Memory(memory) => memory.watchers().look_at_end(user, answer, Instant::now()),
            Redis(redis) => redis.look_at_end(user, answer).await.unwrap_or_default(),
        }
    }

    /// Whether somebody watches now, and whether one of those who watched at the end of `answer` has left in order
    /// since. Neither when Redis does not answer.
    pub async fn last_look(&self, user: UserId, answer: MessageId) -> LastLook {
        match &self.implementation {
            Memory(memory) => memory.watchers().last_look(user, answer, Instant::now()),
            Redis(redis) => redis.last_look(user, answer).await.unwrap_or_default(),
        }
    }

    /// Checks that `live` does all that is asked of it: it writes, reads and publishes, and what is published arrives. A few calls
    /// of Redis at most.
    ///
    /// # Errors
    /// What is wrong with Redis, and the cure.
    pub async fn check(&self) -> Result<(), RedisTrouble> {
        match &self.implementation {
            Memory(_) => Ok(()),
            Redis(redis) => redis.check().await,
        }
    }

    async fn replace(
        &self,
        id: MessageId,
        fence: Fence,
        offsets: &AttemptOffsets,
        text: &str,
    ) -> Result<(), AppendError> {
        self.check_length(text.len())?;
        match &self.implementation {
            Memory(memory) => memory.replace(id, fence, offsets, text),
            Redis(redis) => redis.replace(id, fence, offsets, text).await,
        }
    }

    fn local_table(&self) -> &UserTable {
        match &self.implementation {
            Memory(memory) => memory.users(),
            Redis(redis) => redis.users(),
        }
    }

    fn check_length(&self, bytes: usize) -> Result<(), AppendError> {
        if bytes > self.config.max_text_bytes {
            return Err(AppendError::TooLong);
        }
        Ok(())
    }
}
