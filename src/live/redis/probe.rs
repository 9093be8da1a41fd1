//! Whether Redis does all that is asked of it, not only whether it answers.

use futures_util::future::try_join_all;

use super::connection::Connection;
use super::request::Script;
use super::trouble::RedisTrouble;

/// Every command that is used anywhere, but for those of a subscription. `KEYS`: a text, a hash, a sorted set, a channel.
const PROBE: &str = r"
redis.call('TIME')
redis.call('SET', KEYS[1], 'a', 'PX', '2000')
redis.call('APPEND', KEYS[1], 'b')
redis.call('STRLEN', KEYS[1])
redis.call('HSET', KEYS[2], 'fence', '1')
redis.call('HGET', KEYS[2], 'fence')
redis.call('HMGET', KEYS[2], 'fence')
redis.call('HEXISTS', KEYS[2], 'fence')
redis.call('EXPIRE', KEYS[2], 2)
redis.call('PTTL', KEYS[2])
redis.call('ZADD', KEYS[3], 1, 'a')
redis.call('ZADD', KEYS[3], 'NX', 1, 'a')
redis.call('ZCOUNT', KEYS[3], 1, 2)
redis.call('ZSCORE', KEYS[3], 'a')
redis.call('ZRANGEBYSCORE', KEYS[3], 1, 2)
redis.call('ZREM', KEYS[3], 'a')
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', 0)
redis.call('DEL', KEYS[3])
redis.call('PUBLISH', KEYS[4], '')
return redis.call('GET', KEYS[1])";

pub(super) struct Probe(Script);

impl Probe {
    pub(super) fn new() -> Self {
        Self(Script::new(PROBE))
    }

    /// Writes, reads and publishes on every server that must work: one call each.
    pub(super) async fn run(&self, connection: &Connection) -> Result<(), RedisTrouble> {
        let tags = connection.tags().await?;
        let probes = tags.iter().map(async |tag| {
            let key = |kind| format!("cura:probe:{{{tag}}}:{kind}");
            let call = self.0.on(&["text", "hash", "set", "channel"].map(key));
            connection.call::<Option<String>>(&call).await
        });
        try_join_all(probes).await.map(drop)
    }
}
