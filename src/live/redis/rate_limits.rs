//! Rate limits counted on Redis: GCRA in one script, by Redis' own clock, so that all servers agree.

use std::num::NonZeroU32;
use std::time::Duration;

use super::connection::Connection;
use super::keys::limit_key;
use super::request::Script;
use crate::config::LiveConfig;
use crate::error::InvalidUrl;
use crate::rate_decision::RateDecision;

/// Keeps only the theoretical arrival time of the next request. `ARGV`: microseconds per request, the largest burst.
const SPEND: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local each, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = due + each - each * burst - now
if wait > 0 then return {0, 0, due - now, wait} end
due = due + each
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return {1, math.floor((each * burst - (due - now)) / each), due - now, 0}";

/// Moves the arrival time back by one request. A budget that is whole stays whole. `ARGV`: microseconds per request.
const REFUND: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local due = tonumber(redis.call('GET', KEYS[1]) or '0') - tonumber(ARGV[1])
if due <= now then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return 1";

const MINUTE_MICROS: u64 = 60_000_000;

pub(crate) struct RedisRateLimits {
    connection: Connection,
    spend: Script,
    refund: Script,
}

impl RedisRateLimits {
    pub(crate) fn connect(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        Ok(Self {
            connection: Connection::new(url, config)?.without_warnings(),
            spend: Script::new(SPEND),
            refund: Script::new(REFUND),
        })
    }

    /// Spends one request of a budget, if any is left; `None` when Redis does not answer in time.
    pub(crate) async fn spend(&self, name: &str, key: &str, per_minute: NonZeroU32) -> Option<RateDecision> {
        let limit = per_minute.get();
        let call = self
            .spend
            .on(&[limit_key(name, key)])
            .arg(MINUTE_MICROS / u64::from(limit))
            .arg(limit);
        let (allowed, remaining, reset, wait) = self.connection.call::<(u8, u32, u64, u64)>(&call).await.ok()?;
        Some(RateDecision {
            allowed: allowed == 1,
            limit,
            remaining,
            reset: Duration::from_micros(reset),
            retry_after: Duration::from_micros(wait),
        })
    }

    /// Gives one spent request back; `None` when Redis does not answer in time.
    pub(crate) async fn refund(&self, name: &str, key: &str, per_minute: NonZeroU32) -> Option<()> {
        let call = self
            .refund
            .on(&[limit_key(name, key)])
            .arg(MINUTE_MICROS / u64::from(per_minute.get()));
        self.connection.call::<u8>(&call).await.ok().map(drop)
    }
}
