//! A closing tag without its opening one: the end of a thought whose beginning the server put into the prompt, or a word of a
//! sentence about tags.
//!
//! Models put it at the beginning of a line, at the end of a sentence, or right between a thought and the answer. A person's text
//! has spaces, quotation marks or brackets around it, punctuation behind it, or goes on in lower case.

use super::code::Code;

/// What stands before a tag that is quoted.
const QUOTES: &str = "\"'“‘„«‹([{<";
/// What stands behind a tag that is a word.
const PUNCTUATION: &str = ".,;:!?)]”’»";
/// What ends a sentence.
const SENTENCE_ENDS: &str = ".!?…。！？";
/// Marks of emphasis.
const EMPHASIS: &str = "*_";

/// A closing tag that nothing was read behind yet but white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoneClosing {
    /// Its text.
    pub(super) tag: String,
    /// The white space behind it.
    pub(super) space: String,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is a control token, which is no word of any sentence.
    Anywhere,
    /// It may be a tag, if what follows lets it.
    After(Option<char>),
    /// The same, if it ends its line.
    AfterSentence,
}

impl LoneClosing {
    pub(super) fn of_control_token(tag: &str) -> Self {
        Self::at(Place::Anywhere, tag)
    }

    /// `None` when what is before it makes it a word.
    pub(super) fn after(text: &Code, tag: &str) -> Option<Self> {
        let before = text.before();
        if before.is_some_and(|before| QUOTES.contains(before)) {
            return None;
        }
        if text.is_line_start() || !before.is_some_and(char::is_whitespace) {
            return Some(Self::at(Place::After(before), tag));
        }
        let ends_sentence = text.before_space().is_some_and(|last| SENTENCE_ENDS.contains(last));
        ends_sentence.then(|| Self::at(Place::AfterSentence, tag))
    }

    fn at(place: Place, tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            space: String::new(),
            place,
        }
    }

    /// Whether it is a tag if this character, which is no white space, follows it.
    pub(super) fn is_tag_before(&self, letter: char) -> bool {
        let ends_line = self.space.contains('\n');
        match self.place {
            Place::Anywhere => true,
            Place::AfterSentence => ends_line,
            Place::After(_) if !self.space.is_empty() => ends_line || !letter.is_lowercase(),
            Place::After(before) => {
                let is_around = EMPHASIS.contains(letter) && before == Some(letter);
                !is_around && !PUNCTUATION.contains(letter)
            }
        }
    }
}
