//! What the model is given.

use std::fmt;

use cura_domain::message::Role;
use cura_domain::prompt::{PromptMessage, Takes};
use cura_domain::token_estimate;

use super::encoded_files::EncodedFiles;
use super::token_counter::TokenCounter;

const PICTURES: Takes = Takes {
    pictures: true,
    pdfs: false,
};
const PDFS: Takes = Takes {
    pictures: false,
    pdfs: true,
};

/// What the model is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The conversation, oldest first.
    pub messages: Vec<PromptMessage>,
    /// The bytes of what goes beside their text.
    pub files: EncodedFiles,
    /// The longest answer wanted, in the provider's tokens; `None` leaves it to the provider.
    pub max_output_tokens: Option<u32>,
    /// The part of the answer that exists already: the completion contains only what follows it. Empty for a new answer.
    pub written: String,
}

impl Prompt {
    /// A prompt of text alone, for a new answer.
    pub fn of_text(messages: Vec<PromptMessage>, max_output_tokens: Option<u32>) -> Self {
        Self {
            messages,
            files: EncodedFiles::default(),
            max_output_tokens,
            written: String::new(),
        }
    }

    /// What goes beside its text.
    pub(crate) fn holds(&self) -> Takes {
        let any = |takes| {
            self.messages
                .iter()
                .any(|message| message.beside_text(takes).next().is_some())
        };
        Takes {
            pictures: any(PICTURES),
            pdfs: any(PDFS),
        }
    }

    /// Whether it has the bytes of everything that goes beside its text.
    pub(crate) fn carries(&self) -> Takes {
        let has_all = |takes| {
            let mut files = self.messages.iter().flat_map(|message| message.beside_text(takes));
            files.all(|file| self.files.contains(file.file.id))
        };
        Takes {
            pictures: has_all(PICTURES),
            pdfs: has_all(PDFS),
        }
    }

    /// The tokens of what goes beside its text and is left out for a model that takes this.
    pub(crate) fn tokens_left_out(&self, takes: Takes) -> usize {
        let tokens = |takes| {
            let messages = self.messages.iter();
            messages.map(|message| message.tokens_beside_text(takes)).sum::<usize>()
        };
        tokens(Takes::ALL).saturating_sub(tokens(takes))
    }

    /// The prompt with what goes beside the text of its last message, and of no earlier one. `None` if it is so already.
    pub(crate) fn with_files_of_last(&self, takes: Takes) -> Option<Self> {
        let (_, earlier) = self.messages.split_last()?;
        earlier
            .iter()
            .find(|message| message.beside_text(takes).next().is_some())?;
        let mut fewer = self.clone();
        if let Some((_, earlier)) = fewer.messages.split_last_mut() {
            earlier
                .iter_mut()
                .for_each(|message| message.leave_out_beside_text(takes));
        }
        Some(fewer)
    }

    /// The tokens of its text for a model that takes this beside it, the written text included, by an estimate that is the same for
    /// every model.
    pub(crate) fn estimated_tokens(&self, takes: Takes) -> usize {
        let messages: usize = self.messages.iter().map(|message| estimate(message, takes)).sum();
        messages + TokenCounter::estimate().count(&self.written)
    }

    /// The prompt without its oldest messages, of at most so many tokens if the system's messages and the last one leave room:
    /// these are always kept. It never begins with an answer whose question was left out. Of the last one, the documents are shortened
    /// then, and at last what goes beside its text is left out. `None` if nothing can be left out.
    pub(crate) fn cut_to(&self, tokens: usize, takes: Takes) -> Option<Self> {
        self.without_oldest(tokens, takes)
            .or_else(|| self.with_less_of_documents(tokens, takes))
            .or_else(|| self.without_files_beside_text(takes))
    }

    fn with_less_of_documents(&self, tokens: usize, takes: Takes) -> Option<Self> {
        let documents: usize = self.messages.iter().map(PromptMessage::document_bytes).sum();
        if documents == 0 {
            return None;
        }
        let documents = token_estimate::estimate(documents).max(1);
        let others = self.estimated_tokens(takes).saturating_sub(documents);
        let percent = (tokens.saturating_sub(others) * 100 / documents).min(90);
        let mut shorter = self.clone();
        for message in &mut shorter.messages {
            message.shorten_documents(percent);
        }
        Some(shorter)
    }

    fn without_files_beside_text(&self, takes: Takes) -> Option<Self> {
        let holds = self.holds();
        if !(holds.pictures && takes.pictures || holds.pdfs && takes.pdfs) {
            return None;
        }
        let mut shorter = self.clone();
        for message in &mut shorter.messages {
            message.leave_out_beside_text(takes);
        }
        Some(shorter)
    }

    fn without_oldest(&self, tokens: usize, takes: Takes) -> Option<Self> {
        let count = |message: &PromptMessage| estimate(message, takes);
        let system = self.messages.iter().take_while(|message| message.role == Role::System);
        let system: Vec<PromptMessage> = system.cloned().collect();
        let conversation = self.messages.get(system.len()..).unwrap_or_default();
        let mut total = system.iter().map(count).sum::<usize>() + TokenCounter::estimate().count(&self.written);
        let mut first = conversation.len();
        for (at, message) in conversation.iter().enumerate().rev() {
            total += count(message);
            if total > tokens && first < conversation.len() {
                break;
            }
            first = at;
        }
        let kept = conversation.get(first..).unwrap_or_default();
        let answers = kept
            .iter()
            .take_while(|message| message.role == Role::Assistant)
            .count();
        let kept = kept
            .get(answers.min(kept.len().saturating_sub(1))..)
            .unwrap_or_default();
        (kept.len() < conversation.len()).then(|| Self {
            messages: system.into_iter().chain(kept.iter().cloned()).collect(),
            files: self.files.clone(),
            max_output_tokens: self.max_output_tokens,
            written: self.written.clone(),
        })
    }
}

fn estimate(message: &PromptMessage, takes: Takes) -> usize {
    TokenCounter::estimate().count(&message.text(takes))
}

/// Shows sizes only: the text of messages must not reach logs.
impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt")
            .field("messages", &self.messages.len())
            .field("files", &self.files)
            .field("max_output_tokens", &self.max_output_tokens)
            .field("written_bytes", &self.written.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(messages: &[(Role, usize)]) -> Prompt {
        let message = |&(role, tokens): &(Role, usize)| PromptMessage::plain(role, "word".repeat(tokens));
        Prompt::of_text(messages.iter().map(message).collect(), None)
    }

    #[test]
    fn the_oldest_messages_go_first_and_the_last_one_never() {
        let (system, user, assistant) = (Role::System, Role::User, Role::Assistant);
        let long = prompt(&[
            (system, 10),
            (user, 50),
            (assistant, 40),
            (user, 30),
            (assistant, 20),
            (user, 5),
        ]);
        assert_eq!(long.estimated_tokens(Takes::ALL), 155);
        let lengths = |tokens| {
            long.cut_to(tokens, Takes::ALL)
                .map(|cut| cut.messages.iter().map(|m| m.content.len() / 4).collect())
        };
        assert_eq!(lengths(155), None::<Vec<_>>);
        assert_eq!(
            lengths(154),
            Some(vec![10, 30, 20, 5]),
            "an answer goes with its question"
        );
        assert_eq!(lengths(64), Some(vec![10, 5]));
        assert_eq!(lengths(0), Some(vec![10, 5]));
        assert_eq!(prompt(&[(system, 10), (user, 50)]).cut_to(0, Takes::ALL), None);
        assert_eq!(prompt(&[]).cut_to(0, Takes::ALL), None);
    }
}
