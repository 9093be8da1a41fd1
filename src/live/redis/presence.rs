//! Presence on Redis: for each user a sorted set of servers, scored by the second until which their report is valid, by
//! Redis' own clock.

use std::collections::HashSet;
use std::sync::Arc;

use cura_domain::UserId;
use tokio::sync::Notify;

use super::connection::Connection;
use super::keys::presence_key;
use super::request::Script;
use super::trouble::RedisTrouble;
use crate::memory::UserTable;
use crate::presence::{PRESENCE_INTERVAL, PRESENCE_TTL, PresenceChanges};

/// How many calls are sent together.
const BATCH: usize = 200;

/// `KEYS[1]`: the user's servers. `ARGV`: the server, the seconds its report is valid.
const REPORT: &str = r"
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])";

const WITHDRAW: &str = r"
return redis.call('ZREM', KEYS[1], ARGV[1])";

const IS_PRESENT: &str = r"
return redis.call('ZCOUNT', KEYS[1], '(' .. redis.call('TIME')[1], '+inf')";

/// Reports which users are connected to this process.
pub(super) struct PresenceReporter {
    pub(super) connection: Arc<Connection>,
    pub(super) users: UserTable,
    /// Wakes the reporter when a user has connected or left.
    pub(super) users_changed: Arc<Notify>,
    /// The name of this process, which no other process has.
    pub(super) server: String,
}

impl PresenceReporter {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let (report, withdraw) = (Script::new(REPORT), Script::new(WITHDRAW));
        let mut reported: HashSet<UserId> = HashSet::new();
        let mut interval = tokio::time::interval(PRESENCE_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let repeat = tokio::select! {
                _ = interval.tick() => true,
                () = self.users_changed.notified() => false,
            };
            let connected: HashSet<UserId> = self.users.watched().into_iter().collect();
            let changes = PresenceChanges::between(&reported, &connected, repeat);
            // What could not be withdrawn ends by itself; what could not be reported is reported with the next round.
            self.call_for_each(&withdraw, &changes.gone).await;
            let missing = self.call_for_each(&report, &changes.connected).await;
            reported = connected;
            reported.retain(|user| !missing.contains(user));
        }
    }

    /// Makes a call for each user; returns those for whom it failed.
    async fn call_for_each(&self, script: &Script, users: &[UserId]) -> HashSet<UserId> {
        let mut missing = HashSet::new();
        // One call for each key, so that a Redis Cluster can spread them; the connection pipelines a batch.
        for batch in users.chunks(BATCH) {
            let calls = batch.iter().map(async |user| {
                let call = script
                    .on(&[presence_key(*user)])
                    .arg(&self.server)
                    .arg(PRESENCE_TTL.as_secs());
                let called = self.connection.call::<i64>(&call).await;
                called.is_err().then_some(*user)
            });
            missing.extend(futures_util::future::join_all(calls).await.into_iter().flatten());
        }
        missing
    }
}

/// Whether `user` is connected to any server.
pub(super) async fn is_present(connection: &Connection, user: UserId) -> Result<bool, RedisTrouble> {
    let call = Script::new(IS_PRESENT).on(&[presence_key(user)]);
    Ok(connection.call::<i64>(&call).await? > 0)
}
