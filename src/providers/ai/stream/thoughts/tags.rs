//! The tags between which models think, as their servers let them through.

/// Tags that people may write, too: they count only where a model puts them. The closing one of any name ends a thought,
/// because models mix them up.
pub(super) const NAMES: [Name; 5] = [
    Name::new("<think>", "</think>"),
    Name::new("<thinking>", "</thinking>"),
    Name::new("<thought>", "</thought>"),
    Name::new("<thoughts>", "</thoughts>"),
    Name::new("<reasoning>", "</reasoning>"),
];

/// Control tokens, which are no part of any text, with what ends them.
const CONTROL: [Name; 8] = [
    // Mistral.
    Name::new("[THINK]", "[/THINK]"),
    // Kimi.
    Name::new("◁think▷", "◁/think▷"),
    // Cohere.
    Name::new("<|START_THINKING|>", "<|END_THINKING|>"),
    // Seed.
    Name::new("<seed:think>", "</seed:think>"),
    // Gemma 3, as in MedGemma; "thought" and a line break follow.
    Name::new("<unused94>", "<unused95>"),
    // Gemma 4; so does here.
    Name::new("<|channel>", "<channel|>"),
    // Apertus.
    Name::new("<|inner_prefix|>", "<|inner_suffix|>"),
    // Sky-T1, OpenThinker.
    Name::new("<|begin_of_thought|>", "<|end_of_thought|>"),
];

/// What some models wrap the answer in that follows their thoughts.
const WRAPPERS: [Name; 6] = [
    Name::new("<answer>", "</answer>"),
    Name::new("<response>", "</response>"),
    Name::new("<output>", "</output>"),
    Name::new("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    Name::new("<|START_TEXT|>", "<|END_TEXT|>"),
    Name::new("<|begin_of_solution|>", "<|end_of_solution|>"),
];

/// An opening and a closing tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    opening: &'static str,
    closing: &'static str,
}

impl Name {
    const fn new(opening: &'static str, closing: &'static str) -> Self {
        Self { opening, closing }
    }

    /// Whether these are control tokens, which are no part of any text.
    pub(super) fn is_control(self) -> bool {
        self.opening.starts_with("<|")
    }
}

/// A kind of thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The entry of [`NAMES`].
    Named(usize),
    /// The entry of [`CONTROL`].
    Control(usize),
}

/// A tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// A thought begins.
    Open(Kind),
    /// A thought ends.
    Close(Kind),
    /// The answer itself begins.
    OpenWrapper(Name),
    /// The answer itself ends.
    CloseWrapper(Name),
}

/// What a text that may be a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match<T> {
    /// No tag begins with it.
    No,
    /// It is the beginning of a tag.
    Begins,
    /// It is this tag.
    Is(T),
}

impl<T> Match<T> {
    /// The better one of two.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Is(tag), _) | (_, Self::Is(tag)) => Self::Is(tag),
            (Self::Begins, _) | (_, Self::Begins) => Self::Begins,
            (Self::No, Self::No) => Self::No,
        }
    }
}

/// Whether any tag begins with this character.
pub(super) const fn begins_a_tag(letter: char) -> bool {
    matches!(letter, '<' | '[' | '◁')
}

/// Whether a tag may begin with `<` and this character; most that a text has are no tags.
pub(super) const fn may_follow(letter: char) -> bool {
    matches!(
        letter.to_ascii_lowercase(),
        '/' | '|' | 'a' | 'c' | 'o' | 'r' | 's' | 't' | 'u'
    )
}

/// Whether a text without any of these bytes has no tag.
pub(super) const fn may_begin_a_tag(byte: u8) -> bool {
    // The first byte of ◁ begins other characters, too.
    matches!(byte, b'<' | b'[' | 0xe2)
}

/// The tag that `held` is or begins.
pub(super) fn tag(held: &str) -> Match<Tag> {
    let named = NAMES.iter().enumerate().map(|(at, name)| (Kind::Named(at), name));
    let control = CONTROL.iter().enumerate().map(|(at, name)| (Kind::Control(at), name));
    let thoughts = named
        .chain(control)
        .flat_map(|(kind, name)| [(name.opening, Tag::Open(kind)), (name.closing, Tag::Close(kind))]);
    let wrappers = WRAPPERS.into_iter().flat_map(|name| {
        [
            (name.opening, Tag::OpenWrapper(name)),
            (name.closing, Tag::CloseWrapper(name)),
        ]
    });
    // No tag begins with another one.
    thoughts
        .chain(wrappers)
        .map(|(text, tag)| compare(held, text, tag))
        .find(|found| *found != Match::No)
        .unwrap_or(Match::No)
}

/// Whether `held` is `text` or begins it. In angle brackets, case does not matter.
pub(super) fn compare<T>(held: &str, text: &str, found: T) -> Match<T> {
    let same = text.as_bytes().get(..held.len()).is_some_and(|beginning| {
        if text.starts_with('<') {
            beginning.eq_ignore_ascii_case(held.as_bytes())
        } else {
            beginning == held.as_bytes()
        }
    });
    match same {
        true if held.len() == text.len() => Match::Is(found),
        true => Match::Begins,
        false => Match::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_is_recognised_and_none_begins_with_another() {
        for name in NAMES.into_iter().chain(CONTROL).chain(WRAPPERS) {
            for text in [name.opening, name.closing] {
                assert!(matches!(tag(text), Match::Is(_)), "{text}");
                for at in (1..text.len()).filter(|&at| text.is_char_boundary(at)) {
                    assert_eq!(tag(&text[..at]), Match::Begins, "{text}");
                }
                let mut letters = text.chars();
                let (first, second) = (letters.next().unwrap(), letters.next().unwrap());
                assert!(begins_a_tag(first) && (first != '<' || may_follow(second)), "{text}");
            }
        }
    }
}
