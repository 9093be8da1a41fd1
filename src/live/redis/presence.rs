//! Presence on Redis: for each user a sorted set of servers, scored by the second until which their report is valid, by
//! Redis' own clock.

use std::collections::HashSet;
use std::sync::Arc;

use ::redis::{RedisError, Script};
use cura_domain::UserId;
use tokio::sync::Notify;

use super::connection::Connection;
use super::keys::presence_key;
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
            let sent = async {
                self.call_for_each(&withdraw, &changes.gone).await?;
                self.call_for_each(&report, &changes.connected).await
            };
            // After a failure, everything is reported again with the next round.
            reported = match sent.await {
                Ok(()) => connected,
                Err(error) => {
                    tracing::debug!(%error, "cannot report presence to Redis");
                    HashSet::new()
                }
            };
        }
    }

    async fn call_for_each(&self, script: &Script, users: &[UserId]) -> Result<(), RedisError> {
        // One call for each key, so that a Redis Cluster can spread them; the connection pipelines a batch.
        for batch in users.chunks(BATCH) {
            let calls = batch.iter().map(|user| async {
                let mut call = script.prepare_invoke();
                call.key(presence_key(*user))
                    .arg(&self.server)
                    .arg(PRESENCE_TTL.as_secs());
                self.connection
                    .call(async |connection| call.invoke_async::<i64>(connection).await)
                    .await
            });
            futures_util::future::try_join_all(calls).await?;
        }
        Ok(())
    }
}

/// Whether `user` is connected to any server.
pub(super) async fn is_present(connection: &Connection, user: UserId) -> Result<bool, RedisError> {
    let script = Script::new(IS_PRESENT);
    let mut call = script.prepare_invoke();
    call.key(presence_key(user));
    let servers = connection
        .call(async |connection| call.invoke_async::<i64>(connection).await)
        .await?;
    Ok(servers > 0)
}
