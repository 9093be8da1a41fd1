//! What shows that a sentence talks about a tag, and does not hold it as one. People write about tags in any language; these are
//! the words that stand beside one most often.

/// What stands before a tag that is quoted.
const QUOTES: &str = "\"'“‘„«‹([{<";
/// What stands right behind a tag that is a word.
const PUNCTUATION: &str = ".,;:!?)]}|”’»…。，、：；！？";
/// What ends a sentence.
const SENTENCE_ENDS: &str = ".!?…。！？";
/// What an example follows.
const COLONS: &str = ":：";
/// Words that no thought ends with, but a sentence has before a tag.
const WORDS_BEFORE: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "by", "called", "closing", "for", "from", "in", "is", "like", "named",
    "of", "on", "opening", "or", "put", "say", "says", "see", "tag", "tags", "than", "that", "the", "this", "to",
    "token", "tokens", "type", "use", "used", "uses", "using", "was", "with", "without", "write", "writes", "wrote",
    "das", "dem", "den", "der", "des", "die", "ein", "eine", "einen", "ist", "mit", "oder", "schreibe", "schreibt",
    "und", "von", "zu", "avec", "balise", "est", "et", "la", "le", "les", "ou", "par", "un", "une", "con", "el", "es",
    "etiqueta", "las", "los", "o", "por", "una", "y",
];
/// Words that a sentence goes on with behind a tag.
const WORDS_BEHIND: &[&str] = &[
    "after", "and", "are", "as", "at", "before", "closes", "comes", "element", "end", "ends", "follows", "for", "from",
    "in", "is", "marker", "marks", "means", "on", "or", "shows", "tag", "tags", "that", "then", "to", "token",
    "tokens", "was", "when", "which", "with", "als", "am", "beendet", "ist", "oder", "und", "wenn", "zu", "est", "et",
    "ou", "es", "o", "y",
];
/// What a pair of tags is called.
const NOUNS: &[&str] = &[
    "balises",
    "block",
    "blocks",
    "element",
    "elements",
    "etiquetas",
    "marker",
    "markers",
    "pair",
    "section",
    "sections",
    "tag",
    "tags",
    "token",
    "tokens",
];
/// The longest of these words, in bytes.
pub(super) const MAX_WORD_BYTES: usize = 12;

pub(super) fn quotes(before: Option<char>) -> bool {
    before.is_some_and(|before| QUOTES.contains(before))
}

pub(super) fn introduces_example(before_space: Option<char>) -> bool {
    before_space.is_some_and(|before| COLONS.contains(before))
}

pub(super) fn is_punctuation(letter: char) -> bool {
    PUNCTUATION.contains(letter)
}

pub(super) fn ends_sentence(last: Option<char>) -> bool {
    last.is_some_and(|last| SENTENCE_ENDS.contains(last))
}

pub(super) fn stands_before_a_tag(word: &str) -> bool {
    is_one_of(WORDS_BEFORE, word)
}

pub(super) fn stands_behind_a_tag(word: &str) -> bool {
    is_one_of(WORDS_BEHIND, word)
}

pub(super) fn names_a_pair(word: &str) -> bool {
    is_one_of(NOUNS, word)
}

fn is_one_of(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_fits() {
        for word in [WORDS_BEFORE, WORDS_BEHIND, NOUNS].concat() {
            assert!(word.len() <= MAX_WORD_BYTES, "{word}");
        }
    }
}
