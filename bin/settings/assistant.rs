//! Who the assistant is, and how much of a conversation it is shown.

use std::path::PathBuf;

use cura_domain::prompt::PERSONA;

use super::variables::{SettingError, Variables, read_file, wrong};

/// Section "Assistant".
#[derive(Debug, Clone)]
pub struct AssistantSettings {
    /// `AI_CONTEXT_TOKENS`
    pub context_tokens: usize,
    /// `AI_PERSONA_FILE`
    pub persona_file: Option<PathBuf>,
    /// `AI_TITLES`
    pub titles: bool,
}

impl AssistantSettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            context_tokens: from.within("AI_CONTEXT_TOKENS", 16_000, 500..=10_000_000),
            persona_file: from.text("AI_PERSONA_FILE").map(PathBuf::from),
            titles: from.parsed("AI_TITLES", true),
        }
    }

    /// The operator's persona, else the built-in one.
    ///
    /// # Errors
    /// When the operator's file cannot be read or is empty.
    pub fn persona(&self) -> Result<String, SettingError> {
        let persona = match &self.persona_file {
            None => PERSONA.to_owned(),
            Some(path) => read_file("AI_PERSONA_FILE", path)?,
        };
        if persona.trim().is_empty() {
            return Err(wrong("AI_PERSONA_FILE", "is an empty file"));
        }
        Ok(persona)
    }
}
