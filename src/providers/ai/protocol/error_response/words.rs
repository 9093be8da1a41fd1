//! The words of an error, as far as they may be believed.

use super::stated::Stated;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::quoted_words::{beside_quotations, plain};

/// What an error says in its own words, in the form of [`plain`].
pub(super) struct Words {
    /// Believed where they only concern the asker.
    own: String,
    /// Believed of everybody: not where the prompt is unknown, whose words may be repeated.
    of_everybody: String,
}

impl Words {
    /// The words of an error that was sent instead of an answer to `prompt`, or within one (`None`).
    pub(super) fn of(stated: &Stated, prompt: Option<&Prompt>) -> Self {
        match prompt {
            _ if stated.text.is_empty() => Self {
                own: String::new(),
                of_everybody: String::new(),
            },
            Some(prompt) => {
                let own = beside_quotations(&stated.text, prompt);
                Self {
                    of_everybody: own.clone(),
                    own,
                }
            }
            None => Self {
                own: plain(&stated.text),
                of_everybody: String::new(),
            },
        }
    }

    /// Whether one of these phrases is said. They are written as [`plain`] writes them, and concern only the asker.
    pub(super) fn say(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.own.contains(phrase))
    }

    /// Whether one of these phrases is said of everybody.
    pub(super) fn say_of_everybody(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.of_everybody.contains(phrase))
    }
}
