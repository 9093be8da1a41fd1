//! The channels of OpenAI's open models (harmony): `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`.
//! Only the final channel is for the person. Some servers drop the control tokens and leave the words between them.

use super::tags::{Match, compare};

/// The most bytes of a role, and of a channel's name with what belongs to it.
const MAX_FIELD_BYTES: usize = 64;
/// What ends a message.
const ENDS: [&str; 3] = ["<|end|>", "<|return|>", "<|call|>"];
/// The most ends in a row that are read as one.
const MAX_ENDS: usize = 3;
/// The control tokens of a header.
const TOKENS: [(&str, Token); 7] = [
    ("<|end|>", Token::End),
    ("<|return|>", Token::End),
    ("<|call|>", Token::End),
    ("<|start|>", Token::Start),
    ("<|channel|>", Token::Channel),
    ("<|message|>", Token::Message),
    ("<|constrain|>", Token::Constrain),
];
const CHANNELS: [(&str, Channel); 3] = [
    ("analysis", Channel::Other),
    ("commentary", Channel::Other),
    ("final", Channel::Final),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Start,
    Channel,
    Message,
    Constrain,
}

/// What follows a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// What the person reads.
    Final,
    /// Anything else: thoughts, and calls of tools, of which the model has none here.
    Other,
}

/// What the reader of a header has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So many ends of the message before.
    Ends(usize),
    /// `<|start|>`, and what the role may be.
    Role,
    /// `<|channel|>`, and the beginning of its name.
    Name,
    /// The name of the channel; perhaps a recipient and a format.
    Channel(Channel),
    NoHeader,
}

/// Recognises a header character by character, from the end of the message before it to the beginning of the next one's text;
/// each is looked at once. What it holds is at most [`MAX_ENDS`] + 4 tokens, and the fields between them.
#[derive(Debug, Clone)]
pub(super) struct HeaderReader {
    place: Place,
    /// The bytes of a token that were read; all are ASCII.
    token_bytes: usize,
    /// The tokens that it may be, a bit for each of [`TOKENS`].
    candidates: u8,
    /// What was read of a channel's name.
    name: String,
    /// The bytes since the last token.
    field: usize,
    has_constrain: bool,
}

impl HeaderReader {
    /// Before the first character.
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Ends(0),
            token_bytes: 0,
            candidates: 0,
            name: String::new(),
            field: 0,
            has_constrain: false,
        }
    }

    /// Whether what was read is the beginning of a header.
    pub(super) fn has_begun(&self) -> bool {
        let has_read = self.place != Place::Ends(0) || self.token_bytes > 0;
        has_read && self.place != Place::NoHeader
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.place = Place::Ends(0);
        self.token_bytes = 0;
        self.name.clear();
        self.field = 0;
        self.has_constrain = false;
    }

    /// What is read with this character.
    pub(super) fn push(&mut self, letter: char) -> Match<Channel> {
        let found = if letter == '<' || self.token_bytes > 0 {
            self.push_of_token(letter)
        } else {
            self.push_of_field(letter)
        };
        if found == Match::No {
            self.place = Place::NoHeader;
        }
        found
    }

    fn push_of_token(&mut self, letter: char) -> Match<Channel> {
        if self.token_bytes == 0 {
            self.candidates = self.possible_tokens();
        }
        let mut whole = None;
        for (bit, (text, token)) in TOKENS.into_iter().enumerate() {
            let mask = 1 << bit;
            if self.candidates & mask == 0 {
                continue;
            }
            if text.as_bytes().get(self.token_bytes).copied().map(char::from) != Some(letter) {
                self.candidates &= !mask;
            } else if self.token_bytes + 1 == text.len() {
                whole = Some(token);
            }
        }
        self.token_bytes += 1;
        let Some(token) = whole else {
            return if self.candidates == 0 { Match::No } else { Match::Begins };
        };
        self.token_bytes = 0;
        self.field = 0;
        self.place = match (self.place, token) {
            (Place::Channel(channel), Token::Message) => return Match::Is(channel),
            (_, Token::Message) => return Match::Is(Channel::Final),
            (Place::Ends(ends), Token::End) => Place::Ends(ends + 1),
            (_, Token::Start) => Place::Role,
            (_, Token::Channel) => Place::Name,
            (place, Token::Constrain) => {
                self.has_constrain = true;
                place
            }
            (_, Token::End) => return Match::No,
        };
        Match::Begins
    }

    /// The tokens that may come here, as bits.
    fn possible_tokens(&self) -> u8 {
        TOKENS
            .into_iter()
            .enumerate()
            .filter(|(_, (_, token))| self.may_have(*token))
            .fold(0, |bits, (bit, _)| bits | 1 << bit)
    }

    fn may_have(&self, token: Token) -> bool {
        match self.place {
            Place::Ends(ends) => match token {
                Token::End => ends < MAX_ENDS,
                _ => matches!(token, Token::Start | Token::Channel),
            },
            Place::Role => matches!(token, Token::Message | Token::Channel),
            Place::Channel(_) => token == Token::Message || (token == Token::Constrain && !self.has_constrain),
            Place::Name | Place::NoHeader => false,
        }
    }

    fn push_of_field(&mut self, letter: char) -> Match<Channel> {
        self.field += letter.len_utf8();
        let fits = self.field <= MAX_FIELD_BYTES;
        let may_follow = match self.place {
            Place::Ends(ends) => ends > 0 && letter.is_whitespace(),
            Place::Role => letter.is_ascii_alphanumeric() || " =._-".contains(letter),
            Place::Name => return self.push_of_name(letter),
            Place::Channel(_) => letter.is_ascii_graphic() || letter.is_ascii_whitespace(),
            Place::NoHeader => false,
        };
        if may_follow && fits { Match::Begins } else { Match::No }
    }

    fn push_of_name(&mut self, letter: char) -> Match<Channel> {
        self.name.push(letter);
        let found = CHANNELS
            .into_iter()
            .map(|(name, channel)| compare(&self.name, name, channel))
            .fold(Match::No, Match::or);
        match found {
            Match::Is(channel) => {
                self.place = Place::Channel(channel);
                self.field = 0;
                Match::Begins
            }
            found => found,
        }
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

    fn header(text: &str) -> Match<Channel> {
        let mut reader = HeaderReader::new();
        text.chars().fold(Match::Begins, |_, letter| reader.push(letter))
    }

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
        for start in ["<|channel|>final", "<|start|>"] {
            let longest = format!("{start}{}", "x".repeat(MAX_FIELD_BYTES));
            assert_eq!(header(&longest), Match::Begins);
            assert_eq!(header(&format!("{longest}x")), Match::No);
        }
        assert_eq!(header(&"<|end|>".repeat(MAX_ENDS + 1)), Match::No);
        assert_eq!(header("<|channel|>final<|channel|>"), Match::No);
    }
}
