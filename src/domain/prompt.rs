//! The prompt: what the model is told, assembled from a conversation without any I/O.

use crate::message::Role;

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}
