//! The tags between which models think, as their servers let them through.

use std::sync::LazyLock;

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
const CONTROL: [Name; 13] = [
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
    // LongCat.
    Name::new("<longcat_think>", "</longcat_think>"),
    // MiniMax.
    Name::new("<mm:think>", "</mm:think>"),
    // Solar Open.
    Name::new("<|think|>", "<|end|><|begin|>assistant<|content|>"),
    // Fine-tuned models.
    Name::new("<|think|>", "<|/think|>"),
    Name::new("<|thinking|>", "<|/thinking|>"),
];

/// Names that are ordinary words, in which some prompts ask models to think: they count only where an answer begins.
const AT_START: [Name; 4] = [
    Name::new("<analysis>", "</analysis>"),
    Name::new("<reflection>", "</reflection>"),
    Name::new("<scratchpad>", "</scratchpad>"),
    Name::new("<inner_monologue>", "</inner_monologue>"),
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
    /// The first entry of [`CONTROL`] with this opening.
    Control(usize),
    /// The entry of [`AT_START`].
    AtStart(usize),
}

impl Kind {
    /// Whether the closing tag of `other` ends a thought of this kind.
    pub(super) fn is_closed_by(self, other: Self) -> bool {
        self == other || matches!((self, other), (Self::Named(_), Self::Named(_)))
    }
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
        '/' | '|' | 'a' | 'c' | 'i' | 'l' | 'm' | 'o' | 'r' | 's' | 't' | 'u'
    )
}

/// Whether a text without any of these bytes has no tag.
pub(super) const fn may_begin_a_tag(byte: u8) -> bool {
    // The first byte of ◁ begins other characters, too.
    matches!(byte, b'<' | b'[' | 0xe2)
}

/// Every tag with its text.
pub(super) static TAGS: LazyLock<Vec<(&'static str, Tag)>> = LazyLock::new(|| {
    let named = NAMES.into_iter().enumerate().map(|(at, name)| (Kind::Named(at), name));
    let at_start = AT_START
        .into_iter()
        .enumerate()
        .map(|(at, name)| (Kind::AtStart(at), name));
    let control = CONTROL.into_iter().map(|name| {
        let first = CONTROL.iter().position(|other| other.opening == name.opening);
        (Kind::Control(first.unwrap_or_default()), name)
    });
    let thoughts = named
        .chain(at_start)
        .chain(control)
        .flat_map(|(kind, name)| [(name.opening, Tag::Open(kind)), (name.closing, Tag::Close(kind))]);
    let wrappers = WRAPPERS.into_iter().flat_map(|name| {
        [
            (name.opening, Tag::OpenWrapper(name)),
            (name.closing, Tag::CloseWrapper(name)),
        ]
    });
    thoughts.chain(wrappers).collect()
});

/// Whether an element of this name is a thought or the answer itself.
pub(super) fn is_element(name: &str) -> bool {
    let names = NAMES.iter().chain(&AT_START).chain(&WRAPPERS);
    names
        .filter_map(|known| known.opening.strip_prefix('<')?.strip_suffix('>'))
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether `held` is `text` or begins it.
pub(super) fn compare<T>(held: &str, text: &str, found: T) -> Match<T> {
    match text.strip_prefix(held) {
        Some("") => Match::Is(found),
        Some(_) => Match::Begins,
        None => Match::No,
    }
}
