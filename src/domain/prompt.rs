//! The prompt: what the model is told, assembled from a conversation without any I/O.

use crate::message::Role;

/// How Cura speaks, until an operator says otherwise.
pub const PERSONA: &str = "You are Cura, a warm and attentive companion. People come to you when they are not well. \
Listen first, answer plainly and kindly, keep it short unless asked for more, never invent facts about the person, \
and say clearly when something needs a doctor or emergency help. You are not a replacement for professional care.";

/// How much history a prompt may carry, in UTF-8 bytes: about 8,000 tokens of English, which every model we know takes.
pub const MAX_HISTORY_BYTES: usize = 32 * 1024;

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What the model is told: the persona, then the conversation, oldest first, ending with the message to answer.
///
/// `newest_first` starts with the message to answer, which is always kept; older ones are kept whole while they fit
/// into [`MAX_HISTORY_BYTES`], and the history never begins with an answer whose question was left out.
pub fn assemble(newest_first: impl IntoIterator<Item = PromptMessage>) -> Vec<PromptMessage> {
    let mut kept: Vec<PromptMessage> = Vec::new();
    let mut bytes = 0;
    for message in newest_first {
        bytes += message.content.len();
        if !kept.is_empty() && bytes > MAX_HISTORY_BYTES {
            break;
        }
        kept.push(message);
    }
    while kept.len() > 1 && kept.last().is_some_and(|oldest| oldest.role == Role::Assistant) {
        kept.pop();
    }
    kept.push(PromptMessage {
        role: Role::System,
        content: PERSONA.to_owned(),
    });
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(role: Role, content: impl Into<String>) -> PromptMessage {
        PromptMessage {
            role,
            content: content.into(),
        }
    }

    #[test]
    fn the_persona_comes_first_and_the_question_last() {
        let prompt = assemble([say(Role::User, "c"), say(Role::Assistant, "b"), say(Role::User, "a")]);
        let contents: Vec<_> = prompt.iter().skip(1).map(|m| m.content.as_str()).collect();
        assert_eq!(prompt[0].role, Role::System);
        assert_eq!(contents, ["a", "b", "c"]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_by_whole_turns() {
        let big = "x".repeat(MAX_HISTORY_BYTES - 1);
        let prompt = assemble([say(Role::User, "now"), say(Role::Assistant, "ok"), say(Role::User, big)]);
        assert_eq!(prompt.len(), 2, "the old question does not fit, so its answer goes too");
    }

    #[test]
    fn the_question_is_kept_however_long() {
        let prompt = assemble([say(Role::User, "x".repeat(MAX_HISTORY_BYTES * 2))]);
        assert_eq!(prompt.len(), 2);
    }
}
