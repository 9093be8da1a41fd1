//! Running answers on Redis: a text and its state per answer, one script per write, one subscription per process.
//!
//! A write costs one round trip and one publish, whatever the number of readers. What is read in this process is
//! mirrored here by [`feed`], and readers read the mirror.

mod connection;
mod feed;
mod limits;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use ::redis::ScriptInvocation;
use cura_domain::MessageId;
use cura_domain::answer::{Bases, Fence, Position};
use tokio::sync::Notify;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::answers::{Answer, Answers};
use crate::{AppendError, Follower, InvalidUrl, LiveConfig, LiveUnavailable};
use connection::Connection;
pub(crate) use limits::RedisLimits;
use scripts::{Reply, Scripts, Whole};

#[derive(Clone)]
pub(crate) struct RedisLive(Arc<Parts>);

struct Parts {
    config: LiveConfig,
    connection: Arc<Connection>,
    scripts: Scripts,
    mirror: Answers,
    /// Tells the feed that the set of watched answers has changed.
    changed: Arc<Notify>,
    _feed: AbortOnDropHandle<()>,
}

/// Held by a reader; when it goes, the feed looks whether anybody still reads.
pub(crate) struct Subscription(Arc<Notify>);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl RedisLive {
    pub(crate) fn connect(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let connection = Arc::new(Connection::new(url, config)?);
        let mirror = Answers::new(config);
        let changed = Arc::new(Notify::new());
        let feed = feed::Feed {
            connection: Arc::clone(&connection),
            mirror: mirror.clone(),
            changed: Arc::clone(&changed),
            timeout: config.timeout,
        };
        let feed = AbortOnDropHandle::new(TaskTracker::new().spawn(feed.run()));
        Ok(Self(Arc::new(Parts {
            config,
            connection,
            scripts: Scripts::new(),
            mirror,
            changed,
            _feed: feed,
        })))
    }

    pub(crate) async fn put(&self, id: MessageId, fence: Fence, bases: &Bases, text: &str) -> Result<(), AppendError> {
        if text.len() > self.0.config.max_text {
            return Err(AppendError::TooLong);
        }
        let mut call = self.0.scripts.put(id);
        call.arg(fence.0)
            .arg(scripts::encode_bases(bases))
            .arg(text)
            .arg(seconds(self.0.config.idle));
        self.write(&call).await
    }

    pub(crate) async fn append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> Result<(), AppendError> {
        if usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(text.len()) > self.0.config.max_text {
            return Err(AppendError::TooLong);
        }
        let mut call = self.0.scripts.append(id);
        call.arg(fence.0).arg(offset).arg(text);
        self.write(&call).await
    }

    pub(crate) async fn end(&self, id: MessageId, fence: Fence) -> Result<(), AppendError> {
        let mut call = self.0.scripts.end(id);
        call.arg(fence.0).arg(seconds(self.0.config.linger));
        self.write(&call).await
    }

    pub(crate) async fn forget(&self, id: MessageId) -> Result<(), AppendError> {
        self.0.mirror.forget(id);
        let keys = [scripts::state_key(id), scripts::text_key(id)];
        let deleted = self.0.connection.call(async |connection| {
            let mut delete = ::redis::cmd("DEL");
            delete.arg(&keys[..]).query_async::<()>(connection).await
        });
        deleted.await.map_err(|_| AppendError::Unavailable)
    }

    pub(crate) async fn read(&self, id: MessageId) -> Result<Option<Answer>, LiveUnavailable> {
        let call = self.0.scripts.read(id);
        let read = self
            .0
            .connection
            .call(async |connection| call.invoke_async::<Whole>(connection).await);
        read.await.map(|whole| whole.0).map_err(|_| LiveUnavailable)
    }

    pub(crate) fn follow(&self, id: MessageId, from: Position) -> Follower {
        let answer = self.0.mirror.watch(id);
        self.0.changed.notify_one();
        Follower::new(answer, from, Some(Subscription(Arc::clone(&self.0.changed))))
    }

    pub(crate) async fn ping(&self) -> Result<(), LiveUnavailable> {
        let ping = ::redis::cmd("PING");
        let pong = self
            .0
            .connection
            .call(async |connection| ping.query_async::<String>(connection).await);
        pong.await.map(|_| ()).map_err(|_| LiveUnavailable)
    }

    async fn write(&self, call: &ScriptInvocation<'_>) -> Result<(), AppendError> {
        let written = self
            .0
            .connection
            .call(async |connection| call.invoke_async::<Reply>(connection).await);
        written.await.map_or_else(
            |error| {
                tracing::debug!(%error, "Redis refused a write");
                Err(AppendError::Unavailable)
            },
            |reply| reply.0,
        )
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().max(1)
}
