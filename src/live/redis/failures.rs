//! Failures counted on Redis, by Redis' own clock: [`Failures`](crate::failures::Failures) in one script.

use std::sync::Arc;
use std::time::Duration;

use super::RedisLive;
use super::connection::Connection;
use super::keys::limit_key;
use super::request::Script;
use crate::failures::{FailureRules, MAX_WAIT};

/// Keeps `count:forgetting_since:blocked_until`, times in microseconds. `ARGV`: `begin`, `take_back` or `look`, the free failures, the
/// first wait, the longest wait. Returns how long to wait.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local free, first, longest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function wait(count)
  if count < free then return 0 end
  return math.min(first * 2 ^ math.min(count - free, 20), longest)
end
local function forgotten_after(count) return math.max(wait(count), first) end
local count, since, blocked = 0, now, 0
local kept = redis.call('GET', KEYS[1])
if kept then
  local c, s, b = string.match(kept, '^(%d+):(%d+):(%d+)$')
  count, since, blocked = tonumber(c), tonumber(s), tonumber(b)
end
while count > 0 and since + forgotten_after(count) <= now do
  since = since + forgotten_after(count)
  count = count - 1
end
if ARGV[1] == 'take_back' then
  if count > 0 then count = count - 1 end
  since, blocked = now, now
elseif blocked > now then
  return blocked - now
elseif ARGV[1] == 'look' then
  return 0
else
  if wait(count) < longest then count = count + 1 end
  blocked = now + wait(count)
  since = blocked
end
if count == 0 then redis.call('DEL', KEYS[1]) return 0 end
local lifetime = since - now
for n = 1, count do lifetime = lifetime + forgotten_after(n) end
redis.call('SET', KEYS[1], string.format('%.0f:%.0f:%.0f', count, since, blocked), 'PX', math.ceil(lifetime / 1000))
return 0";

pub(crate) struct RedisFailures {
    connection: Arc<Connection>,
    count: Script,
    /// What distinguishes these counts from others.
    name: &'static str,
}

impl RedisLive {
    /// Failures counted on this Redis, by this name.
    pub(crate) fn failures(&self, name: &'static str) -> RedisFailures {
        RedisFailures {
            name,
            connection: Arc::clone(&self.0.connection),
            count: Script::new(COUNT),
        }
    }
}

impl RedisFailures {
    /// Counts a try of `key` as a failure, or says how long it has to wait; `None` when Redis does not answer in time.
    pub(crate) async fn begin(&self, rules: FailureRules, key: &str) -> Option<Result<(), Duration>> {
        match self.call("begin", rules, key).await? {
            Duration::ZERO => Some(Ok(())),
            wait => Some(Err(wait)),
        }
    }

    /// How long `key` has to wait, if it has to; counts nothing. `None` when Redis does not answer in time.
    pub(crate) async fn look(&self, rules: FailureRules, key: &str) -> Option<Result<(), Duration>> {
        match self.call("look", rules, key).await? {
            Duration::ZERO => Some(Ok(())),
            wait => Some(Err(wait)),
        }
    }

    /// Takes back a try that did not fail; `None` when Redis does not answer in time.
    pub(crate) async fn take_back(&self, rules: FailureRules, key: &str) -> Option<()> {
        self.call("take_back", rules, key).await.map(drop)
    }

    async fn call(&self, what: &str, rules: FailureRules, key: &str) -> Option<Duration> {
        let call = self
            .count
            .on(&[limit_key(self.name, key)])
            .arg(what)
            .arg(rules.free)
            .arg(micros(rules.first_wait))
            .arg(micros(MAX_WAIT));
        let wait = self.connection.call::<u64>(&call).await;
        wait.ok().map(Duration::from_micros)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
