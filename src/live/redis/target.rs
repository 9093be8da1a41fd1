//! What a connection leads to: a server, a node of a cluster, or the master that sentinels name.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, Value};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::deployment::{SentinelMaster, address_of, at};
use super::slots::{NodeAddress, SlotMap};
use super::trouble::RedisTrouble;

/// How long it may take to open a connection, TLS and sign-in included, and to see what it leads to.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one sentinel, or one node that is asked about its cluster, may take.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// What a connection leads to.
pub(super) enum Target {
    /// One server, by its name: each new connection resolves it again.
    Server(ConnectionInfo),
    /// A node of a cluster.
    ClusterNode(ConnectionInfo),
    /// The master that sentinels name at that moment.
    Master(Sentinels),
}

/// The sentinels, and the master of the last connection.
pub(super) struct Sentinels {
    named: SentinelMaster,
    last: Mutex<Option<NodeAddress>>,
}

impl From<SentinelMaster> for Sentinels {
    fn from(named: SentinelMaster) -> Self {
        Self {
            named,
            last: Mutex::new(None),
        }
    }
}

impl Target {
    /// Where it is now.
    pub(super) async fn locate(&self) -> Result<ConnectionInfo, RedisTrouble> {
        match self {
            Self::Server(info) | Self::ClusterNode(info) => Ok(info.clone()),
            Self::Master(sentinels) => sentinels.locate().await,
        }
    }

    /// Whether it is elsewhere by now, and can be used there. Sentinels that are cut off still name a master of the past.
    pub(super) async fn has_moved(&self, from: Option<&NodeAddress>) -> bool {
        let Self::Master(sentinels) = self else { return false };
        let candidates = sentinels.candidates().await.unwrap_or_default();
        if candidates.first().is_none_or(|first| Some(first) == from) {
            return false;
        }
        let opened = self.open().await;
        opened.is_ok_and(|(_, info)| address_of(&info).as_ref() != from)
    }

    /// Whether it may move while a connection to where it was stays open.
    pub(super) fn may_move(&self) -> bool {
        matches!(self, Self::Master(_))
    }

    /// Opens a connection and sees that it leads to what is meant, at most in [`OPEN_TIMEOUT`].
    pub(super) async fn open(&self) -> Result<(MultiplexedConnection, ConnectionInfo), RedisTrouble> {
        let opened = async {
            match self {
                Self::Server(info) | Self::ClusterNode(info) => self.open_at(info.clone()).await,
                Self::Master(sentinels) => self.open_any(sentinels).await,
            }
        };
        let is_tls = match self {
            Self::Server(info) | Self::ClusterNode(info) => is_tls(info),
            Self::Master(sentinels) => is_tls(&sentinels.named.master),
        };
        timeout(OPEN_TIMEOUT, opened).await.unwrap_or(Err(silence(is_tls)))
    }

    async fn open_at(&self, info: ConnectionInfo) -> Result<(MultiplexedConnection, ConnectionInfo), RedisTrouble> {
        let mut connection = connect(&info).await?;
        self.verify(&mut connection).await?;
        Ok((connection, info))
    }

    /// At the first that can be used of those that sentinels name.
    async fn open_any(&self, sentinels: &Sentinels) -> Result<(MultiplexedConnection, ConnectionInfo), RedisTrouble> {
        let candidates = sentinels.candidates().await?;
        // One that does not answer must leave time for the others.
        let share = (OPEN_TIMEOUT - ASK_TIMEOUT) / u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1);
        let mut first_trouble = None;
        for candidate in candidates {
            let info = at(&candidate, &sentinels.named.master);
            let silent = silence(is_tls(&info));
            match timeout(share, self.open_at(info)).await.unwrap_or(Err(silent)) {
                Ok(opened) => {
                    sentinels.set_last(candidate);
                    return Ok(opened);
                }
                Err(trouble) => first_trouble = first_trouble.or(Some(trouble)),
            }
        }
        Err(first_trouble.unwrap_or(RedisTrouble::NoSentinel))
    }

    async fn verify(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisTrouble> {
        let mut asked = match self {
            Self::ClusterNode(_) => ::redis::cmd("PING"),
            // Only a write shows that this is no replica.
            Self::Server(_) | Self::Master(_) => ::redis::cmd("SET"),
        };
        if !matches!(self, Self::ClusterNode(_)) {
            asked.arg("cura:opened").arg("").arg("PX").arg(1000);
        }
        let answered = asked.query_async::<Value>(connection).await;
        match answered.as_ref().map_err(RedisTrouble::from) {
            Err(trouble) if trouble.needs_new_connection() || trouble == RedisTrouble::Loading => return Err(trouble),
            // Another refusal hinders some calls and not others: each call finds out.
            _ => {}
        }
        if matches!(self, Self::Server(_)) {
            let slots = slots(connection, "").await.unwrap_or_default();
            if slots.masters().len() > 1 {
                return Err(RedisTrouble::ClusterNode);
            }
        }
        Ok(())
    }
}

impl Sentinels {
    /// Where the last connection led to, if it is still named; else what most sentinels name.
    async fn locate(&self) -> Result<ConnectionInfo, RedisTrouble> {
        let candidates = self.candidates().await?;
        let last = self.last();
        let master = candidates.iter().find(|candidate| Some(*candidate) == last.as_ref());
        let master = master.or(candidates.first()).ok_or(RedisTrouble::NoSentinel)?;
        Ok(at(master, &self.named.master))
    }

    /// What the sentinels name, each once: first what most of them name, and of those that equally many name the last one.
    async fn candidates(&self) -> Result<Vec<NodeAddress>, RedisTrouble> {
        let SentinelMaster { sentinels, name, .. } = &self.named;
        let answers = join_all(sentinels.iter().map(|sentinel| ask_sentinel(sentinel, name)));
        let mut missing = RedisTrouble::NoSentinel;
        let mut named: Vec<(NodeAddress, usize)> = Vec::new();
        for answer in answers.await {
            match answer {
                Ok(master) => match named.iter_mut().find(|(known, _)| *known == master) {
                    Some((_, times)) => *times += 1,
                    None => named.push((master, 1)),
                },
                // What a sentinel says tells more than that another one says nothing.
                Err(RedisTrouble::Silent | RedisTrouble::Away | RedisTrouble::Closed) => {}
                Err(trouble) => missing = trouble,
            }
        }
        if named.is_empty() {
            return Err(missing);
        }
        let last = self.last();
        named.sort_by_key(|(master, times)| (std::cmp::Reverse(*times), Some(master) != last.as_ref()));
        Ok(named.into_iter().map(|(master, _)| master).collect())
    }

    fn last(&self) -> Option<NodeAddress> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_last(&self, master: NodeAddress) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(master);
    }
}

async fn ask_sentinel(sentinel: &ConnectionInfo, name: &str) -> Result<NodeAddress, RedisTrouble> {
    let asked = async {
        let mut connection = connect(sentinel).await?;
        let mut command = ::redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer: Option<(String, u16)> = command
            .query_async(&mut connection)
            .await
            .map_err(|error| of_sentinel(&error))?;
        let (host, port) = answer.ok_or(RedisTrouble::UnknownMaster)?;
        Ok(NodeAddress { host, port })
    };
    match timeout(ASK_TIMEOUT, asked)
        .await
        .unwrap_or(Err(silence(is_tls(sentinel))))
    {
        Err(RedisTrouble::Password) => Err(RedisTrouble::SentinelPassword),
        asked => asked,
    }
}

fn of_sentinel(error: &RedisError) -> RedisTrouble {
    let is_unknown = error.detail().is_some_and(|words| words.contains("unknown command"));
    if is_unknown && matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) {
        return RedisTrouble::NotSentinel;
    }
    RedisTrouble::from(error)
}

async fn connect(info: &ConnectionInfo) -> Result<MultiplexedConnection, RedisTrouble> {
    // Callers have deadlines of their own, and know what silence means.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let client = Client::open(info.clone()).map_err(|error| RedisTrouble::from(&error))?;
    let connected = client.get_multiplexed_async_connection_with_config(&config).await;
    connected.map_err(|error| RedisTrouble::from(&error))
}

/// A connection that receives what is published, to where `info` says.
pub(super) async fn connect_to_publications(info: ConnectionInfo) -> Result<PubSub, RedisTrouble> {
    let client = Client::open(info).map_err(|error| RedisTrouble::from(&error))?;
    let connected = client.get_async_pubsub().await;
    connected.map_err(|error| RedisTrouble::from(&error))
}

/// Asks a node for the slots of its cluster.
pub(super) async fn ask_for_slots(node: &ConnectionInfo) -> Result<SlotMap, RedisTrouble> {
    let host = address_of(node).map(|node| node.host).unwrap_or_default();
    let asked = async {
        let mut connection = connect(node).await?;
        slots(&mut connection, &host).await
    };
    timeout(ASK_TIMEOUT, asked).await.unwrap_or(Err(silence(is_tls(node))))
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// What it means that nothing came.
fn silence(is_tls: bool) -> RedisTrouble {
    if is_tls {
        RedisTrouble::Tls
    } else {
        RedisTrouble::Silent
    }
}

async fn slots(connection: &mut MultiplexedConnection, host: &str) -> Result<SlotMap, RedisTrouble> {
    let answer = ::redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query_async::<Value>(connection)
        .await;
    let answer = answer.map_err(|error| RedisTrouble::from(&error))?;
    Ok(SlotMap::parse(&answer, host))
}
