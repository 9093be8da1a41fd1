//! Running answers on Redis: a text and its state per answer, one script per write, one subscription per process.
//!
//! A write costs one round trip and one publish, whatever the number of readers. What is read in this process is
//! mirrored here by [`feed`], and readers read the mirror.

mod feed;
mod limits;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, RedisError};
use cura_domain::MessageId;
use cura_domain::answer::{Bases, Fence, Position};
use tokio::sync::Notify;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::answers::Answers;
use crate::{AppendError, Follower, InvalidUrl, LiveConfig, LiveUnavailable};
pub(crate) use limits::RedisLimits;
use scripts::{Reply, Scripts};

/// The longest pause between two tries to connect.
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct RedisLive(Arc<Parts>);

struct Parts {
    config: LiveConfig,
    connection: ConnectionManager,
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
        let (client, connection) = manager(url, config)?;
        let mirror = Answers::new(config);
        let changed = Arc::new(Notify::new());
        let feed = feed::Feed {
            client,
            connection: connection.clone(),
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
        self.call(call.invoke_async(&mut self.0.connection.clone())).await
    }

    pub(crate) async fn append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> Result<(), AppendError> {
        if usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(text.len()) > self.0.config.max_text {
            return Err(AppendError::TooLong);
        }
        let mut call = self.0.scripts.append(id);
        call.arg(fence.0).arg(offset).arg(text).arg(seconds(self.0.config.idle));
        self.call(call.invoke_async(&mut self.0.connection.clone())).await
    }

    pub(crate) async fn end(&self, id: MessageId, fence: Fence) -> Result<(), AppendError> {
        let mut call = self.0.scripts.end(id);
        call.arg(fence.0).arg(seconds(self.0.config.linger));
        self.call(call.invoke_async(&mut self.0.connection.clone())).await
    }

    pub(crate) fn follow(&self, id: MessageId, from: Position) -> Follower {
        let answer = self.0.mirror.watch(id);
        self.0.changed.notify_one();
        Follower::new(answer, from, Some(Subscription(Arc::clone(&self.0.changed))))
    }

    pub(crate) async fn ping(&self) -> Result<(), LiveUnavailable> {
        let mut connection = self.0.connection.clone();
        let command = ::redis::cmd("PING");
        let pong = command.query_async::<String>(&mut connection);
        match tokio::time::timeout(self.0.config.timeout, pong).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LiveUnavailable),
        }
    }

    async fn call(&self, call: impl Future<Output = Result<Reply, RedisError>>) -> Result<(), AppendError> {
        match tokio::time::timeout(self.0.config.timeout, call).await {
            Ok(Ok(reply)) => reply.0,
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis refused a write");
                Err(AppendError::Unavailable)
            }
            Err(_) => Err(AppendError::Unavailable),
        }
    }
}

/// A client and a connection that is made when it is needed, and again when it was lost.
fn manager(url: &str, config: LiveConfig) -> Result<(Client, ConnectionManager), InvalidUrl> {
    let client = Client::open(url).map_err(|_| InvalidUrl)?;
    let settings = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(config.timeout))
        .set_response_timeout(Some(config.timeout))
        .set_max_delay(MAX_RECONNECT_PAUSE)
        .set_number_of_retries(usize::MAX);
    let connection = ConnectionManager::new_lazy_with_config(client.clone(), settings).map_err(|_| InvalidUrl)?;
    Ok((client, connection))
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().max(1)
}
