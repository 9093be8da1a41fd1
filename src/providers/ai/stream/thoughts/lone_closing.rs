//! A closing tag without its opening one: the end of a thought whose beginning the server put into the prompt, or a word of a
//! sentence about tags.
//!
//! Models put it at the beginning of a line, at the end of a sentence, or right between a thought and the answer. A person's text
//! has quotation marks or brackets around it, punctuation behind it, a word such as "the" before it, or goes on in lower case.

use super::code::Code;
use super::shown::MAX_HELD_SPACE;
use super::talk;

/// Marks of emphasis.
const EMPHASIS: &str = "*_";
/// What stands behind a tag that is a word of a sentence, besides punctuation.
const JOINTS: &str = "-–—/=(→";

/// A closing tag behind which not enough was read yet.
#[derive(Debug, Clone)]
pub(super) struct LoneClosing {
    /// Its text.
    pub(super) tag: String,
    /// The white space behind it.
    pub(super) space: String,
    /// What is known of the word behind that.
    pub(super) word: String,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is a control token, which is no word of any sentence.
    Anywhere,
    /// It may be a tag, if what follows lets it.
    After(Option<char>),
    /// Behind the space after a sentence.
    AfterSentence,
    /// Behind the space after a word that people do not write before a tag.
    AfterWord,
}

impl LoneClosing {
    pub(super) fn of_control_token(tag: &str) -> Self {
        Self::at(Place::Anywhere, tag)
    }

    /// `None` when what is before it makes it a word.
    pub(super) fn after(text: &Code, tag: &str) -> Option<Self> {
        let before = text.before();
        if talk::quotes(before) {
            return None;
        }
        if text.is_line_start() || !before.is_some_and(char::is_whitespace) {
            return Some(Self::at(Place::After(before), tag));
        }
        let last = text.before_space();
        if talk::ends_sentence(last) {
            return Some(Self::at(Place::AfterSentence, tag));
        }
        let ends_word = last.is_some_and(char::is_alphanumeric) && !talk::stands_before_a_tag(text.word());
        ends_word.then(|| Self::at(Place::AfterWord, tag))
    }

    fn at(place: Place, tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            space: String::new(),
            word: String::new(),
            place,
        }
    }

    /// Goes on by a character, and keeps it: whether the tag is one; `None` while that depends on what follows.
    pub(super) fn push(&mut self, letter: char) -> Option<bool> {
        if self.word.is_empty() && letter.is_whitespace() && self.space.len() < MAX_HELD_SPACE {
            self.space.push(letter);
            return None;
        }
        let is_first = self.word.is_empty();
        self.word.push(letter);
        if is_first {
            return self.is_tag_before(letter);
        }
        let word = self.word.strip_suffix(letter).unwrap_or_default();
        if !letter.is_alphabetic() {
            return Some(!talk::stands_behind_a_tag(word));
        }
        (word.len() >= talk::MAX_WORD_BYTES).then_some(true)
    }

    /// Whether it is a tag if the text ends here; `None` if it is none that takes anything back, but is left out.
    pub(super) fn is_tag_at_end(&self) -> Option<bool> {
        match self.place {
            _ if !self.word.is_empty() => Some(!talk::stands_behind_a_tag(&self.word)),
            Place::AfterWord => Some(false),
            // Nothing follows it: more likely a stray tag than an answer that is all thoughts.
            _ => None,
        }
    }

    /// Whether it is a tag if this character, which is no white space, follows it.
    fn is_tag_before(&self, letter: char) -> Option<bool> {
        let ends_line = self.space.contains('\n');
        let is_right_behind = self.space.is_empty();
        match self.place {
            Place::Anywhere => Some(true),
            Place::AfterSentence if is_right_behind => Some(!talk::is_punctuation(letter)),
            Place::AfterSentence => Some(ends_line || !letter.is_lowercase()),
            Place::AfterWord if ends_line => Some(true),
            Place::AfterWord if talk::is_punctuation(letter) || JOINTS.contains(letter) => Some(false),
            Place::AfterWord if letter.is_lowercase() && !is_right_behind => None,
            Place::AfterWord => Some(true),
            Place::After(_) if !is_right_behind => Some(ends_line || !letter.is_lowercase()),
            Place::After(before) => {
                let is_around = EMPHASIS.contains(letter) && before == Some(letter);
                Some(!is_around && !talk::is_punctuation(letter))
            }
        }
    }
}
