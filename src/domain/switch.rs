//! What operators can switch off without a deploy.

use std::fmt;

use serde::Serialize;

/// What can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Registering.
    Registration,
    /// Uploading files and avatars. An upload in parts that has begun goes on.
    Uploads,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Registration, Self::Uploads];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Uploads => "uploads",
        }
    }

    /// What is stored as `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|switch| switch.as_str() == word)
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
