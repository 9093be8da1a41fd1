//! The address of a conversation in the operator's app, which a push to a browser leads to.

use std::str::FromStr;

use thiserror::Error;
use url::Url;

use crate::ConversationId;

/// Where the id of the conversation stands.
const PLACEHOLDER: &str = "{conversation_id}";
/// The longest address, in bytes: a push has little room.
const MAX_LINK_BYTES: usize = 512;

/// An `https` address with a place for the id of a conversation, like `https://app.example/c/{conversation_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppLink(String);

/// Why an address is none that a push may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidAppLink {
    /// Not `https`, or no address at all.
    #[error("it must be an https address, without a user, of at most {MAX_LINK_BYTES} bytes")]
    NotHttps,
    /// There is no place for the conversation behind the host.
    #[error("it must contain {PLACEHOLDER} behind the host")]
    NoConversation,
}

impl AppLink {
    /// Reads an address.
    ///
    /// # Errors
    /// [`InvalidAppLink`] says what is wrong.
    pub fn parse(raw: &str) -> Result<Self, InvalidAppLink> {
        let read = |id: &str| {
            let url = Url::parse(&raw.replace(PLACEHOLDER, id)).map_err(|_| InvalidAppLink::NotHttps)?;
            let is_allowed = url.scheme() == "https"
                && url.username().is_empty()
                && url.password().is_none()
                && raw.len() <= MAX_LINK_BYTES
                && !raw.contains(|c: char| c.is_whitespace() || c.is_control());
            is_allowed.then_some(url).ok_or(InvalidAppLink::NotHttps)
        };
        let (one, other) = (read("1")?, read("2")?);
        // Without the placeholder both are the same, and with it in the host every conversation would be elsewhere.
        if one == other || one.origin() != other.origin() {
            return Err(InvalidAppLink::NoConversation);
        }
        Ok(Self(raw.to_owned()))
    }

    /// The address of a conversation.
    pub fn to(&self, conversation: ConversationId) -> String {
        self.0.replace(PLACEHOLDER, &conversation.to_string())
    }
}

impl FromStr for AppLink {
    type Err = InvalidAppLink;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::parse(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_conversation_by_https() {
        for (link, to) in [
            ("https://app.example/c/{conversation_id}", "https://app.example/c/7"),
            (
                "https://app.example/?c={conversation_id}&from=push",
                "https://app.example/?c=7&from=push",
            ),
            (
                "https://app.example:8443/#/{conversation_id}",
                "https://app.example:8443/#/7",
            ),
        ] {
            assert_eq!(AppLink::parse(link).unwrap().to(ConversationId(7)), to);
        }
    }

    #[test]
    fn other_schemes_and_links_without_a_conversation_are_refused() {
        for bad in [
            "",
            "app.example/{conversation_id}",
            "http://app.example/{conversation_id}",
            "javascript:alert({conversation_id})",
            "https://user@app.example/{conversation_id}",
            "https://app.example/a b/{conversation_id}",
            &format!("https://app.example/{{conversation_id}}{}", "x".repeat(MAX_LINK_BYTES)),
        ] {
            assert_eq!(AppLink::parse(bad), Err(InvalidAppLink::NotHttps), "{bad}");
        }
        for bad in [
            "https://app.example/",
            "https://app.example/{conversationId}",
            "https://{conversation_id}.app.example/",
        ] {
            assert_eq!(AppLink::parse(bad), Err(InvalidAppLink::NoConversation), "{bad}");
        }
    }
}
