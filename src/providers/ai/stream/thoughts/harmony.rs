//! The channels of OpenAI's open models (harmony): `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`.
//! Only the final channel is for the person. Some servers drop the control tokens and leave the words between them.

use super::tags::{Match, compare};

/// The longest header that is taken for one, in bytes.
const MAX_HEADER_BYTES: usize = 256;
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const START: &str = "<|start|>";
const END: &str = "<|end|>";
/// What ends a message.
const ENDS: [&str; 3] = [END, "<|return|>", "<|call|>"];

/// What follows a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// What the person reads.
    Final,
    /// Anything else: thoughts, and calls of tools, of which the model has none here.
    Other,
}

/// The header that `held` is or begins: from the end of the message before it to the beginning of the next one's text.
pub(super) fn header(held: &str) -> Match<Channel> {
    if held.len() > MAX_HEADER_BYTES {
        return Match::No;
    }
    let mut rest = held;
    for end in ENDS {
        match strip(rest, end) {
            Ok(after) => rest = after.trim_start(),
            Err(Match::Begins) => return Match::Begins,
            Err(_) => {}
        }
    }
    let mut has_role = false;
    match strip(rest, START) {
        Ok(after) => {
            let role_ends = after.find('<').unwrap_or(after.len());
            let (role, after) = after.split_at(role_ends);
            if !role
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || " =._-".contains(letter))
            {
                return Match::No;
            }
            has_role = true;
            rest = after;
        }
        Err(Match::Begins) => return Match::Begins,
        Err(_) => {}
    }
    if has_role {
        match strip(rest, MESSAGE) {
            Ok("") => return Match::Is(Channel::Final),
            Err(Match::Begins) => return Match::Begins,
            _ => {}
        }
    }
    match strip(rest, CHANNEL) {
        Ok(after) => channel(after),
        Err(Match::Begins) => Match::Begins,
        Err(_) => Match::No,
    }
}

/// What follows `<|channel|>`: the channel's name, perhaps a recipient and a format, `<|message|>`.
fn channel(text: &str) -> Match<Channel> {
    let name = ["analysis", "commentary", "final"]
        .into_iter()
        .map(|name| compare(text.get(..name.len()).unwrap_or(text), name, name))
        .fold(Match::No, Match::or);
    match name {
        Match::No => Match::No,
        Match::Begins => Match::Begins,
        Match::Is(_) if !text.ends_with(MESSAGE) => Match::Begins,
        Match::Is("final") => Match::Is(Channel::Final),
        Match::Is(_) => Match::Is(Channel::Other),
    }
}

/// The end of a message that `held` is or begins.
pub(super) fn end(held: &str) -> Match<()> {
    ENDS.into_iter()
        .map(|end| compare(held, end, ()))
        .fold(Match::No, Match::or)
}

/// What follows the end of a message, if `held` begins with one.
pub(super) fn behind_end(held: &str) -> Option<&str> {
    ENDS.into_iter().find_map(|end| held.strip_prefix(end))
}

/// `text` without `token` at its beginning; else whether it may still begin with it.
fn strip<'a>(text: &'a str, token: &str) -> Result<&'a str, Match<()>> {
    match text.strip_prefix(token) {
        Some(rest) => Ok(rest),
        None => Err(compare(text, token, ())),
    }
}

/// The beginning of an analysis whose control tokens were dropped: the word, and at once a sentence.
pub(super) fn bare_analysis(held: &str) -> Match<()> {
    const WORD: &str = "analysis";
    match held.strip_prefix(WORD) {
        Some("") => Match::Begins,
        Some(sentence) if sentence.starts_with(|letter: char| letter.is_ascii_uppercase()) => Match::Is(()),
        Some(_) => Match::No,
        None => compare(held, WORD, ()),
    }
}

/// The beginning of the final channel whose control tokens were dropped.
pub(super) fn bare_final(held: &str) -> Match<()> {
    compare(held, "assistantfinal", ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_recognised_at_their_last_character() {
        let other = Match::Is(Channel::Other);
        for (text, channel) in [
            ("<|channel|>analysis<|message|>", other),
            (
                "<|end|><|start|>assistant<|channel|>final<|message|>",
                Match::Is(Channel::Final),
            ),
            ("<|start|>assistant<|message|>", Match::Is(Channel::Final)),
            (
                "<|channel|>commentary to=functions.x <|constrain|>json<|message|>",
                other,
            ),
            (
                "<|start|>assistant to=functions.x<|channel|>commentary<|message|>",
                other,
            ),
            (
                "<|end|>\n<|channel|>final <|constrain|>json<|message|>",
                Match::Is(Channel::Final),
            ),
        ] {
            for at in (1..text.len()).filter(|&at| text.is_char_boundary(at)) {
                assert_eq!(header(&text[..at]), Match::Begins, "{:?}", &text[..at]);
            }
            assert_eq!(header(text), channel, "{text:?}");
        }
        for text in ["<|channel|>news", "<|end|>Bye", "<|start|>{", "<p", "<|message|>"] {
            assert_eq!(header(text), Match::No, "{text:?}");
        }
        let endless = format!("<|channel|>final{}", "x".repeat(MAX_HEADER_BYTES));
        assert_eq!(header(&endless), Match::No);
    }
}
