//! What is said to the model, turn by turn, the way every dialect can send it.

use std::borrow::Cow;

use cura_domain::message::Role;

use crate::ai::Prompt;

/// What a model is told when it cannot simply go on with its own last message.
const GO_ON: &str = "Your last message was cut off. Continue it exactly where it ends: no introduction, no repetition, \
no comment; begin with the very next character.";

/// How the answer is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From nothing.
    Begin,
    /// The model goes on with its own last message.
    Prefill,
    /// The model is asked to go on.
    Prompt,
}

/// One side's say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn<'a> {
    pub(crate) role: Role,
    pub(crate) content: Cow<'a, str>,
}

/// The prompt as turns: nothing blank, and never two of the same side in a row, because many models' templates, and
/// Anthropic's interface, demand that sides alternate.
pub(crate) fn turns(prompt: &Prompt, way: Way) -> Vec<Turn<'_>> {
    let said = prompt.messages.iter().map(|message| (message.role, &*message.content));
    // Trailing white space in an unfinished message is refused by Anthropic, and confuses the tokens of others.
    let unfinished = (Role::Assistant, prompt.written.trim_end());
    let more: &[(Role, &str)] = match way {
        Way::Begin => &[],
        Way::Prefill => &[unfinished],
        Way::Prompt => &[(Role::Assistant, &prompt.written), (Role::User, GO_ON)],
    };
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (role, content) in said.chain(more.iter().copied()) {
        if content.trim().is_empty() {
            continue;
        }
        match turns.last_mut().filter(|last| last.role == role) {
            Some(last) => {
                let content = format!("{}\n\n{content}", last.content);
                last.content = Cow::Owned(content);
            }
            None => turns.push(Turn {
                role,
                content: Cow::Borrowed(content),
            }),
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use cura_domain::prompt::PromptMessage;

    use super::*;

    fn prompt(messages: &[(Role, &str)], written: &str) -> Prompt {
        let message = |&(role, content): &(Role, &str)| PromptMessage {
            role,
            content: content.to_owned(),
        };
        Prompt {
            messages: messages.iter().map(message).collect(),
            max_output_tokens: None,
            written: written.to_owned(),
        }
    }

    fn said(prompt: &Prompt, way: Way) -> Vec<(Role, String)> {
        let turns = turns(prompt, way);
        turns
            .into_iter()
            .map(|turn| (turn.role, turn.content.into_owned()))
            .collect()
    }

    #[test]
    fn one_side_says_everything_at_once() {
        let prompt = prompt(
            &[
                (Role::System, "s"),
                (Role::User, "a"),
                (Role::Assistant, " "),
                (Role::User, "b"),
            ],
            "",
        );
        assert_eq!(
            said(&prompt, Way::Begin),
            [(Role::System, "s".to_owned()), (Role::User, "a\n\nb".to_owned())]
        );
    }

    #[test]
    fn an_unfinished_answer_is_put_in_the_models_mouth_or_shown_to_it() {
        let prompt = prompt(&[(Role::User, "a")], "I am ");
        assert_eq!(
            said(&prompt, Way::Prefill),
            [(Role::User, "a".to_owned()), (Role::Assistant, "I am".to_owned())]
        );
        assert_eq!(
            said(&prompt, Way::Prompt),
            [
                (Role::User, "a".to_owned()),
                (Role::Assistant, "I am ".to_owned()),
                (Role::User, GO_ON.to_owned())
            ]
        );
    }
}
