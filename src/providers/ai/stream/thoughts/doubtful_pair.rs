//! A pair of tags where a thought is likely, but a sentence about tags is not unlikely: in the middle of a line, or of a name that
//! is an ordinary word. It is held until the pair is whole and something tells which it is; until then, nothing of it is lost.

use super::code::Code;
use super::shown::MAX_HELD_SPACE;
use super::tags::{self, Kind};
use super::talk;

/// The most text that is held while the closing tag is awaited, in bytes.
pub(super) const MAX_HELD_PAIR: usize = 32 * 1024;
/// The longest name of an element that is read, in bytes.
const MAX_ELEMENT_BYTES: usize = 16;

/// An opening tag, and what was read since.
#[derive(Debug, Clone)]
pub(super) struct DoubtfulPair {
    pub(super) kind: Kind,
    /// The opening tag.
    pub(super) opening: String,
    /// What is between the tags; without the closing one, what was read.
    pub(super) inner: String,
    /// The closing tag, when it was read.
    pub(super) closing: String,
    /// The white space behind it.
    pub(super) space: String,
    /// What is known of the word behind that.
    pub(super) word: String,
    /// Where in Markdown `inner` ends.
    code: Code,
    /// Pairs of the same tags within it that are open.
    depth: usize,
    /// Whether `inner` is white space so far.
    is_blank: bool,
}

/// What a pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Unknown,
    Thought,
    Text,
}

impl DoubtfulPair {
    /// `None` when what is before it shows that it is quoted, or an example.
    pub(super) fn after(text: &Code, kind: Kind, opening: &str) -> Option<Self> {
        let is_quoted = talk::quotes(text.before()) || talk::introduces_example(text.before_space());
        (!is_quoted).then(|| Self::within(text.clone(), kind, opening))
    }

    /// At the beginning of an answer.
    pub(super) fn at_start(kind: Kind, opening: &str) -> Self {
        Self::within(Code::default(), kind, opening)
    }

    fn within(code: Code, kind: Kind, opening: &str) -> Self {
        Self {
            kind,
            opening: opening.to_owned(),
            inner: String::new(),
            closing: String::new(),
            space: String::new(),
            word: String::new(),
            code,
            depth: 0,
            is_blank: true,
        }
    }

    /// The bytes that are held.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.inner.len() + self.space.len() + self.word.len()
    }

    /// Whether the closing tag was read.
    pub(super) fn is_whole(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Goes on by a character between the tags.
    pub(super) fn push_inner(&mut self, letter: char) -> Verdict {
        let is_right_behind = self.inner.is_empty();
        let is_first = self.is_blank && !letter.is_whitespace();
        let on_same_line = is_first && !self.inner.contains('\n');
        self.inner.push(letter);
        self.code.push(letter);
        self.is_blank &= !is_first;
        let is_word = match (is_first, is_right_behind) {
            (false, _) => false,
            (true, true) => talk::is_punctuation(letter),
            (true, false) => on_same_line && letter.is_lowercase(),
        };
        if is_word || self.inner.len() > MAX_HELD_PAIR {
            return Verdict::Text;
        }
        Verdict::Unknown
    }

    /// Takes a tag between the tags; `None` when it is of another kind, or in code.
    pub(super) fn push_tag(&mut self, kind: Kind, closes: bool, tag: &str) -> Option<Verdict> {
        let is_same = if closes {
            self.kind.is_closed_by(kind)
        } else {
            self.kind == kind
        };
        if !is_same || self.code.is_code() {
            return None;
        }
        if closes && self.depth == 0 {
            tag.clone_into(&mut self.closing);
            return Some(if self.holds_a_thought() {
                Verdict::Unknown
            } else {
                Verdict::Text
            });
        }
        self.depth = if closes {
            self.depth.saturating_sub(1)
        } else {
            self.depth + 1
        };
        self.is_blank = false;
        tag.chars().for_each(|letter| self.code.push(letter));
        self.inner.push_str(tag);
        Some(Verdict::Unknown)
    }

    /// Whether what is between the tags is more than an example, and the tags are not words of a sentence.
    fn holds_a_thought(&self) -> bool {
        let inner = self.inner.as_str();
        let is_aside = |letter: Option<char>| letter.is_some_and(|letter| matches!(letter, ' ' | '\t'));
        let are_words = is_aside(inner.chars().next())
            && is_aside(inner.chars().next_back())
            && !inner.contains('\n')
            && !talk::ends_sentence(inner.trim_end().chars().next_back());
        !are_words && inner.contains(|letter: char| letter.is_alphanumeric() || letter == '\n')
    }

    /// Goes on by a character behind the closing tag, and keeps it.
    pub(super) fn push_behind(&mut self, letter: char) -> Verdict {
        if self.word.is_empty() && letter.is_whitespace() && self.space.len() < MAX_HELD_SPACE {
            self.space.push(letter);
            return Verdict::Unknown;
        }
        let is_first = self.word.is_empty();
        self.word.push(letter);
        if is_first {
            return match letter {
                _ if self.space.is_empty() && talk::is_punctuation(letter) => Verdict::Text,
                '|' => Verdict::Text,
                '<' if self.is_of_ordinary_word() => Verdict::Unknown,
                _ if letter.is_alphabetic() && !self.space.contains('\n') => Verdict::Unknown,
                _ => Verdict::Thought,
            };
        }
        let goes_on = letter.is_alphanumeric() || letter == '_';
        if goes_on && self.word.len() <= MAX_ELEMENT_BYTES {
            return Verdict::Unknown;
        }
        let word = self.word.strip_suffix(letter).unwrap_or_default();
        match word.strip_prefix('<') {
            Some("") if letter == '|' => Verdict::Thought,
            // A document of elements of its own is an answer.
            Some(name) if !tags::is_element(name) => Verdict::Text,
            _ => Self::before(word),
        }
    }

    /// What it is if the text ends here.
    pub(super) fn at_end(&self) -> Verdict {
        match self.word.is_empty() {
            _ if !self.is_whole() => Verdict::Text,
            // An answer that is all within them.
            true if self.is_of_ordinary_word() => Verdict::Text,
            true => Verdict::Thought,
            false => Self::before(&self.word),
        }
    }

    fn before(word: &str) -> Verdict {
        if talk::names_a_pair(word) {
            Verdict::Text
        } else {
            Verdict::Thought
        }
    }

    const fn is_of_ordinary_word(&self) -> bool {
        matches!(self.kind, Kind::AtStart(_))
    }
}
