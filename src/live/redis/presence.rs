//! Who has a live connection, on any server: each says it again every ten seconds, and whoever falls silent is gone after
//! thirty, by Redis' clock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{RedisError, Script};
use cura_domain::UserId;
use tokio::sync::Notify;

use super::connection::Connection;
use crate::users::Users;

/// How often presence is said again.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How long it holds, in seconds.
const HOLDS: u64 = 30;
/// Calls sent together.
const BATCH: usize = 200;

/// `KEYS[1]`: a user's servers, by the second until which they hold. `ARGV`: server, seconds.
const SAY: &str = r"
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])";

const LEAVE: &str = r"
return redis.call('ZREM', KEYS[1], ARGV[1])";

const IS_PRESENT: &str = r"
return redis.call('ZCOUNT', KEYS[1], '(' .. redis.call('TIME')[1], '+inf')";

fn key(user: UserId) -> String {
    format!("cura:user:{{{user}}}:present")
}

/// Says who has a connection in this process, until dropped.
pub(super) async fn keep_saying(connection: Arc<Connection>, users: Users, changed: Arc<Notify>, server: String) {
    let (say, leave) = (Script::new(SAY), Script::new(LEAVE));
    let mut said: HashSet<UserId> = HashSet::new();
    let mut again = tokio::time::interval(SAY_AGAIN);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            _ = again.tick() => true,
            () = changed.notified() => false,
        };
        let here: HashSet<UserId> = users.watched().into_iter().collect();
        let gone: Vec<UserId> = said.difference(&here).copied().collect();
        let new: Vec<UserId> = if all {
            here.iter().copied().collect()
        } else {
            here.difference(&said).copied().collect()
        };
        let told = async {
            call_in_batches(&connection, &leave, &gone, &server).await?;
            call_in_batches(&connection, &say, &new, &server).await
        };
        // What could not be said now is said with the next round.
        said = if told.await.is_ok() { here } else { HashSet::new() };
    }
}

async fn call_in_batches(
    connection: &Connection,
    script: &Script,
    users: &[UserId],
    server: &str,
) -> Result<(), RedisError> {
    // A key a call, so that a Redis Cluster can spread them; the connection sends a batch together.
    for batch in users.chunks(BATCH) {
        let calls = batch.iter().map(|user| async {
            let mut call = script.prepare_invoke();
            call.key(key(*user)).arg(server).arg(HOLDS);
            connection
                .call(async |connection| call.invoke_async::<i64>(connection).await)
                .await
        });
        futures_util::future::try_join_all(calls).await?;
    }
    Ok(())
}

/// Whether `user` has a connection anywhere.
pub(super) async fn is_present(connection: &Connection, user: UserId) -> Result<bool, RedisError> {
    let script = Script::new(IS_PRESENT);
    let mut call = script.prepare_invoke();
    call.key(key(user));
    let servers = connection
        .call(async |connection| call.invoke_async::<i64>(connection).await)
        .await?;
    Ok(servers > 0)
}
