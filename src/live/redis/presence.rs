//! Watchers on Redis: for each user a sorted set of them, scored by the second until which they count, by Redis' own
//! clock; and for some minutes, who watched at the end of each answer, and who has left in order.

use std::sync::Arc;
use std::time::Duration;

use cura_domain::{MessageId, UserId};
use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::Connection;
use super::keys::{closed_key, ended_key, presence_key};
use super::request::{Request, Script};
use crate::memory::{WatcherReport, WatcherTable};
use crate::presence::{LOOK_TTL, PRESENCE_INTERVAL, PRESENCE_TTL};

/// How many calls are sent together.
const BATCH: usize = 200;

/// `KEYS`: the user's watchers, and those that have left in order. `ARGV`: how long to keep each, in seconds; then of
/// each watcher its name, what it does, and for how long, or how long ago, in milliseconds.
const REPORT: &str = r"
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 3, #ARGV, 3 do
  local watcher, does, seconds = ARGV[i], ARGV[i + 1], ARGV[i + 2] / 1000
  if does == 'watches' then
    redis.call('ZADD', KEYS[1], now + seconds, watcher)
  else
    redis.call('ZREM', KEYS[1], watcher)
  end
  if does == 'leaves' then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
    redis.call('ZADD', KEYS[2], now - seconds, watcher)
    redis.call('EXPIRE', KEYS[2], ARGV[2])
  end
end
return redis.call('EXPIRE', KEYS[1], ARGV[1])";

/// `KEYS[1]`: the user's watchers.
const COUNT: &str = r"
local time = redis.call('TIME')
return redis.call('ZCOUNT', KEYS[1], '(' .. time[1] + time[2] / 1000000, '+inf')";

/// `KEYS`: the user's watchers, and those at the end of the answer. `ARGV[1]`: how long to remember these, in seconds.
const LOOK: &str = r"
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local watchers = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
for _, watcher in ipairs(watchers) do
  redis.call('ZADD', KEYS[2], 'NX', now, watcher)
end
if #watchers > 0 then redis.call('EXPIRE', KEYS[2], ARGV[1]) end
return #watchers";

/// `KEYS`: the user's watchers, those at the end of the answer, and those that have left in order. A watcher of the end that may be a
/// proxy alone does not count.
const LAST_LOOK: &str = r"
local time = redis.call('TIME')
local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '+inf', 'WITHSCORES')
local in_order = 0
for i = 1, #ended, 2 do
  local left = redis.call('ZSCORE', KEYS[3], ended[i])
  if left and tonumber(left) >= tonumber(ended[i + 1]) then in_order = 1 end
end
local watching = 0
for _, watcher in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. time[1] + time[2] / 1000000, '+inf')) do
  if string.sub(watcher, -1) ~= '~' or not redis.call('ZSCORE', KEYS[2], watcher) then watching = watching + 1 end
end
return {watching, in_order}";

pub(super) struct PresenceScripts {
    report: Script,
    count: Script,
    look: Script,
    last_look: Script,
}

impl PresenceScripts {
    pub(super) fn new() -> Self {
        Self {
            report: Script::new(REPORT),
            count: Script::new(COUNT),
            look: Script::new(LOOK),
            last_look: Script::new(LAST_LOOK),
        }
    }

    /// How many watchers of `user` count.
    pub(super) fn count(&self, user: UserId) -> Request {
        self.count.on(&[presence_key(user)])
    }

    /// The same at the end of `answer`; who watches is remembered.
    pub(super) fn look(&self, user: UserId, answer: MessageId) -> Request {
        let call = self.look.on(&[presence_key(user), ended_key(user, answer)]);
        call.arg(LOOK_TTL.as_secs())
    }

    /// How many watchers of `user` count, and whether one of the end of `answer` has left in order.
    pub(super) fn last_look(&self, user: UserId, answer: MessageId) -> Request {
        let keys = [presence_key(user), ended_key(user, answer), closed_key(user)];
        self.last_look.on(&keys)
    }

    /// What a server has to report of one user.
    fn report(&self, server: &str, report: &WatcherReport, now: Instant) -> Request {
        let keys = [presence_key(report.user), closed_key(report.user)];
        let call = self.report.on(&keys);
        let mut call = call.arg(PRESENCE_TTL.as_secs()).arg(LOOK_TTL.as_secs());
        for departure in &report.departures {
            let (does, ago) = match departure.in_order_at {
                Some(at) => ("leaves", now.saturating_duration_since(at)),
                None => ("ends", Duration::ZERO),
            };
            call = call.arg(name(server, departure.id, departure.is_proxied)).arg(does);
            call = call.arg(ago.as_millis());
        }
        for watching in &report.watchers {
            call = call.arg(name(server, watching.id, watching.is_proxied)).arg("watches");
            call = call.arg(watching.left.as_millis());
        }
        call
    }
}

/// What a watcher is called on Redis: one that may be a proxy alone has a mark at the end.
fn name(server: &str, id: u64, is_proxied: bool) -> String {
    let mark = if is_proxied { "~" } else { "" };
    format!("{server}/{id}{mark}")
}

/// Reports the watchers of this process.
pub(super) struct PresenceReporter {
    pub(super) connection: Arc<Connection>,
    pub(super) scripts: Arc<PresenceScripts>,
    pub(super) watchers: WatcherTable,
    /// The name of this process, which no other process has.
    pub(super) server: String,
}

impl PresenceReporter {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let mut interval = interval(PRESENCE_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut repeated = tokio::select! {
                _ = interval.tick() => self.watchers.users(),
                () = self.watchers.changed() => Vec::new(),
            };
            loop {
                let now = Instant::now();
                // Changes first: somebody may be about to ask.
                let mut reports = self.watchers.take_changes(BATCH, now);
                if reports.is_empty() {
                    let batch = repeated.split_off(repeated.len().saturating_sub(BATCH));
                    if batch.is_empty() {
                        break;
                    }
                    reports = self.watchers.report_all(&batch, now);
                }
                self.send(&reports, now).await;
            }
        }
    }

    /// Sends one call for each user, so that a Redis Cluster can spread them; the connection pipelines them. What fails
    /// is not sent again: watchers are repeated with the next round, and what has left ends by itself.
    async fn send(&self, reports: &[WatcherReport], now: Instant) {
        let calls = reports.iter().filter(|report| !report.is_empty()).map(async |report| {
            let call = self.scripts.report(&self.server, report, now);
            let _ = self.connection.call::<i64>(&call).await;
        });
        join_all(calls).await;
    }
}
