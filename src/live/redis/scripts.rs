//! The writes, as Lua scripts: check the fence and the offset, write, publish, in one round trip. All keys of an answer
//! share a hash tag, so a Redis Cluster keeps them together.
//!
//! Published: `w` (the whole has changed: read it), `a <fence> <offset> <text>`, `e <fence>`.

use ::redis::{FromRedisValue, ParsingError, Script, ScriptInvocation, Value};
use cura_domain::answer::{Bases, Fence};
use cura_domain::{MessageId, UserId};

use crate::AppendError;
use crate::answers::Answer;

const PUT: &str = r"
local fence = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
local new = tonumber(ARGV[1])
if fence > new or redis.call('HEXISTS', KEYS[1], 'ended') == 1 then return 'stale' end
if fence == new and redis.call('STRLEN', KEYS[2]) >= #ARGV[3] and redis.call('HEXISTS', KEYS[1], 'fence') == 1 then
  return 'ok'
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'bases', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[3], 'w')
return 'ok'";

/// Once per token, so as few commands as can be: a text lives as long as PUT gave it, which is twice as long as a job may run.
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

const READ: &str = r"
local state = redis.call('HMGET', KEYS[1], 'fence', 'bases', 'ended')
return {state[1], state[2], state[3], redis.call('GET', KEYS[2])}";

pub(crate) struct Scripts {
    put: Script,
    append: Script,
    end: Script,
    read: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            put: Script::new(PUT),
            append: Script::new(APPEND),
            end: Script::new(END),
            read: read_script(),
        }
    }

    pub(crate) fn put(&self, id: MessageId) -> ScriptInvocation<'_> {
        on(&self.put, id)
    }

    pub(crate) fn append(&self, id: MessageId) -> ScriptInvocation<'_> {
        on(&self.append, id)
    }

    pub(crate) fn read(&self, id: MessageId) -> ScriptInvocation<'_> {
        on(&self.read, id)
    }

    pub(crate) fn end(&self, id: MessageId) -> ScriptInvocation<'_> {
        on(&self.end, id)
    }
}

/// Reads an answer whole.
pub(crate) fn read_script() -> Script {
    Script::new(READ)
}

fn on(script: &Script, id: MessageId) -> ScriptInvocation<'_> {
    let mut call = script.prepare_invoke();
    call.key(state_key(id)).key(text_key(id)).key(channel(id));
    call
}

pub(crate) fn state_key(id: MessageId) -> String {
    format!("cura:answer:{{{id}}}:state")
}

pub(crate) fn text_key(id: MessageId) -> String {
    format!("cura:answer:{{{id}}}:text")
}

fn channel(id: MessageId) -> String {
    format!("cura:answer:{{{id}}}")
}

/// Where the connections of a user are told.
pub(crate) fn user_channel(user: UserId) -> String {
    format!("cura:user:{{{user}}}")
}

/// What a channel belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    Answer(MessageId),
    User(UserId),
}

impl Channel {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Answer(id) => channel(id),
            Self::User(user) => user_channel(user),
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        let user = || name.strip_prefix("cura:user:{")?.strip_suffix('}')?.parse().ok();
        id_of(name).map(Self::Answer).or_else(|| user().map(Self::User))
    }
}

/// The answer a channel belongs to.
fn id_of(channel: &str) -> Option<MessageId> {
    channel.strip_prefix("cura:answer:{")?.strip_suffix('}')?.parse().ok()
}

pub(crate) fn encode_bases(bases: &Bases) -> String {
    bases.0.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn decode_bases(text: &str) -> Bases {
    Bases(text.split(',').filter_map(|base| base.parse().ok()).collect())
}

/// The answer of a write.
pub(crate) struct Reply(pub(crate) Result<(), AppendError>);

impl FromRedisValue for Reply {
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

/// What [`read_script`] gives: nothing when Redis does not have the answer.
pub(crate) struct Whole(pub(crate) Option<Answer>);

impl FromRedisValue for Whole {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        type Row = (Option<u32>, Option<String>, Option<String>, Option<String>);
        let (fence, bases, ended, text): Row = FromRedisValue::from_redis_value(value)?;
        Ok(Self(fence.zip(text).map(|(fence, text)| Answer {
            fence: Fence(fence),
            bases: decode_bases(&bases.unwrap_or_default()),
            text,
            ended: ended.is_some(),
        })))
    }
}
