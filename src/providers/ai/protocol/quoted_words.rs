//! Whether a provider's error repeats what a person wrote: then its words say nothing about the provider.

use std::borrow::Cow;
use std::collections::HashMap;

use cura_domain::prompt::Takes;

use crate::ai::prompt::Prompt;

/// Repeating this many bytes of a message in a row is no accident. A shorter message is quoted when it is there as a whole.
const QUOTED_BYTES: usize = 20;

/// What `error` says in words of its own: in lower case, with one space around each word, and without what it repeats of
/// `prompt`, however they are spaced, spelled and punctuated.
pub(crate) fn beside_quotations(error: &str, prompt: &Prompt) -> String {
    let error = plain(error);
    // The system's messages hold what people said, too: their names, and summaries.
    let texts = prompt.messages.iter().map(|message| message.text(Takes::ALL));
    let said = texts.chain([Cow::Borrowed(&*prompt.written)]);
    let mut quoted = vec![false; error.len()];
    let mut mark = |at: usize, length: usize| {
        quoted.iter_mut().skip(at).take(length).for_each(|byte| *byte = true);
    };
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, run) in error.as_bytes().windows(QUOTED_BYTES).enumerate() {
        places.entry(run).or_default().push(at);
    }
    for said in said.map(|said| plain(&said)).filter(|said| !said.trim().is_empty()) {
        if said.len() < QUOTED_BYTES {
            error.match_indices(&said).for_each(|(at, _)| mark(at, said.len()));
        }
        for run in said.as_bytes().windows(QUOTED_BYTES) {
            let at = places.remove(run).unwrap_or_default();
            at.into_iter().for_each(|at| mark(at, QUOTED_BYTES));
        }
    }
    let own = error.char_indices().zip(quoted_characters(&error, &quoted));
    plain(
        &own.map(|((_, char), quoted)| if quoted { ' ' } else { char })
            .collect::<String>(),
    )
}

/// For each character, whether one of its bytes is quoted.
fn quoted_characters(error: &str, quoted: &[bool]) -> Vec<bool> {
    let bytes = |(at, char): (usize, char)| quoted.iter().skip(at).take(char.len_utf8()).any(|&byte| byte);
    error.char_indices().map(bytes).collect()
}

/// The words of a text in lower case, with one space around each.
pub(crate) fn plain(text: &str) -> String {
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
    use cura_domain::message::Role;
    use cura_domain::prompt::PromptMessage;

    use super::*;

    fn prompt(said: &str) -> Prompt {
        let system = "Be kind. They are called \"Your quota has run out\".";
        let messages = vec![
            PromptMessage::plain(Role::System, system),
            PromptMessage::plain(Role::User, said),
        ];
        Prompt::of_text(messages, None)
    }

    #[test]
    fn a_run_of_a_persons_words_is_a_quotation_however_it_is_spelled() {
        let said = "They told me: \u{201c}Your Credit  Balance is too low\u{201d}, and I am afraid.";
        for error in [
            "invalid input: They told me: \"Your credit balance is too low\"",
            "cannot process YOUR CREDIT\nBALANCE IS TOO LOW here",
        ] {
            assert!(!beside_quotations(error, &prompt(said)).contains("balance"), "{error}");
        }
        let own = "Your credit is used up. Please go to Plans & Billing.";
        assert_eq!(beside_quotations(own, &prompt(said)), plain(own));
        let of_the_system = "no: They are called \"Your quota has run out\"";
        assert_eq!(beside_quotations(of_the_system, &prompt(said)), " no ");
    }

    #[test]
    fn what_is_said_beside_a_quotation_is_left() {
        let said = "Is it true that max_tokens is not supported by anybody, Ünal?";
        let error = format!("unsupported parameter stream_options in: {said} (end)");
        assert_eq!(
            beside_quotations(&error, &prompt(said)),
            " unsupported parameter stream options in end "
        );
    }

    #[test]
    fn a_short_message_is_quoted_when_it_is_there_as_a_whole() {
        assert_eq!(
            beside_quotations("bad input: API key!", &prompt("api key")),
            " bad input "
        );
        assert_eq!(
            beside_quotations("bad input: API keys", &prompt("api key")),
            " bad input api keys "
        );
        assert_eq!(beside_quotations("bad input", &prompt(" ?! ")), " bad input ");
    }
}
