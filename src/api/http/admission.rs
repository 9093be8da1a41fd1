//! Which connections are accepted. Beyond the limits there is a reserve, in which only the health of the server can be asked for:
//! whoever fills it with connections does not make it look dead.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use poem::http::Method;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::http::address_budget::Exhausted;
use crate::http::client_address::{ClientNetwork, TrustedProxies};
use crate::http::connection_table::{ConnectionTable, Seat};

/// Connections beyond the limit that may ask for the health of the server: in all, and from one address.
pub const PROBE_RESERVE: usize = 64;
const PROBE_RESERVE_PER_ADDRESS: usize = 8;
/// Connections that are at their end, and whose descriptor is not given back yet.
pub const CLOSING_RESERVE: usize = 32;
/// How often connections beyond the limits are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections a server may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all, without the reserve for probes.
    pub total: usize,
    /// From one address; 0 is no limit.
    pub per_address: usize,
}

/// Lets connections in.
pub(super) struct Admission {
    places: ConnectionTable,
    reserve: ConnectionTable,
    proxies: TrustedProxies,
    refused: Mutex<Refused>,
}

/// Connections beyond the limits since the last report.
#[derive(Default)]
struct Refused {
    since: Option<Instant>,
    connections: u64,
}

/// A connection that was let in.
pub(super) struct Admitted {
    pub(super) seat: Seat,
    /// Set if it is in the reserve, and which limit is reached.
    pub(super) exhausted: Option<Exhausted>,
}

impl Admission {
    pub(super) fn new(limits: ConnectionLimits, proxies: TrustedProxies) -> Self {
        Self {
            places: ConnectionTable::new(limits.total, limits.per_address()),
            reserve: ConnectionTable::new(PROBE_RESERVE, PROBE_RESERVE_PER_ADDRESS),
            proxies,
            refused: Mutex::default(),
        }
    }

    /// A place for a connection from `peer`. A trusted proxy is not counted by its address: its requests are, by their clients'.
    /// `None` if not even the reserve has room.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<Admitted> {
        let address = peer.ip().to_canonical();
        let counted = (!self.proxies.trusts(address)).then(|| ClientNetwork::from(address));
        let exhausted = match self.places.admit(counted) {
            Ok(seat) => return Some(Admitted { seat, exhausted: None }),
            Err(exhausted) => exhausted,
        };
        self.report(exhausted);
        let seat = self.reserve.admit(counted).ok()?;
        Some(Admitted {
            seat,
            exhausted: Some(exhausted),
        })
    }

    fn report(&self, exhausted: Exhausted) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.connections += 1;
        if refused.since.is_some_and(|since| since.elapsed() < REPORT_INTERVAL) {
            return;
        }
        let limit = match exhausted {
            Exhausted::Address => "of one address",
            Exhausted::Total => "of all clients",
        };
        let connections = std::mem::take(&mut refused.connections);
        refused.since = Some(Instant::now());
        drop(refused);
        tracing::warn!(
            connections,
            limit,
            "more connections than allowed, and all are busy; the new ones may only ask for the health of the server"
        );
    }
}

impl ConnectionLimits {
    /// How many connections may have a descriptor at the same time. Places and the reserve are given to new connections at once; the
    /// descriptors of the old ones follow when their tasks have run.
    pub(super) fn descriptors(&self) -> usize {
        self.total
            .saturating_add(PROBE_RESERVE + CLOSING_RESERVE)
            .min(Semaphore::MAX_PERMITS)
    }

    /// The limit of one address.
    pub(super) fn per_address(&self) -> usize {
        if self.per_address == 0 {
            usize::MAX
        } else {
            self.per_address
        }
    }
}

/// Whether a request asks for the health of the server, in a way that costs nothing.
pub(crate) fn is_probe(method: &Method, path: &str) -> bool {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    is_read && matches!(path, "/health/live" | "/health/ready")
}
