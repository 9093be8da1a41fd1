//! Running answers on Redis: a text and its state per answer, one script per write, one subscription per process.
//!
//! A write costs one round trip and one publish, whatever the number of readers. What is read in this process is
//! mirrored here by [`feed`], and readers read the mirror.

mod connection;
mod feed;
mod limits;
mod presence;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use ::redis::ScriptInvocation;
use cura_domain::answer::{Bases, Fence, Position};
use cura_domain::{MessageId, UserId};
use tokio::sync::Notify;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::answers::{Answer, Answers};
use crate::users::{Signal, UserWatch, Users};
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
    users: Users,
    /// Tells the feed that the set of what is watched has changed.
    changed: Arc<Notify>,
    /// Tells the same of users to who says that they are present.
    came_or_went: Arc<Notify>,
    _feed: AbortOnDropHandle<()>,
    _presence: AbortOnDropHandle<()>,
}

/// Held by a reader; when it goes, the feed looks whether anybody still reads.
pub(crate) struct Subscription(Vec<Arc<Notify>>);

impl Drop for Subscription {
    fn drop(&mut self) {
        for watched in &self.0 {
            watched.notify_one();
        }
    }
}

impl RedisLive {
    pub(crate) fn connect(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let connection = Arc::new(Connection::new(url, config)?);
        let mirror = Answers::new(config);
        let users = Users::default();
        let (changed, came_or_went) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let feed = feed::Feed {
            connection: Arc::clone(&connection),
            mirror: mirror.clone(),
            users: users.clone(),
            changed: Arc::clone(&changed),
            timeout: config.timeout,
        };
        let feed = AbortOnDropHandle::new(TaskTracker::new().spawn(feed.run()));
        let saying = presence::keep_saying(
            Arc::clone(&connection),
            users.clone(),
            Arc::clone(&came_or_went),
            fresh_identity(),
        );
        let presence = AbortOnDropHandle::new(TaskTracker::new().spawn(saying));
        Ok(Self(Arc::new(Parts {
            config,
            connection,
            scripts: Scripts::new(),
            mirror,
            users,
            changed,
            came_or_went,
            _feed: feed,
            _presence: presence,
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
        Follower::new(answer, from, Some(Subscription(vec![Arc::clone(&self.0.changed)])))
    }

    pub(crate) fn users(&self) -> &Users {
        &self.0.users
    }

    pub(crate) fn watch_user(&self, user: UserId) -> UserWatch {
        let signals = self.0.users.watch(user);
        let told = [&self.0.changed, &self.0.came_or_went];
        told.iter().for_each(|watched| watched.notify_one());
        UserWatch::new(signals, Some(Subscription(told.map(Arc::clone).into())))
    }

    pub(crate) async fn tell_user(&self, user: UserId, signal: Signal) -> Result<(), LiveUnavailable> {
        let mut publish = ::redis::cmd("PUBLISH");
        publish.arg(scripts::user_channel(user)).arg(signal.encode());
        let published = self
            .0
            .connection
            .call(async |connection| publish.query_async::<i64>(connection).await);
        published.await.map(|_| ()).map_err(|_| LiveUnavailable)
    }

    pub(crate) async fn is_present(&self, user: UserId) -> Result<bool, LiveUnavailable> {
        presence::is_present(&self.0.connection, user)
            .await
            .map_err(|_| LiveUnavailable)
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

/// A name no other process has.
fn fresh_identity() -> String {
    #[expect(clippy::disallowed_methods, reason = "a name needs no secrecy and no reproduction")]
    let name: u64 = rand::RngExt::random(&mut rand::rng());
    format!("{name:016x}")
}
