//! Which connections are open, from where, and since when each has had nothing to do. When there is no room for another one, in all
//! or for its address, the one that has been idle longest is closed: whoever holds connections and says nothing keeps nobody
//! out. A connection with a request, a stream, a socket or an unsent response is not idle, and never closed for another one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::http::address_budget::{Exhausted, Held};
use crate::http::client_address::ClientNetwork;

/// The connections of one listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct ConnectionTable(Arc<Parts>);

struct Parts {
    capacity: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Every place that is taken, by the number of its connection.
    places: HashMap<u64, Place>,
    /// Idle connections, the one that has been idle longest first.
    idle: BTreeMap<u64, u64>,
    addresses: HashMap<ClientNetwork, Address>,
    /// Numbers connections, and orders the moments at which they become idle.
    next: u64,
}

#[derive(Default)]
struct Address {
    open: usize,
    /// As [`Open::idle`], of this address.
    idle: BTreeSet<u64>,
}

struct Place {
    /// `None` for a trusted proxy, which connects for many clients.
    address: Option<ClientNetwork>,
    /// Requests that have begun and whose response is not complete.
    requests: usize,
    /// When it became idle, if it is.
    idle_since: Option<u64>,
    signals: Arc<Signals>,
}

/// What the table and a connection tell each other.
#[derive(Default)]
pub(super) struct Signals {
    closing: Notify,
    has_unsent: AtomicBool,
    has_received: AtomicBool,
    has_begun: AtomicBool,
    has_ended: AtomicBool,
}

impl Signals {
    /// Says whether the kernel has refused to take more of the response.
    pub(super) fn set_has_unsent(&self, has_unsent: bool) {
        self.has_unsent.store(has_unsent, Ordering::Relaxed);
    }

    /// Whether something of a response waits for the kernel.
    pub(super) fn has_unsent(&self) -> bool {
        self.has_unsent.load(Ordering::Relaxed)
    }

    /// Says that the client has sent something.
    pub(super) fn set_has_received(&self) {
        self.has_received.store(true, Ordering::Relaxed);
    }

    /// Whether a request has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// Says that the client has closed its side.
    pub(super) fn set_has_ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Whether the client has closed its side.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Whether the client has sent anything.
    pub(super) fn has_received(&self) -> bool {
        self.has_received.load(Ordering::Relaxed)
    }
}

impl ConnectionTable {
    /// Room for `capacity` connections, of which `per_address` may be from one address.
    pub(super) fn new(capacity: usize, per_address: usize) -> Self {
        Self(Arc::new(Parts {
            capacity,
            per_address,
            open: Mutex::default(),
        }))
    }

    /// A place for a connection, which is idle until its first request. `address` is `None` for a trusted proxy.
    ///
    /// # Errors
    /// The limit that is reached, if all connections that count to it are busy.
    pub(super) fn admit(&self, address: Option<ClientNetwork>) -> Result<Seat, Exhausted> {
        let Parts {
            capacity, per_address, ..
        } = *self.0;
        let mut open = self.open();
        let of_address = address.and_then(|address| open.addresses.get(&address));
        if of_address.is_some_and(|of_address| of_address.open >= per_address) {
            let idlest = of_address.and_then(|of_address| open.idlest(of_address.idle.iter()));
            open.close(idlest.ok_or(Exhausted::Address)?);
        }
        if open.places.len() >= capacity {
            let idlest = open.idlest(open.idle.keys());
            open.close(idlest.ok_or(Exhausted::Total)?);
        }
        let signals = Arc::<Signals>::default();
        let number = open.next();
        open.places.insert(
            number,
            Place {
                address,
                requests: 0,
                idle_since: None,
                signals: Arc::clone(&signals),
            },
        );
        if let Some(address) = address {
            open.addresses.entry(address).or_default().open += 1;
        }
        open.become_idle(number);
        Ok(Seat(Arc::new(SeatParts {
            table: self.clone(),
            number,
            signals,
        })))
    }

    /// How many connections are open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open().places.len()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The first of these idle connections that has nothing left to send.
    fn idlest<'a>(&self, mut moments: impl Iterator<Item = &'a u64>) -> Option<u64> {
        moments.find_map(|moment| {
            let number = self.idle.get(moment)?;
            let place = self.places.get(number)?;
            (!place.signals.has_unsent()).then_some(*number)
        })
    }

    fn become_idle(&mut self, number: u64) {
        let now = self.next();
        let Some(place) = self.places.get_mut(&number) else {
            return;
        };
        place.idle_since = Some(now);
        self.idle.insert(now, number);
        if let Some(address) = place.address.and_then(|address| self.addresses.get_mut(&address)) {
            address.idle.insert(now);
        }
    }

    fn become_busy(&mut self, number: u64) {
        let Some(place) = self.places.get_mut(&number) else {
            return;
        };
        let Some(since) = place.idle_since.take() else {
            return;
        };
        self.idle.remove(&since);
        if let Some(address) = place.address.and_then(|address| self.addresses.get_mut(&address)) {
            address.idle.remove(&since);
        }
    }

    /// Takes the place away, if the connection still has it.
    fn remove(&mut self, number: u64) -> Option<Place> {
        self.become_busy(number);
        let place = self.places.remove(&number)?;
        if let Some(address) = place.address
            && let Some(of_address) = self.addresses.get_mut(&address)
        {
            of_address.open -= 1;
            if of_address.open == 0 {
                self.addresses.remove(&address);
            }
        }
        Some(place)
    }

    fn close(&mut self, number: u64) {
        if let Some(place) = self.remove(number) {
            place.signals.closing.notify_one();
        }
    }
}

/// The place of one connection, given back when the last clone and the last [`ConnectionPermit`] of it are dropped.
#[derive(Clone)]
pub(super) struct Seat(Arc<SeatParts>);

struct SeatParts {
    table: ConnectionTable,
    number: u64,
    signals: Arc<Signals>,
}

impl Drop for SeatParts {
    fn drop(&mut self) {
        self.table.open().remove(self.number);
    }
}

impl Seat {
    /// Begins a request, which holds a part of another budget, too, if it came by a proxy. `None` if the place was given to another
    /// connection: then nothing of the request may be done.
    pub(super) fn begin_request(&self, forwarded: Option<Held>) -> Option<ConnectionPermit> {
        let mut open = self.0.table.open();
        let place = open.places.get_mut(&self.0.number)?;
        place.requests += 1;
        open.become_busy(self.0.number);
        drop(open);
        self.0.signals.has_begun.store(true, Ordering::Relaxed);
        Some(ConnectionPermit(Arc::new(Request {
            seat: self.clone(),
            _forwarded: forwarded,
        })))
    }

    /// Waits until the place is given to another connection.
    pub(super) async fn closing(&self) {
        self.0.signals.closing.notified().await;
    }

    /// What the connection and the table tell each other.
    pub(super) fn signals(&self) -> &Arc<Signals> {
        &self.0.signals
    }
}

/// Keeps a connection from being idle: while a request is handled, its response is sent, or the socket is open that it became. hyper
/// gives up a connection that becomes a socket, so the socket holds this. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ConnectionPermit(#[expect(dead_code, reason = "dropped with the last clone")] Arc<Request>);

struct Request {
    seat: Seat,
    _forwarded: Option<Held>,
}

impl Drop for Request {
    fn drop(&mut self) {
        let SeatParts { table, number, .. } = &*self.seat.0;
        let mut open = table.open();
        let Some(place) = open.places.get_mut(number) else {
            return;
        };
        place.requests -= 1;
        if place.requests == 0 {
            open.become_idle(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;
    use tokio::time::timeout;

    use super::*;

    fn at(last: u8) -> Option<ClientNetwork> {
        Some(IpAddr::from([198, 51, 100, last]).into())
    }

    async fn is_closing(seat: &Seat) -> bool {
        timeout(std::time::Duration::from_millis(1), seat.closing())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn who_has_been_idle_longest_leaves_first_and_the_busy_stay() {
        let table = ConnectionTable::new(3, usize::MAX);
        let seats: Vec<Seat> = (1..=3).map(|n| table.admit(at(n)).ok().unwrap()).collect();
        let permit = seats[0].begin_request(None).unwrap();
        drop(seats[1].begin_request(None));
        let _fourth = table.admit(at(4)).ok().unwrap();
        assert!(is_closing(&seats[2]).await, "it was idle longest");
        assert!(seats[2].begin_request(None).is_none(), "too late");
        let _fifth = table.admit(at(5)).ok().unwrap();
        assert!(is_closing(&seats[1]).await);
        assert!(!is_closing(&seats[0]).await);
        drop(permit);
        assert_eq!(table.len(), 3);
    }

    #[tokio::test]
    async fn an_address_at_its_limit_takes_from_itself_only() {
        let table = ConnectionTable::new(10, 2);
        let other = table.admit(at(1)).ok().unwrap();
        let (first, second) = (table.admit(at(2)).ok().unwrap(), table.admit(at(2)).ok().unwrap());
        let permits = [first.begin_request(None), second.begin_request(None)];
        assert_eq!(table.admit(at(2)).err(), Some(Exhausted::Address));
        drop(permits);
        assert!(table.admit(at(2)).is_ok());
        assert!(is_closing(&first).await && !is_closing(&other).await);
    }

    #[tokio::test]
    async fn a_connection_with_an_unsent_response_is_not_idle() {
        let table = ConnectionTable::new(2, usize::MAX);
        let (slow, idle) = (table.admit(at(1)).ok().unwrap(), table.admit(at(2)).ok().unwrap());
        slow.signals().set_has_unsent(true);
        let _new = table.admit(at(3)).ok().unwrap();
        assert!(is_closing(&idle).await && !is_closing(&slow).await);
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_limits_hold_and_nothing_is_left(steps in prop::collection::vec((0_u8..3, 0_u8..4), 0..60)) {
            let table = ConnectionTable::new(5, 3);
            let (mut seats, mut permits) = (Vec::new(), Vec::new());
            for (address, what) in steps {
                match what {
                    0 | 1 => seats.extend(table.admit(at(address))),
                    2 => permits.extend(seats.first().and_then(|seat: &Seat| seat.begin_request(None))),
                    _ => drop((seats.pop(), permits.pop())),
                }
                let open = table.open();
                prop_assert!(open.places.len() <= 5);
                prop_assert!(open.addresses.values().all(|address| (1..=3).contains(&address.open)));
                let idle = open.places.values().filter(|place| place.requests == 0).count();
                prop_assert_eq!(open.idle.len(), idle);
                prop_assert_eq!(open.addresses.values().map(|address| address.idle.len()).sum::<usize>(), idle);
            }
            drop((seats, permits));
            prop_assert_eq!(table.len(), 0);
            prop_assert!(table.open().addresses.is_empty() && table.open().idle.is_empty());
        }
    }
}
