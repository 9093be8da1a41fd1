//! What the model is given.

use std::fmt;

use cura_domain::prompt::PromptMessage;

/// What the model is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The conversation, oldest first.
    pub messages: Vec<PromptMessage>,
    /// The longest answer wanted, in the provider's tokens; `None` leaves it to the provider.
    pub max_output_tokens: Option<u32>,
    /// The part of the answer that exists already: the completion contains only what follows it. Empty for a new answer.
    pub written: String,
}

/// Shows sizes only: the text of messages must not reach logs.
impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt")
            .field("messages", &self.messages.len())
            .field("max_output_tokens", &self.max_output_tokens)
            .field("written_bytes", &self.written.len())
            .finish()
    }
}
