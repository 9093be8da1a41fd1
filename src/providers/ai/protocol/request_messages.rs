//! The messages of a request, in the form that every protocol accepts.

use std::borrow::Cow;

use cura_domain::message::Role;

use crate::ai::continuation::ContinuationMode;
use crate::ai::encoded_files::EncodedFile;
use crate::ai::prompt::Prompt;
use crate::ai::request_form::RequestForm;

/// The message that asks a model to continue its own last message.
const CONTINUE: &str = "Your last message was cut off. Continue it exactly where it ends: no introduction, no repetition, \
no comment; begin with the very next character.";

/// A message of the request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestMessage<'a> {
    pub(crate) role: Role,
    pub(crate) content: Cow<'a, str>,
    /// What goes before the text.
    pub(crate) files: Vec<&'a EncodedFile>,
}

/// The messages of a request for `prompt`, or for its continuation. None is blank, and no two in a row have the same role:
/// many models' templates, and Anthropic's interface, require that roles alternate.
pub(crate) fn request_messages<'a>(prompt: &'a Prompt, form: &RequestForm) -> Vec<RequestMessage<'a>> {
    let role = |role| match role {
        Role::System if form.system_as_user => Role::User,
        role => role,
    };
    let takes = form.takes();
    let conversation = prompt.messages.iter().map(|message| {
        let files = message.beside_text(takes);
        let files = files.filter_map(|file| prompt.files.get(file.file.id)).collect();
        RequestMessage {
            role: role(message.role),
            content: message.text(takes),
            files,
        }
    });
    // Anthropic refuses trailing white space in an unfinished message, and it changes the tokens for other models.
    let unfinished = (Role::Assistant, prompt.written.trim_end());
    let more: &[(Role, &str)] = match form.continuation {
        None => &[],
        Some(ContinuationMode::Prefill) => &[unfinished],
        Some(ContinuationMode::Prompt) => &[(Role::Assistant, &prompt.written), (Role::User, CONTINUE)],
    };
    let more = more.iter().map(|(role, content)| RequestMessage {
        role: *role,
        content: Cow::Borrowed(*content),
        files: Vec::new(),
    });
    let mut messages: Vec<RequestMessage<'_>> = Vec::new();
    for mut message in conversation.chain(more) {
        if message.content.trim().is_empty() {
            continue;
        }
        match messages.last_mut().filter(|last| last.role == message.role) {
            Some(last) => {
                let content = format!("{}\n\n{}", last.content, message.content);
                last.content = Cow::Owned(content);
                last.files.append(&mut message.files);
            }
            None => messages.push(message),
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use cura_domain::prompt::PromptMessage;

    use super::*;

    fn prompt(messages: &[(Role, &str)], written: &str) -> Prompt {
        let message = |&(role, content): &(Role, &str)| PromptMessage::plain(role, content);
        Prompt {
            written: written.to_owned(),
            ..Prompt::of_text(messages.iter().map(message).collect(), None)
        }
    }

    fn sent(prompt: &Prompt, continuation: Option<ContinuationMode>) -> Vec<(Role, String)> {
        let form = RequestForm {
            continuation,
            ..RequestForm::default()
        };
        request_messages(prompt, &form)
            .into_iter()
            .map(|message| (message.role, message.content.into_owned()))
            .collect()
    }

    #[test]
    fn messages_of_the_same_role_are_joined() {
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
            sent(&prompt, None),
            [(Role::System, "s".to_owned()), (Role::User, "a\n\nb".to_owned())]
        );
    }

    #[test]
    fn without_a_system_its_messages_begin_the_persons_first_one() {
        let prompt = prompt(&[(Role::System, "s"), (Role::User, "a"), (Role::Assistant, "b")], "");
        let form = RequestForm {
            system_as_user: true,
            ..RequestForm::default()
        };
        let messages = request_messages(&prompt, &form);
        let sent = messages.iter().map(|message| (message.role, &*message.content));
        assert_eq!(
            sent.collect::<Vec<_>>(),
            [(Role::User, "s\n\na"), (Role::Assistant, "b")]
        );
    }

    #[test]
    fn an_unfinished_answer_is_prefilled_or_followed_by_a_request_to_continue() {
        let prompt = prompt(&[(Role::User, "a")], "I am ");
        assert_eq!(
            sent(&prompt, Some(ContinuationMode::Prefill)),
            [(Role::User, "a".to_owned()), (Role::Assistant, "I am".to_owned())]
        );
        assert_eq!(
            sent(&prompt, Some(ContinuationMode::Prompt)),
            [
                (Role::User, "a".to_owned()),
                (Role::Assistant, "I am ".to_owned()),
                (Role::User, CONTINUE.to_owned())
            ]
        );
    }
}
