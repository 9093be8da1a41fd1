//! The writes and the read of a text as Lua scripts: check the fence and the offset, write and publish in one round trip.
//!
//! They follow the same rules as [`TextState`]. What they publish is described at
//! [`TextMessage`](super::text_message::TextMessage).

use ::redis::{FromRedisValue, ParsingError, Value};
use cura_domain::MessageId;
use cura_domain::answer::{AttemptOffsets, Fence};

use super::keys::{Channel, state_key, text_key};
use super::request::{Request, Script};
use crate::error::AppendError;
use crate::text::TextState;

/// `ARGV`: fence, attempt offsets, text, seconds to keep it.
const REPLACE: &str = r"
local fence = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
local new = tonumber(ARGV[1])
if fence > new or redis.call('HEXISTS', KEYS[1], 'ended') == 1 then return 'stale' end
if fence == new and redis.call('STRLEN', KEYS[2]) >= #ARGV[3] and redis.call('HEXISTS', KEYS[1], 'fence') == 1 then
  return 'ok'
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'offsets', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[3], 'w')
return 'ok'";

/// `ARGV`: fence, offset, text. Runs once per token, so it does not renew the expiry:
/// [`LiveConfig::idle_ttl`](crate::LiveConfig::idle_ttl) outlasts the attempt.
const APPEND: &str = r"
local state = redis.call('HMGET', KEYS[1], 'fence', 'ended')
local fence = tonumber(state[1] or '0')
local mine = tonumber(ARGV[1])
if fence > mine or state[2] then return 'stale' end
if fence < mine then return 'missing' end
local have = redis.call('STRLEN', KEYS[2])
local offset = tonumber(ARGV[2])
if have ~= offset then
  if have >= offset + #ARGV[3] and redis.call('GETRANGE', KEYS[2], offset, offset + #ARGV[3] - 1) == ARGV[3] then
    return 'ok'
  end
  return have
end
redis.call('APPEND', KEYS[2], ARGV[3])
redis.call('PUBLISH', KEYS[3], 'a ' .. ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
return 'ok'";

/// `ARGV`: fence, seconds to keep the text for late readers.
const END: &str = r"
local fence = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if fence > tonumber(ARGV[1]) then return 'stale' end
if fence > 0 then
  redis.call('HSET', KEYS[1], 'ended', '1')
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
redis.call('PUBLISH', KEYS[3], 'e ' .. ARGV[1])
return 'ok'";

/// Leaves a tombstone: the fence that no attempt has, and the end. `ARGV`: that fence, seconds to keep it.
const FORGET: &str = r"
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'ended', '1')
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

    pub(crate) fn append(&self, id: MessageId) -> Request {
        invoke(&self.append, id)
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

fn decode_offsets(text: &str) -> AttemptOffsets {
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
            ended: ended.is_some(),
        })))
    }
}
