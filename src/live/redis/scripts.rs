//! The writes and the read of a text as Lua scripts: check the fence and the offset, write and publish in one round trip.
//!
//! They follow the same rules as [`TextState`]. What they publish is described at
//! [`TextMessage`](super::text_message::TextMessage).

use ::redis::{FromRedisValue, ParsingError, Value};
use cura_domain::MessageId;
use cura_domain::answer::{AttemptOffsets, Fence};

use super::appends::Append;
use super::keys::{Channel, state_key, text_key};
use super::request::{Request, Script};
use crate::error::AppendError;
use crate::text::TextState;

/// `ARGV`: fence, attempt offsets, text, seconds to keep it.
const REPLACE: &str = r"
local fence = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
local new = tonumber(ARGV[1])
local ended = redis.call('HGET', KEYS[1], 'ended')
if fence > new or (ended and new <= math.max(fence, tonumber(ended))) then return 'stale' end
if fence == new and redis.call('STRLEN', KEYS[2]) >= #ARGV[3] and redis.call('HEXISTS', KEYS[1], 'fence') == 1 then
  return 'ok'
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'offsets', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[3], ARGV[3] == '' and 'b ' .. ARGV[1] .. ' ' .. ARGV[2] or 'w')
return 'ok'";

/// Of many answers; three `KEYS` and three `ARGV` (fence, offset, text) of each. Runs once per token, or per batch of them, so it does not renew
/// the expiry: [`LiveConfig::idle_ttl`](crate::LiveConfig::idle_ttl) outlasts the attempt; and it appends before it looks where, which
/// nearly always is right. Gives the number and the fault of each that could not be appended.
const APPEND: &str = r"
local faults = {}
for i = 1, #KEYS, 3 do
  local state = redis.call('HMGET', KEYS[i], 'fence', 'ended')
  local fence, mine, text, fault = tonumber(state[1] or '0'), tonumber(ARGV[i]), ARGV[i + 2], nil
  if fence > mine or state[2] then
    fault = 'stale'
  elseif fence < mine then
    fault = 'missing'
  else
    local offset, length = tonumber(ARGV[i + 1]), redis.call('APPEND', KEYS[i + 1], text)
    local have = length - #text
    if have == offset then
      redis.call('PUBLISH', KEYS[i + 2], 'a ' .. ARGV[i] .. ' ' .. ARGV[i + 1] .. ' ' .. text)
    else
      local whole, ttl = redis.call('GET', KEYS[i + 1]), redis.call('PTTL', KEYS[i + 1])
      if have > 0 and ttl > 0 then
        redis.call('SET', KEYS[i + 1], string.sub(whole, 1, have), 'PX', ttl)
      else
        redis.call('DEL', KEYS[i + 1])
      end
      if have < offset + #text or string.sub(whole, offset + 1, offset + #text) ~= text then fault = have end
    end
  end
  if fault then
    faults[#faults + 1] = (i - 1) / 3
    faults[#faults + 1] = fault
  end
end
return faults";

/// `ARGV`: fence, seconds to keep the text for late readers.
const END: &str = r"
local fence = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if fence > tonumber(ARGV[1]) then return 'stale' end
if fence > 0 then
  redis.call('HSET', KEYS[1], 'ended', ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
redis.call('PUBLISH', KEYS[3], 'e ' .. ARGV[1])
return 'ok'";

/// Leaves a tombstone: the fence that no attempt has, and the end. `ARGV`: that fence, seconds to keep it.
const FORGET: &str = r"
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'ended', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[3], 'e ' .. ARGV[1])
return 'ok'";

const READ: &str = r"
local state = redis.call('HMGET', KEYS[1], 'fence', 'offsets', 'ended')
return {state[1], state[2], state[3], redis.call('GET', KEYS[2])}";

pub(crate) struct Scripts {
    replace: Script,
    append: Script,
    end: Script,
    forget: Script,
    read: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            replace: Script::new(REPLACE),
            append: Script::new(APPEND),
            end: Script::new(END),
            forget: Script::new(FORGET),
            read: Script::new(READ),
        }
    }

    pub(crate) fn replace(&self, id: MessageId) -> Request {
        invoke(&self.replace, id)
    }

    /// One call that appends all of these.
    pub(super) fn append(&self, batch: &[Append]) -> Request {
        let keys = batch.iter().flat_map(|append| &append.appending.keys);
        batch.iter().fold(self.append.on(keys), |call, append| {
            call.arg(append.appending.fence.0).arg(append.offset).arg(&append.text)
        })
    }

    pub(crate) fn end(&self, id: MessageId) -> Request {
        invoke(&self.end, id)
    }

    pub(crate) fn forget(&self, id: MessageId) -> Request {
        invoke(&self.forget, id)
    }

    pub(crate) fn read(&self, id: MessageId) -> Request {
        invoke(&self.read, id)
    }
}

fn invoke(script: &Script, id: MessageId) -> Request {
    script.on(&[state_key(id), text_key(id), Channel::Text(id).name()])
}

/// Offsets as they are stored: numbers separated by commas.
pub(crate) fn encode_offsets(offsets: &AttemptOffsets) -> String {
    offsets.0.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

pub(super) fn decode_offsets(text: &str) -> AttemptOffsets {
    AttemptOffsets(text.split(',').filter_map(|offset| offset.parse().ok()).collect())
}

/// What a write gives.
pub(crate) struct WriteReply(pub(crate) Result<(), AppendError>);

impl FromRedisValue for WriteReply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        if let Value::Int(have) = value {
            return Ok(Self(Err(AppendError::Offset {
                have: have.unsigned_abs(),
            })));
        }
        Ok(Self(match String::from_redis_value(value)?.as_str() {
            "ok" => Ok(()),
            "stale" => Err(AppendError::Stale),
            _ => Err(AppendError::Missing),
        }))
    }
}

/// What appending for many answers gives: the faults, each with the number of its answer.
pub(super) struct AppendReplies(Vec<(usize, AppendError)>);

impl AppendReplies {
    /// What became of the answer with this number.
    pub(super) fn of(&self, number: usize) -> Result<(), AppendError> {
        let fault = self.0.iter().find(|(of, _)| *of == number);
        fault.map_or(Ok(()), |(_, fault)| Err(*fault))
    }
}

impl FromRedisValue for AppendReplies {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut values = Vec::<Value>::from_redis_value(value)?.into_iter();
        let mut faults = Vec::new();
        while let (Some(number), Some(fault)) = (values.next(), values.next()) {
            let number = usize::from_redis_value(number)?;
            // A fault is none that says that all is well.
            let WriteReply(fault) = WriteReply::from_redis_value(fault)?;
            faults.push((number, fault.err().unwrap_or(AppendError::Missing)));
        }
        Ok(Self(faults))
    }
}

/// What a read gives: `None` when Redis does not have the text.
pub(crate) struct ReadReply(pub(crate) Option<TextState>);

impl FromRedisValue for ReadReply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        type Row = (Option<u32>, Option<String>, Option<String>, Option<String>);
        let (fence, offsets, ended, text): Row = FromRedisValue::from_redis_value(value)?;
        Ok(Self(fence.zip(text).map(|(fence, text)| TextState {
            fence: Fence(fence),
            attempt_offsets: decode_offsets(&offsets.unwrap_or_default()),
            text,
            ended: ended.map(|last| Fence(last.parse().unwrap_or(u32::MAX))),
        })))
    }
}
