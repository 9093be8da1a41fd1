//! Crisis notices: the help that is shown beside an answer when the words of its question point to danger.

use serde::{Deserialize, Serialize};

/// Help that is shown beside an answer, in the user's language where possible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The kind of danger, like `suicide_or_self_harm`.
    pub kind: String,
    /// A short heading.
    pub title: String,
    /// A few sentences.
    pub text: String,
    /// Where to find help: emergency numbers first, then services that listen.
    pub resources: Vec<Resource>,
}

/// A service that helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Its numbers, or how else to reach it, in words.
    pub contact: String,
    /// Its web page, always https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A notice as it was read from the database. An unreadable one is never dropped: the general notice of the care rules is
/// shown instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredNotice {
    /// The notice.
    Readable(Notice),
    /// The stored value is not a notice.
    Unreadable,
}
