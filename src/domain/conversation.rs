//! Conversations, their titles and statuses.

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::ConversationId;
use crate::model_reply;
use crate::stored_words::stored_words;
use crate::text::is_blank;

/// The longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 255;
/// The longest excerpt of the first message, in characters.
const EXCERPT_CHARS: usize = 60;

stored_words!(
    /// Whether a conversation is in the main list or archived.
    ConversationStatus {
        /// In the main list.
        Active = "active",
        /// Out of the main list, and otherwise the same.
        Archived = "archived",
    }
);

stored_words!(
    /// Where the title of a conversation comes from, which decides whether a better one may replace it.
    TitleSource {
        /// The first words of its first message, until a model suggests something better.
        Excerpt = "excerpt",
        /// A model suggested it.
        Model = "model",
        /// The user chose it: nothing replaces it but the user.
        User = "user",
    }
);

/// A conversation and whether an answer is being written in it.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The conversation.
    pub id: ConversationId,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// In the main list or archived.
    pub status: ConversationStatus,
    /// Whether nothing is pushed for it.
    pub muted: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When any of its fields changed last.
    pub updated_at: DateTime<Utc>,
    /// When the last message was stored; equals `created_at` while there is none.
    pub last_message_at: DateTime<Utc>,
    /// How many messages it has.
    pub message_count: i32,
    /// Whether an answer is queued or being written.
    pub busy: bool,
}

/// What a user changes of a conversation; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ConversationChanges {
    /// The title.
    pub title: Option<Title>,
    /// In the main list or archived.
    pub status: Option<ConversationStatus>,
    /// Whether nothing is pushed for it.
    pub muted: Option<bool>,
}

impl ConversationChanges {
    /// Whether everything stays.
    pub const fn is_empty(&self) -> bool {
        self.title.is_none() && self.status.is_none() && self.muted.is_none()
    }
}

/// A position in the list of conversations: those after it are older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPosition {
    /// `last_message_at` of the last conversation before it.
    pub last_message_at: DateTime<Utc>,
    /// Its id.
    pub id: ConversationId,
}

/// The title of a conversation: trimmed, one line, at most [`MAX_TITLE_CHARS`] characters, not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title(String);

/// Why a title is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidTitle {
    /// Nothing but white space.
    #[error("must not be blank")]
    Blank,
    /// Longer than [`MAX_TITLE_CHARS`] characters.
    #[error("must have at most {MAX_TITLE_CHARS} characters")]
    TooLong,
    /// Holds control characters.
    #[error("must not contain control characters")]
    Control,
}

impl Title {
    /// Checks a title that a user chose.
    ///
    /// # Errors
    /// [`InvalidTitle`] names the rule it breaks.
    pub fn new(raw: &str) -> Result<Self, InvalidTitle> {
        let title = raw.trim();
        if is_blank(title) && !title.chars().any(char::is_control) {
            return Err(InvalidTitle::Blank);
        }
        if title.chars().any(char::is_control) {
            return Err(InvalidTitle::Control);
        }
        if title.chars().nth(MAX_TITLE_CHARS).is_some() {
            return Err(InvalidTitle::TooLong);
        }
        Ok(Self(title.to_owned()))
    }

    /// An excerpt of the first message: its first words, on one line, at most 60 characters.
    pub fn excerpt(first_message: &str) -> Self {
        let mut title = String::new();
        let mut chars = 0;
        for word in first_message
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
        {
            let length = word.chars().count();
            if chars == 0 && length > EXCERPT_CHARS {
                title.extend(word.chars().take(EXCERPT_CHARS));
                title.push('…');
                break;
            }
            if chars > 0 && chars + 1 + length > EXCERPT_CHARS {
                title.push('…');
                break;
            }
            if chars > 0 {
                title.push(' ');
                chars += 1;
            }
            title.push_str(word);
            chars += length;
        }
        Self(title)
    }

    /// The title in a model's reply, without what is around it, shortened like [`Self::excerpt`]; `None` when there is none.
    /// `is_whole`: whether the model finished the reply.
    pub fn suggested(reply: &str, is_whole: bool) -> Option<Self> {
        let title = Self::excerpt(&model_reply::title(reply, is_whole)?);
        (!is_blank(&title.0)).then_some(title)
    }

    /// The title.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_title_is_shortened() {
        let suggested = |reply| Title::suggested(reply, true).map(|title| title.0);
        assert_eq!(
            suggested("Title: **Angst vor Montag**"),
            Some("Angst vor Montag".to_owned())
        );
        let long = suggested("Why nobody in this family ever talks about what happened in May").unwrap();
        assert_eq!(long, "Why nobody in this family ever talks about what happened in…");
        assert_eq!(suggested(" \n \"\" "), None);
    }

    #[test]
    fn an_excerpt_is_one_line_of_whole_words() {
        assert_eq!(Title::excerpt(" I cannot\n\nsleep\t ").as_str(), "I cannot sleep");
        let long = Title::excerpt(&"word ".repeat(50));
        assert!(long.as_str().ends_with("word…") && long.as_str().chars().count() <= EXCERPT_CHARS + 1);
    }

    #[test]
    fn a_single_long_word_is_cut_inside() {
        assert_eq!(
            Title::excerpt(&"ü".repeat(500)).as_str().chars().count(),
            EXCERPT_CHARS + 1
        );
    }

    #[test]
    fn a_chosen_title_is_checked() {
        assert_eq!(Title::new("  "), Err(InvalidTitle::Blank));
        assert_eq!(Title::new("a\nb"), Err(InvalidTitle::Control));
        assert_eq!(Title::new(&"x".repeat(256)), Err(InvalidTitle::TooLong));
        assert!(Title::new(&"👋".repeat(255)).is_ok());
    }
}
