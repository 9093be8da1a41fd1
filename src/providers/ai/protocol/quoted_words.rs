//! Whether a provider's error repeats what a person wrote: then its words say nothing about the provider.

use std::collections::HashSet;

use cura_domain::message::Role;

use crate::ai::prompt::Prompt;

/// Repeating this many bytes of a message in a row is no accident. A shorter message is quoted when it is there as a whole.
const QUOTED_BYTES: usize = 20;
/// How much of an error's text is looked at, in bytes.
const MAX_ERROR_BYTES: usize = 4096;

/// Whether `error` repeats a person's or the model's words in `prompt`, however they are spaced, spelled and punctuated.
pub(crate) fn quotes(error: &str, prompt: &Prompt) -> bool {
    let error = plain(error.get(..error.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or(error));
    let runs: HashSet<&[u8]> = error.as_bytes().windows(QUOTED_BYTES).collect();
    let said = prompt.messages.iter().filter(|message| message.role != Role::System);
    said.map(|message| &*message.content)
        .chain([&*prompt.written])
        .map(plain)
        .filter(|said| !said.trim().is_empty())
        .any(|said| match said.len() {
            ..QUOTED_BYTES => error.contains(&said),
            _ => said.as_bytes().windows(QUOTED_BYTES).any(|run| runs.contains(run)),
        })
}

/// The words of a text in lower case, with one space around each.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 2);
    plain.push(' ');
    for char in text.chars() {
        if char.is_alphanumeric() {
            plain.extend(char.to_lowercase());
        } else if !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    if !plain.ends_with(' ') {
        plain.push(' ');
    }
    plain
}

#[cfg(test)]
mod tests {
    use cura_domain::prompt::PromptMessage;

    use super::*;

    fn prompt(said: &str) -> Prompt {
        let message = |role, content: &str| PromptMessage {
            role,
            content: content.to_owned(),
        };
        Prompt {
            messages: vec![
                message(Role::System, "You answer whoever writes to you, whatever they write."),
                message(Role::User, said),
            ],
            max_output_tokens: None,
            written: String::new(),
        }
    }

    #[test]
    fn a_run_of_a_persons_words_is_a_quotation_however_it_is_spelled() {
        let said = "They told me: \u{201c}Your Credit  Balance is too low\u{201d}, and I am afraid.";
        for error in [
            "invalid input: They told me: \"Your credit balance is too low\"",
            "cannot process YOUR CREDIT\nBALANCE IS TOO LOW here",
        ] {
            assert!(quotes(error, &prompt(said)), "{error}");
        }
        let own = "Your quota has run out. Please go to Plans & Billing.";
        assert!(!quotes(own, &prompt(said)));
        assert!(!quotes(
            "You answer whoever writes to you, whatever they write.",
            &prompt(said)
        ));
    }

    #[test]
    fn a_short_message_is_quoted_when_it_is_there_as_a_whole() {
        assert!(quotes("bad input: API key!", &prompt("api key")));
        assert!(!quotes("bad input: API keys", &prompt("api key")));
        assert!(!quotes("bad input", &prompt(" ?! ")));
    }
}
