//! What this process has seen of its peers: their heartbeats, and since when none has come, by its own clock.
//!
//! A peer is dead when several looks over the time of a lease have found no heartbeat that is new. Postgres' clock has no part
//! in it, so a step of that clock kills nobody. Only looks without a gap count: after an outage of Postgres, or when the
//! machine was frozen, every peer looks silent, and has the time of a whole lease again.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::config::WorkersConfig;

/// Looks without a new heartbeat before a peer is dead, however long they took.
const SILENT_LOOKS: u32 = 3;

/// The last heartbeat of a peer, as it is stored. Equal ones are one heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) peer: String,
    pub(crate) mark: String,
}

/// When a heartbeat was first seen, and how many looks have found it.
#[derive(Debug)]
struct Seen {
    mark: String,
    since: Instant,
    looks: u32,
}

/// The peers' heartbeats, and when Postgres answered last.
#[derive(Debug)]
pub(crate) struct Peers {
    last_answer: Instant,
    seen: HashMap<String, Seen>,
}

impl Peers {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last_answer: now,
            seen: HashMap::new(),
        }
    }

    /// When Postgres answered last.
    pub(crate) fn last_answer(&self) -> Instant {
        self.last_answer
    }

    /// Records that Postgres answers at `now`.
    pub(crate) fn answered(&mut self, now: Instant, config: &WorkersConfig) {
        // A process that was frozen had no contact either, even if its queries worked: they may have been under way all the
        // while. The others may have been frozen with it.
        if now.duration_since(self.last_answer) > config.lease {
            self.seen.clear();
        }
        self.last_answer = now;
    }

    /// Records that Postgres does not answer.
    pub(crate) fn interrupted(&mut self) {
        self.seen.clear();
    }

    /// Records a look at the last heartbeats of all peers at `now`; gives those of the peers that are dead.
    pub(crate) fn look(&mut self, heartbeats: Vec<Heartbeat>, now: Instant, config: &WorkersConfig) -> Vec<Heartbeat> {
        let mut before = std::mem::take(&mut self.seen);
        let mut dead = Vec::new();
        for heartbeat in heartbeats {
            let seen = match before
                .remove(&heartbeat.peer)
                .filter(|seen| seen.mark == heartbeat.mark)
            {
                Some(seen) => Seen {
                    looks: seen.looks.saturating_add(1),
                    ..seen
                },
                None => Seen {
                    mark: heartbeat.mark.clone(),
                    since: now,
                    looks: 1,
                },
            };
            let is_dead = seen.looks > SILENT_LOOKS && now.duration_since(seen.since) >= config.lease;
            self.seen.insert(heartbeat.peer.clone(), seen);
            if is_dead {
                dead.push(heartbeat);
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A process that looks at the peer `p`.
    struct Observer {
        begun: Instant,
        config: WorkersConfig,
        peers: Peers,
    }

    impl Observer {
        fn new() -> Self {
            let begun = Instant::now();
            Self {
                begun,
                config: WorkersConfig::default(),
                peers: Peers::new(begun),
            }
        }

        /// Whether the peer, whose last heartbeat is `mark`, is dead after a look at this time.
        fn finds_dead(&mut self, ms: u64, mark: &str) -> bool {
            let now = self.begun + Duration::from_millis(ms);
            let heartbeat = Heartbeat {
                peer: "p".to_owned(),
                mark: mark.to_owned(),
            };
            self.peers.answered(now, &self.config);
            !self.peers.look(vec![heartbeat], now, &self.config).is_empty()
        }
    }

    #[test]
    fn a_peer_is_dead_when_no_heartbeat_has_come_for_the_time_of_a_lease() {
        let mut observer = Observer::new();
        for ms in [0, 500, 1000, 1500, 1999] {
            assert!(!observer.finds_dead(ms, "1"), "{ms}");
        }
        assert!(observer.finds_dead(2000, "1"));
        assert!(observer.finds_dead(2500, "1"), "until it has gone");
        assert!(!observer.finds_dead(3000, "2"), "it was slow");
    }

    #[test]
    fn a_few_looks_are_not_enough_however_long_they_took() {
        let mut observer = Observer::new();
        for ms in [0, 1500, 3000] {
            assert!(!observer.finds_dead(ms, "1"), "{ms}");
        }
        assert!(observer.finds_dead(4500, "1"));
    }

    #[test]
    fn looks_before_an_outage_do_not_count() {
        let mut observer = Observer::new();
        for ms in [0, 500, 1000, 1500] {
            observer.finds_dead(ms, "1");
        }
        observer.peers.interrupted();
        for ms in [2000, 2500, 3000, 3500] {
            assert!(!observer.finds_dead(ms, "1"), "{ms}");
        }
        assert!(observer.finds_dead(4000, "1"));
    }

    /// The machine pauses while an answer is on its way: it comes late, and every other worker looks dead.
    #[test]
    fn looks_before_a_freeze_do_not_count() {
        let mut observer = Observer::new();
        for ms in [0, 500, 1000, 1500] {
            observer.finds_dead(ms, "1");
        }
        for ms in [3501, 4000, 4500, 5500] {
            assert!(!observer.finds_dead(ms, "1"), "{ms}");
        }
        assert!(observer.finds_dead(5501, "1"));
    }

    #[test]
    fn a_peer_that_has_gone_is_forgotten() {
        let mut observer = Observer::new();
        observer.finds_dead(0, "1");
        observer.peers.look(Vec::new(), observer.begun, &observer.config);
        assert!(observer.peers.seen.is_empty());
    }
}
