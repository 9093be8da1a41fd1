//! A Redis Cluster: a connection to each master, and the map that tells which of them has a key.
//!
//! The client of the `redis` crate does this too, but it holds all connections locked while it connects to one of them, sends a
//! script to all masters before one may run it, asks a random node where the right one is away, and tries again without pause.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::ConnectionInfo;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::deployment::{address_of, at};
use super::link::Link;
use super::slots::{NodeAddress, SlotMap, slot_of};
use super::target::{Target, ask_for_slots};
use super::trouble::RedisTrouble;

/// How often the map is asked for though nothing hints at a change.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// The first and the longest pause between two questions while something hints at a change.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The most nodes that are connected to; Redis Cluster itself ends at a thousand.
const MAX_NODES: usize = 1000;

/// A cluster.
pub(super) struct Cluster {
    shared: Arc<Shared>,
    _refresher: AbortOnDropHandle<()>,
}

struct Shared {
    /// The nodes that the URL names.
    seeds: Vec<ConnectionInfo>,
    /// The first of them: all nodes are connected to like it.
    like: ConnectionInfo,
    map: watch::Sender<Known>,
    links: Mutex<HashMap<NodeAddress, Arc<Link>>>,
    /// Wakes the refresher: the map may be wrong.
    is_doubted: Notify,
    /// Which node is asked, or subscribed to, next.
    turn: AtomicUsize,
}

/// What is known of the slots.
enum Known {
    NotYet,
    Map(Arc<SlotMap>),
    Failed(RedisTrouble),
}

impl Cluster {
    /// Begins to ask for the map. `None` if no node is named.
    pub(super) fn new(seeds: Vec<ConnectionInfo>) -> Option<Self> {
        let shared = Arc::new(Shared {
            like: seeds.first()?.clone(),
            seeds,
            map: watch::Sender::new(Known::NotYet),
            links: Mutex::default(),
            is_doubted: Notify::new(),
            turn: AtomicUsize::new(0),
        });
        let refresher = Arc::clone(&shared).refresh();
        Some(Self {
            shared,
            _refresher: AbortOnDropHandle::new(TaskTracker::new().spawn(refresher)),
        })
    }

    /// The connection to the master that has `key`.
    pub(super) async fn link_of(&self, key: &str, deadline: Instant) -> Result<Arc<Link>, RedisTrouble> {
        let map = self.map(deadline).await?;
        let Some(master) = map.master_of(slot_of(key)) else {
            self.doubt();
            return Err(RedisTrouble::ClusterDown);
        };
        self.shared.link_to(master)
    }

    /// The connection to this node, to which another one redirects.
    pub(super) fn link_to(&self, node: &NodeAddress) -> Result<Arc<Link>, RedisTrouble> {
        self.shared.link_to(node)
    }

    /// The map, waited for only at the beginning.
    pub(super) async fn map(&self, deadline: Instant) -> Result<Arc<SlotMap>, RedisTrouble> {
        let mut changes = self.shared.map.subscribe();
        let known = timeout_at(deadline, changes.wait_for(|known| !matches!(known, Known::NotYet))).await;
        match known {
            Ok(Ok(known)) => match &*known {
                Known::Map(map) => Ok(Arc::clone(map)),
                Known::Failed(trouble) => Err(trouble.clone()),
                Known::NotYet => Err(RedisTrouble::Silent),
            },
            Ok(Err(_)) | Err(_) => Err(RedisTrouble::Silent),
        }
    }

    /// Notes that the map may be wrong.
    pub(super) fn doubt(&self) {
        self.shared.is_doubted.notify_one();
    }

    /// A node to subscribe at, another one each time: what is published at one reaches all.
    pub(super) fn any_node(&self) -> ConnectionInfo {
        let nodes = self.shared.nodes();
        let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed);
        let node = nodes.get(turn % nodes.len().max(1));
        node.unwrap_or(&self.shared.like).clone()
    }
}

impl Shared {
    fn link_to(&self, node: &NodeAddress) -> Result<Arc<Link>, RedisTrouble> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(node) {
            return Ok(Arc::clone(link));
        }
        if links.len() >= MAX_NODES {
            return Err(RedisTrouble::ClusterDown);
        }
        let link = Arc::new(Link::new(Target::ClusterNode(at(node, &self.like))));
        links.insert(node.clone(), Arc::clone(&link));
        Ok(link)
    }

    /// Runs until dropped.
    async fn refresh(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let has_changed = match self.ask().await {
                Ok(map) => self.use_map(map),
                Err(trouble) => {
                    self.fail(trouble);
                    self.is_doubted.notify_one();
                    false
                }
            };
            pause = if has_changed {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            let asked = Instant::now();
            tokio::select! {
                () = self.is_doubted.notified() => {}
                () = sleep(REFRESH_INTERVAL) => {}
            }
            if asked.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
        }
    }

    /// Asks one node after the other, beginning with another one each time: one that is cut off knows only what was.
    async fn ask(&self) -> Result<SlotMap, RedisTrouble> {
        let nodes = self.nodes();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut missing = RedisTrouble::Silent;
        for node in nodes.iter().cycle().skip(turn % nodes.len().max(1)).take(nodes.len()) {
            match ask_for_slots(node).await {
                // A node that was thrown out, or has not joined yet, knows of nobody.
                Ok(map) if map.masters().is_empty() => missing = RedisTrouble::ClusterDown,
                Ok(map) => return Ok(map),
                Err(trouble) => missing = trouble,
            }
        }
        Err(missing)
    }

    /// Every node that is known, and those that the URL names.
    fn nodes(&self) -> Vec<ConnectionInfo> {
        let mut nodes = match &*self.map.borrow() {
            Known::Map(map) => map.nodes().into_iter().map(|node| at(node, &self.like)).collect(),
            Known::NotYet | Known::Failed(_) => Vec::new(),
        };
        let seeds = self
            .seeds
            .iter()
            .filter(|seed| nodes.iter().all(|node| node.addr() != seed.addr()));
        let seeds: Vec<_> = seeds.cloned().collect();
        nodes.extend(seeds);
        nodes
    }

    /// Whether the map is another one than before.
    fn use_map(&self, map: SlotMap) -> bool {
        let masters = map.masters();
        for master in &masters {
            // Connected before the first call needs it.
            let _ = self.link_to(master);
        }
        let links = || self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links().retain(|node, _| masters.contains(node));
        self.map.send_if_modified(|known| {
            let has_changed = !matches!(known, Known::Map(before) if **before == map);
            if has_changed {
                *known = Known::Map(Arc::new(map));
            }
            has_changed
        })
    }

    /// A map that was good goes on to be used.
    fn fail(&self, trouble: RedisTrouble) {
        self.map.send_if_modified(|known| {
            let has_none = !matches!(known, Known::Map(_));
            if has_none {
                *known = Known::Failed(trouble);
            }
            has_none
        });
    }
}

/// The host of the node that a connection leads to.
pub(super) fn host_of(link: &Link) -> String {
    match &*link.target {
        Target::Server(info) | Target::ClusterNode(info) => address_of(info).map(|node| node.host).unwrap_or_default(),
        Target::Master(_) => String::new(),
    }
}
