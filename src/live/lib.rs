//! What may vanish: the texts of running answers, on their way from the worker that writes to everybody who watches.
//!
//! An answer is one growing text, so a stream needs no log: a reader has a [`Position`], and is given what the text has
//! beyond it. What `live` guarantees while it has the text: every reader sees it gap-free and without repetition, from any
//! position, however late or slow; an older attempt's writes are refused. `live` may lose everything at any time: the
//! worker writes it back, and Postgres knows the end.

mod answers;
mod follower;
mod limits;
mod redis;
mod users;

use std::time::Duration;

use cura_domain::answer::{Bases, Fence, Position};
use cura_domain::{MessageId, UserId};
use thiserror::Error;

use answers::Answers;
pub use follower::{Follower, Progress};
pub use limits::{Limit, Limiter, Verdict};
use users::Users;
pub use users::{Signal, UserWatch};

/// Limits of `live`.
#[derive(Debug, Clone, Copy)]
pub struct LiveConfig {
    /// How long a finished answer is kept for late readers.
    pub linger: Duration,
    /// How long an answer nobody writes or reads is kept; longer than any answer takes.
    pub idle: Duration,
    /// The longest text of an answer, in bytes.
    pub max_text: usize,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(60),
            idle: Duration::from_secs(30 * 60),
            max_text: 2 * 1024 * 1024,
            timeout: Duration::from_millis(500),
        }
    }
}

/// `live` cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("live is unavailable")]
pub struct LiveUnavailable;

/// Why a write was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AppendError {
    /// A newer attempt has begun, or the answer is final: stop writing.
    #[error("a newer attempt has begun, or the answer is final")]
    Stale,
    /// The text ends elsewhere; write it back whole with [`Live::restore`].
    #[error("the text has {have} bytes")]
    Offset {
        /// How long the text is, in bytes.
        have: u64,
    },
    /// The text is not there; write it back whole with [`Live::restore`].
    #[error("the text is not there")]
    Missing,
    /// The text would become longer than allowed.
    #[error("the text is too long")]
    TooLong,
    /// `live` cannot be reached; write the text back whole when it can.
    #[error("live is unavailable")]
    Unavailable,
}

/// What readers of an answer were shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The attempt that wrote last.
    pub fence: Fence,
    /// The text.
    pub text: String,
}

/// The running answers. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Live(Kind);

#[derive(Clone)]
enum Kind {
    InProcess(Answers, Users),
    Redis(redis::RedisLive),
}

impl Live {
    /// Answers that only this process sees.
    pub fn in_process(config: LiveConfig) -> Self {
        Self(Kind::InProcess(Answers::new(config), Users::default()))
    }

    /// Answers that every process on the Redis at `url` sees. Redis may be away: it is connected to as soon as it is
    /// there.
    ///
    /// # Errors
    /// When `url` is no Redis URL.
    pub fn redis(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        redis::RedisLive::connect(url, config).map(|redis| Self(Kind::Redis(redis)))
    }

    /// `in-process` or `redis`.
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Kind::InProcess(..) => "in-process",
            Kind::Redis(_) => "redis",
        }
    }

    /// A new attempt begins; older ones can no longer write. `text` is what is kept of the answer, as long as the last
    /// of `bases`.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn begin(&self, id: MessageId, fence: Fence, bases: &Bases, text: &str) -> Result<(), AppendError> {
        self.put(id, fence, bases, text).await
    }

    /// Adds text at `offset`. Adding the same again, because the answer got lost, changes nothing and is a success.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> Result<(), AppendError> {
        match &self.0 {
            Kind::InProcess(answers, _) => answers.append(id, fence, offset, text),
            Kind::Redis(redis) => redis.append(id, fence, offset, text).await,
        }
    }

    /// Writes the whole text back after `live` lost some of it. Readers neither miss nor repeat a byte.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn restore(&self, id: MessageId, fence: Fence, bases: &Bases, text: &str) -> Result<(), AppendError> {
        self.put(id, fence, bases, text).await
    }

    /// The answer is final in Postgres: readers are told after the last of the text.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn end(&self, id: MessageId, fence: Fence) -> Result<(), AppendError> {
        match &self.0 {
            Kind::InProcess(answers, _) => {
                answers.end(id, fence);
                Ok(())
            }
            Kind::Redis(redis) => redis.end(id, fence).await,
        }
    }

    /// Forgets an answer at once; whoever reads it sees nothing more.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn forget(&self, id: MessageId) -> Result<(), AppendError> {
        match &self.0 {
            Kind::InProcess(answers, _) => {
                answers.forget(id);
                Ok(())
            }
            Kind::Redis(redis) => redis.forget(id).await,
        }
    }

    /// What is known of an answer's text, if it has begun and is still kept.
    ///
    /// # Errors
    /// When `live` cannot be reached.
    pub async fn read(&self, id: MessageId) -> Result<Option<Shown>, LiveUnavailable> {
        let answer = match &self.0 {
            Kind::InProcess(answers, _) => answers.get(id),
            Kind::Redis(redis) => redis.read(id).await?,
        };
        Ok(answer.filter(|answer| answer.fence > Fence(0)).map(|answer| Shown {
            fence: answer.fence,
            text: answer.text,
        }))
    }

    /// Reads an answer from `from` on, whether it has begun or not.
    pub fn follow(&self, id: MessageId, from: Position) -> Follower {
        match &self.0 {
            Kind::InProcess(answers, _) => Follower::new(answers.watch(id), from, None),
            Kind::Redis(redis) => redis.follow(id, from),
        }
    }

    /// Listens for what the connections of `user` are told, on every server.
    pub fn watch_user(&self, user: UserId) -> UserWatch {
        match &self.0 {
            Kind::InProcess(_, users) => UserWatch::new(users.watch(user), None),
            Kind::Redis(redis) => redis.watch_user(user),
        }
    }

    /// Tells every connection of `user`. Whoever misses it finds out at the next look at the log.
    ///
    /// # Errors
    /// When `live` cannot be reached.
    pub async fn tell_user(&self, user: UserId, signal: Signal) -> Result<(), LiveUnavailable> {
        match &self.0 {
            Kind::InProcess(_, users) => {
                users.tell(user, signal);
                Ok(())
            }
            Kind::Redis(redis) => redis.tell_user(user, signal).await,
        }
    }

    /// Tells the connections of `user` in this process.
    pub fn tell_user_here(&self, user: UserId, signal: Signal) {
        self.users().tell(user, signal);
    }

    /// The users with connections in this process.
    pub fn users_here(&self) -> Vec<UserId> {
        self.users().watched()
    }

    /// Whether `user` has a connection on any server; of a server that died, for half a minute more.
    ///
    /// # Errors
    /// When `live` cannot be reached.
    pub async fn is_present(&self, user: UserId) -> Result<bool, LiveUnavailable> {
        match &self.0 {
            Kind::InProcess(_, users) => Ok(users.is_watched(user)),
            Kind::Redis(redis) => redis.is_present(user).await,
        }
    }

    fn users(&self) -> &Users {
        match &self.0 {
            Kind::InProcess(_, users) => users,
            Kind::Redis(redis) => redis.users(),
        }
    }

    /// Whether `live` answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), LiveUnavailable> {
        match &self.0 {
            Kind::InProcess(..) => Ok(()),
            Kind::Redis(redis) => redis.ping().await,
        }
    }

    async fn put(&self, id: MessageId, fence: Fence, bases: &Bases, text: &str) -> Result<(), AppendError> {
        match &self.0 {
            Kind::InProcess(answers, _) => answers.put(id, fence, bases, text),
            Kind::Redis(redis) => redis.put(id, fence, bases, text).await,
        }
    }
}

/// Not a Redis URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a Redis URL")]
pub struct InvalidUrl;
