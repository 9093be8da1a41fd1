//! What the model is given.

use std::fmt;

use cura_domain::message::Role;
use cura_domain::prompt::PromptMessage;

use super::token_counter::TokenCounter;

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

impl Prompt {
    /// Its tokens, the written text included, by an estimate that is the same for every model.
    pub(crate) fn estimated_tokens(&self) -> usize {
        let count = |text: &str| TokenCounter::estimate().count(text);
        let messages: usize = self.messages.iter().map(|message| count(&message.content)).sum();
        messages + count(&self.written)
    }

    /// The prompt without its oldest messages, of at most so many tokens if the system's messages and the last one leave room:
    /// these are always kept. It never begins with an answer whose question was left out. `None` if nothing can be left out.
    pub(crate) fn cut_to(&self, tokens: usize) -> Option<Self> {
        let count = |message: &PromptMessage| TokenCounter::estimate().count(&message.content);
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
            max_output_tokens: self.max_output_tokens,
            written: self.written.clone(),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(messages: &[(Role, usize)]) -> Prompt {
        let message = |&(role, tokens): &(Role, usize)| PromptMessage {
            role,
            content: "word".repeat(tokens),
        };
        Prompt {
            messages: messages.iter().map(message).collect(),
            max_output_tokens: None,
            written: String::new(),
        }
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
        assert_eq!(long.estimated_tokens(), 155);
        let lengths = |tokens| {
            long.cut_to(tokens)
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
        assert_eq!(prompt(&[(system, 10), (user, 50)]).cut_to(0), None);
        assert_eq!(prompt(&[]).cut_to(0), None);
    }
}
