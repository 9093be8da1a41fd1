//! The names of keys and channels. All keys of an answer, and of a user, share a hash tag, so a Redis Cluster keeps them
//! on one node.

use cura_domain::{MessageId, UserId};

/// The hash with an answer's fence, attempt offsets and end.
pub(crate) fn state_key(id: MessageId) -> String {
    format!("cura:answer:{{{id}}}:state")
}

/// The string with an answer's text.
pub(crate) fn text_key(id: MessageId) -> String {
    format!("cura:answer:{{{id}}}:text")
}

/// The sorted set of a user's watchers, with the second until which each counts.
pub(crate) fn presence_key(user: UserId) -> String {
    format!("cura:user:{{{user}}}:present")
}

/// The sorted set of a user's watchers that have left in order, with the second of it.
pub(crate) fn closed_key(user: UserId) -> String {
    format!("cura:user:{{{user}}}:closed")
}

/// The sorted set of the watchers at the end of an answer, with the second in which each was seen first.
pub(crate) fn ended_key(user: UserId, answer: MessageId) -> String {
    format!("cura:user:{{{user}}}:ended:{answer}")
}

/// How all keys of a user begin, but for the counters of rate limits.
pub(crate) fn user_keys_begin(user: UserId) -> String {
    format!("cura:user:{{{user}}}:")
}

/// The answer whose text is kept under this key.
pub(crate) fn text_of_key(key: &str) -> Option<MessageId> {
    key.strip_prefix("cura:answer:{")?.strip_suffix("}:text")?.parse().ok()
}

/// How the counters of all rate limits begin.
pub(crate) const LIMIT_KEYS_BEGIN: &str = "cura:limit:";

/// The counter of one key of a rate limit.
pub(crate) fn limit_key(name: &str, key: &str) -> String {
    format!("{LIMIT_KEYS_BEGIN}{name}:{key}")
}

/// A channel on which changes are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// Changes of an answer's text: [`TextMessage`](super::text_message::TextMessage).
    Text(MessageId),
    /// Signals for a user's connections: [`Signal`](crate::Signal).
    User(UserId),
    /// What a process publishes to itself, to know that publications arrive.
    Echo(u64),
}

impl Channel {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Text(id) => format!("cura:answer:{{{id}}}"),
            Self::User(user) => format!("cura:user:{{{user}}}"),
            Self::Echo(process) => format!("cura:echo:{{{process}}}"),
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let id = |prefix| name.strip_prefix(prefix)?.strip_suffix('}');
        let text = id("cura:answer:{").and_then(|id| id.parse().ok()).map(Self::Text);
        let user = || id("cura:user:{")?.parse().ok().map(Self::User);
        let echo = || id("cura:echo:{")?.parse().ok().map(Self::Echo);
        text.or_else(user).or_else(echo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_round_trips_and_other_names_are_refused() {
        for channel in [
            Channel::Text(MessageId(7)),
            Channel::User(UserId(8)),
            Channel::Echo(u64::MAX),
        ] {
            assert_eq!(Channel::parse(&channel.name()), Some(channel));
        }
        for other in [
            "",
            "cura:answer:{}",
            "cura:user:{x}",
            "cura:answer:{7}:text",
            "elsewhere",
        ] {
            assert_eq!(Channel::parse(other), None, "{other}");
        }
    }
}
