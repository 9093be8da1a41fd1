//! The calls of Redis, of whatever kind it is: each goes to the node that has its key, with one deadline, and is repeated where the
//! answer says how.

use std::time::Duration;

use ::redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::cluster::{Cluster, host_of};
use super::deployment::Deployment;
use super::link::Link;
use super::outage::Outage;
use super::publications::{self, Publications, Subscriptions};
use super::request::Request;
use super::slots::NodeAddress;
use super::target::{OPEN_TIMEOUT, Target};
use super::trouble::RedisTrouble;
use crate::config::LiveConfig;
use crate::error::InvalidUrl;

/// How often one call is sent at most: after a redirection, or on a new connection.
const MAX_SENDS: u32 = 4;
/// The pause before a call is repeated because its keys are just being moved.
const MOVING_PAUSE: Duration = Duration::from_millis(20);

/// The connections to one Redis.
pub(super) struct Connection {
    route: Route,
    timeout: Duration,
    /// `None` if whoever calls tells of outages.
    outage: Option<Outage>,
}

enum Route {
    One(Box<Link>),
    Cluster(Cluster),
}

/// Where a node says that a key is.
enum Redirection {
    Moved(NodeAddress),
    Asking(NodeAddress),
}

impl Connection {
    /// Begins to connect.
    pub(super) fn new(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let route = match Deployment::parse(url)? {
            Deployment::Single(server) => Route::One(Box::new(Link::new(Target::Server(server)))),
            Deployment::Sentinel(master) => Route::One(Box::new(Link::new(Target::Master(master.into())))),
            Deployment::Cluster(seeds) => Route::Cluster(Cluster::new(seeds).ok_or(InvalidUrl)?),
        };
        Ok(Self {
            route,
            timeout: config.timeout,
            outage: Some(Outage::default()),
        })
    }

    /// Whether keys of different hash tags may be at different nodes.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.route, Route::Cluster(_))
    }

    /// Whoever calls tells of outages.
    pub(super) fn without_warnings(self) -> Self {
        Self { outage: None, ..self }
    }

    /// Makes one call. No answer in time is an error.
    pub(super) async fn call<T: FromRedisValue>(&self, request: &Request) -> Result<T, RedisTrouble> {
        let outcome = self.send(request, Instant::now() + self.timeout).await;
        match (&outcome, &self.outage) {
            (Ok(_), Some(outage)) => outage.worked(),
            (Err(trouble), Some(outage)) => outage.failed(trouble),
            (_, None) => {}
        }
        outcome
    }

    /// Notes trouble that did not come from a call.
    pub(super) fn note_trouble(&self, trouble: &RedisTrouble) {
        if let Some(outage) = &self.outage {
            outage.failed(trouble);
        }
    }

    /// A connection that receives what is published anywhere.
    pub(super) async fn publications(&self) -> Result<(Subscriptions, Publications), RedisTrouble> {
        let info = match &self.route {
            Route::One(link) => link.target.locate().await?,
            Route::Cluster(cluster) => cluster.any_node(),
        };
        let connected = timeout(OPEN_TIMEOUT, publications::connect(info)).await;
        connected.unwrap_or(Err(RedisTrouble::Silent))
    }

    /// Waits until calls may go to another server than now; in a cluster what is published reaches all.
    pub(super) fn until_replaced(&self) -> impl Future<Output = ()> + use<> {
        let opened = match &self.route {
            Route::One(link) => Some(link.opened()),
            Route::Cluster(_) => None,
        };
        // The first connection replaces none.
        let now = opened.as_ref().map_or(1, |opened| (*opened.borrow()).max(1));
        async move {
            if let Some(mut opened) = opened
                && opened.wait_for(|opened| *opened > now).await.is_ok()
            {
                return;
            }
            std::future::pending().await
        }
    }

    /// A hash tag for every server that must work: what it names is kept there.
    pub(super) async fn tags(&self) -> Result<Vec<String>, RedisTrouble> {
        let Route::Cluster(cluster) = &self.route else {
            return Ok(vec!["0".to_owned()]);
        };
        let map = cluster.map(Instant::now() + self.timeout).await?;
        if !map.is_whole() {
            cluster.doubt();
            return Err(RedisTrouble::ClusterDown);
        }
        Ok(map.tags())
    }

    async fn send<T: FromRedisValue>(&self, request: &Request, deadline: Instant) -> Result<T, RedisTrouble> {
        let mut redirection = None;
        let mut trouble = RedisTrouble::Silent;
        for _ in 0..MAX_SENDS {
            let asking = matches!(redirection, Some(Redirection::Asking(_)));
            let found;
            let link = match &self.route {
                Route::One(link) => link.as_ref(),
                Route::Cluster(cluster) => {
                    found = match redirection.take() {
                        Some(Redirection::Moved(node) | Redirection::Asking(node)) => cluster.link_to(&node)?,
                        None => cluster.link_of(request.key(), deadline).await?,
                    };
                    found.as_ref()
                }
            };
            let mut open = link.open(deadline).await.inspect_err(|_| self.doubt())?;
            let error = match timeout_at(deadline, request.send(&mut open.connection, asking)).await {
                Err(_) => {
                    link.note_silence(&open);
                    self.doubt();
                    return Err(RedisTrouble::Silent);
                }
                Ok(answered) => {
                    link.note_answer();
                    match answered {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    }
                }
            };
            trouble = RedisTrouble::from(&error);
            redirection = self.redirection(&error, link);
            if trouble.needs_new_connection() {
                link.break_off(&open, &trouble);
                self.doubt();
            } else if error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain) {
                sleep(MOVING_PAUSE).await;
            } else if redirection.is_none() {
                break;
            }
        }
        if trouble == RedisTrouble::ClusterDown {
            self.doubt();
        }
        Err(trouble)
    }

    /// Where else to ask, if the answer says so.
    fn redirection(&self, error: &RedisError, asked: &Link) -> Option<Redirection> {
        let Route::Cluster(cluster) = &self.route else {
            return None;
        };
        let (node, _) = error.redirect_node()?;
        let node = NodeAddress::parse(node, &host_of(asked))?;
        if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) {
            return Some(Redirection::Asking(node));
        }
        cluster.doubt();
        Some(Redirection::Moved(node))
    }

    fn doubt(&self) {
        if let Route::Cluster(cluster) = &self.route {
            cluster.doubt();
        }
    }
}
