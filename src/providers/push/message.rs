//! What is pushed, in no service's format.

use cura_domain::push_text::cut;
use cura_domain::{ConversationId, MessageId};
use serde_json::{Map, Value, json};

/// What a device shows until it is read, or for how long at most.
pub(super) const LIFETIME_SECONDS: i64 = 24 * 60 * 60;

/// A message for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push<'a> {
    /// Something is shown.
    Banner(Banner<'a>),
    /// What was shown for a conversation is taken away, without a sound.
    Dismissal(Dismissal),
}

/// Something that a device shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Banner<'a> {
    /// `answer`, `answer_failed` or `test`.
    pub kind: &'static str,
    /// Which push it is: the same when it is sent again.
    pub push_id: i64,
    /// Where it leads; `None` for a test.
    pub about: Option<(ConversationId, MessageId)>,
    /// What is above the text; nothing on a lock screen that shows nothing private.
    pub title: Option<&'a str>,
    /// The text.
    pub body: &'a str,
    /// How many conversations have something unread.
    pub badge: u32,
}

/// What a device takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dismissal {
    /// Which push it is.
    pub push_id: i64,
    /// What was read, and how far.
    pub about: (ConversationId, MessageId),
    /// How many conversations still have something unread.
    pub badge: u32,
}

impl Push<'_> {
    /// What an app reads: strings, as Firebase wants them.
    pub(super) fn data(&self) -> Map<String, Value> {
        let (kind, push_id, about, badge) = match *self {
            Self::Banner(banner) => (banner.kind, banner.push_id, banner.about, banner.badge),
            Self::Dismissal(dismissal) => ("read", dismissal.push_id, Some(dismissal.about), dismissal.badge),
        };
        let mut data = Map::new();
        data.insert("type".to_owned(), json!(kind));
        data.insert("push_id".to_owned(), json!(push_id.to_string()));
        data.insert("badge".to_owned(), json!(badge.to_string()));
        if let Some((conversation, message)) = about {
            data.insert("conversation_id".to_owned(), json!(conversation.to_string()));
            data.insert("message_id".to_owned(), json!(message.to_string()));
        }
        data
    }

    /// What a newer push about the same conversation takes the place of.
    pub(super) fn tag(&self) -> Option<String> {
        let about = match *self {
            Self::Banner(banner) => banner.about,
            Self::Dismissal(dismissal) => Some(dismissal.about),
        };
        about.map(|(conversation, _)| format!("c{conversation}"))
    }
}

/// What `make` makes of the title and text of a banner, both cut between graphemes to the most characters that fit: it
/// gives `None` for what is too large. `None` if nothing is small enough.
pub(super) fn shortened<T>(banner: &Banner<'_>, make: impl Fn(Option<&str>, &str) -> Option<T>) -> Option<T> {
    if let Some(whole) = make(banner.title, banner.body) {
        return Some(whole);
    }
    let cut_to = |most: usize| {
        make(
            banner.title.map(|title| cut(title, most)).as_deref(),
            &cut(banner.body, most),
        )
    };
    let length = |text: &str| text.chars().count();
    let mut best = cut_to(0)?;
    let (mut fits, mut too_long) = (0, length(banner.body).max(banner.title.map_or(0, length)));
    while too_long - fits > 1 {
        let most = usize::midpoint(fits, too_long);
        match cut_to(most) {
            Some(made) => (best, fits) = (made, most),
            None => too_long = most,
        }
    }
    Some(best)
}
