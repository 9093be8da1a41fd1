//! `live` on Redis, one server or a cluster or what sentinels watch: a text and its state for each answer, one script for each kind of
//! write, one subscription per process, and the watchers of each user.
//!
//! A write costs one round trip and one publish, however many readers there are. The [`subscriber`] mirrors what is
//! watched in this process; readers read the mirror.

mod appends;
mod changes;
mod cluster;
mod connection;
mod deployment;
mod echo;
mod failures;
mod forget;
mod keys;
mod link;
mod outage;
mod presence;
mod probe;
mod publication_parser;
mod publications;
mod rate_limits;
mod request;
mod scan;
mod scripts;
mod slots;
mod subscriber;
mod target;
mod text_message;
mod text_reads;
mod traces;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use ::redis::FromRedisValue;
use cura_domain::answer::{AttemptOffsets, Fence, Position};
use cura_domain::{MessageId, UserId};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::config::LiveConfig;
use crate::error::{AppendError, InvalidUrl, LiveUnavailable};
use crate::follower::Follower;
use crate::memory::{TextTable, UserTable, WatcherTable};
use crate::presence::LastLook;
use crate::signals::{Signal, UserWatch};
use crate::text::TextState;
use crate::traces::Traces;
use crate::watch_guard::Subscription;
use appends::AppendSender;
pub(crate) use appends::{Appending, Appends};
pub(crate) use changes::ChannelChanges;
use connection::Connection;
pub(crate) use failures::RedisFailures;
pub(crate) use keys::Channel;
use keys::{state_key, text_key};
use presence::{PresenceReporter, PresenceScripts};
use probe::Probe;
pub(crate) use rate_limits::RedisRateLimits;
use request::Request;
use scripts::{ReadReply, Scripts, WriteReply, encode_offsets};
use subscriber::Subscriber;
pub use trouble::RedisTrouble;

/// Texts, signals and watchers that every process on one Redis sees. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RedisLive(Arc<Shared>);

struct Shared {
    config: LiveConfig,
    connection: Arc<Connection>,
    scripts: Arc<Scripts>,
    appends: Appends,
    probe: Probe,
    /// Why what is published does not arrive here, if it does not.
    subscription_trouble: watch::Receiver<Option<RedisTrouble>>,
    texts: TextTable,
    users: UserTable,
    /// For the subscriber.
    changes: Arc<ChannelChanges>,
    watchers: WatcherTable,
    presence: Arc<PresenceScripts>,
    _append_sender: AbortOnDropHandle<()>,
    _subscriber: AbortOnDropHandle<()>,
    _reporter: AbortOnDropHandle<()>,
}

/// Whether this URL can name a Redis. Opens no connection.
///
/// # Errors
/// When it cannot.
pub fn check_redis_url(url: &str) -> Result<(), InvalidUrl> {
    deployment::Deployment::parse(url).map(drop)
}

impl RedisLive {
    pub(crate) fn connect(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let connection = Arc::new(Connection::new(url, config)?);
        let scripts = Arc::new(Scripts::new());
        let appends = Appends::default();
        let append_sender = AppendSender::new(appends.clone(), Arc::clone(&connection), Arc::clone(&scripts));
        let texts = TextTable::new(config);
        let users = UserTable::default();
        let changes = Arc::<ChannelChanges>::default();
        let (watchers, presence) = (WatcherTable::reported(), Arc::new(PresenceScripts::new()));
        let (trouble, subscription_trouble) = watch::channel(Some(RedisTrouble::Silent));
        let name = random_name();
        let subscriber = Subscriber {
            name,
            trouble,
            connection: Arc::clone(&connection),
            scripts: Arc::clone(&scripts),
            texts: texts.clone(),
            users: users.clone(),
            changes: Arc::clone(&changes),
            timeout: config.timeout,
        };
        let reporter = PresenceReporter {
            connection: Arc::clone(&connection),
            scripts: Arc::clone(&presence),
            watchers: watchers.clone(),
            server: format!("{name:016x}"),
        };
        Ok(Self(Arc::new(Shared {
            config,
            connection,
            scripts,
            appends,
            probe: Probe::new(),
            subscription_trouble,
            texts,
            users,
            changes,
            watchers,
            presence,
            _append_sender: AbortOnDropHandle::new(TaskTracker::new().spawn(append_sender.run())),
            _subscriber: AbortOnDropHandle::new(TaskTracker::new().spawn(subscriber.run())),
            _reporter: AbortOnDropHandle::new(TaskTracker::new().spawn(reporter.run())),
        })))
    }

    pub(crate) async fn replace(
        &self,
        id: MessageId,
        fence: Fence,
        offsets: &AttemptOffsets,
        text: &str,
    ) -> Result<(), AppendError> {
        let call = self
            .0
            .scripts
            .replace(id)
            .arg(fence.0)
            .arg(encode_offsets(offsets))
            .arg(text)
            .arg(seconds(self.0.config.idle_ttl));
        self.invoke::<WriteReply>(&call).await?.0
    }

    /// Where text is appended.
    pub(crate) fn appends(&self) -> Appends {
        self.0.appends.clone()
    }

    pub(crate) async fn end(&self, id: MessageId, fence: Fence) -> Result<(), AppendError> {
        let call = self
            .0
            .scripts
            .end(id)
            .arg(fence.0)
            .arg(seconds(self.0.config.ended_ttl));
        self.invoke::<WriteReply>(&call).await?.0
    }

    pub(crate) async fn delete(&self, id: MessageId) -> Result<(), LiveUnavailable> {
        self.0.texts.delete(id);
        let delete = Request::command("DEL", &state_key(id)).arg(&[state_key(id), text_key(id)]);
        self.invoke::<i64>(&delete).await.map(drop)
    }

    pub(crate) async fn forget(&self, id: MessageId) -> Result<(), LiveUnavailable> {
        self.0.texts.delete(id);
        let call = self
            .0
            .scripts
            .forget(id)
            .arg(Fence::MAX.0)
            .arg(seconds(self.0.config.idle_ttl));
        self.invoke::<WriteReply>(&call).await.map(drop)
    }

    pub(crate) async fn read(&self, id: MessageId) -> Result<Option<TextState>, LiveUnavailable> {
        let call = self.0.scripts.read(id);
        self.invoke::<ReadReply>(&call).await.map(|reply| reply.0)
    }

    pub(crate) fn follow(&self, id: MessageId, from: Position) -> Follower {
        let text = self.0.texts.watch(id);
        let subscription = Subscription::begin(Channel::Text(id), Arc::clone(&self.0.changes));
        Follower::new(text, from, subscription)
    }

    pub(crate) fn watch_user(&self, user: UserId) -> UserWatch {
        let signals = self.0.users.watch(user);
        let subscription = Subscription::begin(Channel::User(user), Arc::clone(&self.0.changes));
        UserWatch::new(signals, subscription)
    }

    pub(crate) async fn publish_to_user(&self, user: UserId, signal: Signal) -> Result<(), LiveUnavailable> {
        let channel = Channel::User(user).name();
        let publish = Request::command("PUBLISH", &channel).arg(&channel).arg(signal.encode());
        self.invoke::<i64>(&publish).await.map(drop)
    }

    pub(crate) async fn is_watched(&self, user: UserId) -> Result<bool, LiveUnavailable> {
        let watching = self.invoke::<i64>(&self.0.presence.count(user)).await?;
        Ok(watching > 0)
    }

    pub(crate) async fn look_at_end(&self, user: UserId, answer: MessageId) -> Result<bool, LiveUnavailable> {
        let watching = self.invoke::<i64>(&self.0.presence.look(user, answer)).await?;
        Ok(watching > 0)
    }

    pub(crate) async fn last_look(&self, user: UserId, answer: MessageId) -> Result<LastLook, LiveUnavailable> {
        let call = self.0.presence.last_look(user, answer);
        let (watching, in_order) = self.invoke::<(i64, i64)>(&call).await?;
        Ok(LastLook {
            is_watched: watching > 0,
            closed_in_order: in_order > 0,
        })
    }

    pub(crate) fn watchers(&self) -> &WatcherTable {
        &self.0.watchers
    }

    /// Does once what calls do, and sees that what is published arrives.
    pub(crate) async fn check(&self) -> Result<(), RedisTrouble> {
        self.0.probe.run(&self.0.connection).await?;
        self.0.subscription_trouble.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn users(&self) -> &UserTable {
        &self.0.users
    }

    pub(crate) async fn forget_all(&self) -> Result<u64, LiveUnavailable> {
        forget::all(&self.0.connection).await.map_err(|trouble| {
            tracing::debug!(%trouble, "Redis could not be forgotten");
            LiveUnavailable
        })
    }

    pub(crate) async fn find_traces(&self, user: UserId) -> Result<Traces, LiveUnavailable> {
        traces::find(&self.0.connection, user).await.map_err(|trouble| {
            tracing::debug!(%trouble, "the keys of Redis could not be looked through");
            LiveUnavailable
        })
    }

    async fn invoke<T: FromRedisValue>(&self, call: &Request) -> Result<T, LiveUnavailable> {
        let reply = self.0.connection.call(call).await;
        reply.map_err(|trouble| {
            tracing::debug!(%trouble, "a call of Redis failed");
            LiveUnavailable
        })
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().max(1)
}

/// A name that no other process has.
fn random_name() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the name is neither secret nor needed again")]
    rand::RngExt::random(&mut rand::rng())
}
