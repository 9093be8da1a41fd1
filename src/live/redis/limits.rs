//! Budgets on Redis: GCRA in one script, on Redis' own clock, so that all servers agree.

use std::num::NonZeroU32;
use std::time::Duration;

use ::redis::Script;

use super::connection::Connection;
use crate::limits::Verdict;
use crate::{InvalidUrl, LiveConfig};

/// The theoretical arrival time of the next request is all there is to keep. `ARGV`: microseconds per request, and how
/// many may come at once.
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

const MINUTE_MICROS: u64 = 60_000_000;

pub(crate) struct RedisLimits {
    connection: Connection,
    spend: Script,
}

impl RedisLimits {
    pub(crate) fn connect(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        Ok(Self {
            connection: Connection::new(url, config)?,
            spend: Script::new(SPEND),
        })
    }

    /// What Redis says; `None` when it says nothing in time.
    pub(crate) async fn spend(&self, name: &str, who: &str, per_minute: NonZeroU32) -> Option<Verdict> {
        let limit = per_minute.get();
        let mut call = self.spend.prepare_invoke();
        call.key(format!("cura:limit:{name}:{who}"))
            .arg(MINUTE_MICROS / u64::from(limit))
            .arg(limit);
        let said = self
            .connection
            .call(async |connection| call.invoke_async::<(u8, u32, u64, u64)>(connection).await);
        let (allowed, remaining, reset, wait) = said
            .await
            .inspect_err(|error| tracing::debug!(%error, "Redis does not count"))
            .ok()?;
        Some(Verdict {
            allowed: allowed == 1,
            limit,
            remaining,
            reset: Duration::from_micros(reset),
            retry_after: Duration::from_micros(wait),
        })
    }
}
