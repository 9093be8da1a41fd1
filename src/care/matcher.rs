//! Matcher: finds phrases in a text, all of them in one pass of an automaton.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError};

use crate::FALLBACK_LANGUAGE;
use crate::normalized_text::NormalizedText;

/// What a phrase says when it is found.
#[derive(Debug, Clone)]
pub(crate) struct Meaning {
    /// The kind's place in the order of precedence.
    pub(crate) kind: usize,
    /// The language the phrase is of.
    pub(crate) language: String,
    /// Whether it says that the phrases within it mean nothing.
    pub(crate) excepts: bool,
}

/// A kind of danger there are signs of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: usize,
    /// The language most of the signs are of.
    pub(crate) language: String,
}

/// All phrases of all kinds and languages.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    automaton: AhoCorasick,
    meanings: Vec<Meaning>,
}

impl Matcher {
    pub(crate) fn new(phrases: Vec<(NormalizedText, Meaning)>) -> Result<Self, BuildError> {
        let automaton = AhoCorasick::new(phrases.iter().map(|(words, _)| words.as_str()))?;
        Ok(Self {
            automaton,
            meanings: phrases.into_iter().map(|(_, meaning)| meaning).collect(),
        })
    }

    /// What there are signs of in `text`, in the order of precedence.
    pub(crate) fn find(&self, text: &str) -> Vec<Found> {
        let words = NormalizedText::of(text);
        let mut kinds: BTreeMap<usize, Matches<'_>> = BTreeMap::new();
        for (span, meaning) in self.matches(&words) {
            let matches = kinds.entry(meaning.kind).or_default();
            if !meaning.excepts {
                matches.signs.push((span, &meaning.language));
            } else if !words.has_stop(&span) {
                matches.exceptions.push(span);
            }
        }
        let found = kinds.into_iter().map(|(kind, matches)| (kind, matches.language()));
        found
            .filter_map(|(kind, language)| {
                Some(Found {
                    kind,
                    language: language?.to_owned(),
                })
            })
            .collect()
    }

    /// Every phrase that stands in `words` as whole words, by where it ends. There are at most as many as the text is long,
    /// times the number of phrases that end with each other.
    pub(crate) fn matches(&self, words: &NormalizedText) -> impl Iterator<Item = (Range<usize>, &Meaning)> {
        self.automaton
            .find_overlapping_iter(words.as_str())
            .filter(|found| words.are_whole(&found.range()))
            .filter_map(|found| Some((found.range(), self.meanings.get(found.pattern().as_usize())?)))
    }
}

/// What was found of one kind, by where it ends.
#[derive(Default)]
struct Matches<'a> {
    signs: Vec<(Range<usize>, &'a str)>,
    exceptions: Vec<Range<usize>>,
}

impl<'a> Matches<'a> {
    /// The language of most signs that lie in no exception, English before others; None when no sign is left.
    fn language(mut self) -> Option<&'a str> {
        // The earliest beginning among an exception and all that end after it: one look tells what a sign lies in.
        let mut earliest = usize::MAX;
        for exception in self.exceptions.iter_mut().rev() {
            earliest = earliest.min(exception.start);
            exception.start = earliest;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (sign, language) in &self.signs {
            let next = self.exceptions.partition_point(|exception| exception.end < sign.end);
            let excepted = self
                .exceptions
                .get(next)
                .is_some_and(|exception| exception.start <= sign.start);
            if !excepted {
                *counts.entry(language).or_default() += 1;
            }
        }
        let most = counts
            .into_iter()
            .max_by_key(|(language, count)| (*count, *language == FALLBACK_LANGUAGE));
        most.map(|(language, _)| language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(phrases: &[&str], exceptions: &[&str]) -> Matcher {
        let entry = |text: &&str, excepts| {
            let meaning = Meaning {
                kind: 0,
                language: "en".to_owned(),
                excepts,
            };
            (NormalizedText::of(text), meaning)
        };
        let phrases = phrases.iter().map(|text| entry(text, false));
        Matcher::new(phrases.chain(exceptions.iter().map(|text| entry(text, true))).collect()).unwrap()
    }

    #[test]
    fn phrases_are_found_as_whole_words_only() {
        let signs = signs(&["kill myself", "overdose"], &[]);
        for yes in [
            "kill myself",
            "(Kill\nmyself)",
            "I'd kill, myself",
            "l’overdose",
            "overdose's",
        ] {
            assert_eq!(signs.find(yes).len(), 1, "{yes}");
        }
        for no in [
            "skill myself",
            "kill myselfie",
            "killmyself",
            "overdosed",
            "2kill myself",
            "kill my self",
        ] {
            assert_eq!(signs.find(no), [], "{no}");
        }
    }

    #[test]
    fn an_exception_cancels_what_lies_in_it_and_nothing_else() {
        let signs = signs(
            &["want to die", "want to die laughing today"],
            &["want to die laughing"],
        );
        for no in ["I want to die laughing", "want to die-laughing, want to die laughing"] {
            assert_eq!(signs.find(no), [], "{no}");
        }
        for yes in [
            "I want to die. Laughing does not help",
            "want to die\nlaughing",
            "I want to die laughing, no, I want to die",
            "I want to die, I want to die laughing",
            "want to die laughing today",
        ] {
            assert_eq!(signs.find(yes).len(), 1, "{yes}");
        }
    }

    /// Ten thousand characters of whatever is worst: more work means more matches, and those are bounded.
    #[test]
    fn work_grows_with_the_text_alone() {
        let rules = crate::CareRules::built_in().unwrap();
        for piece in [
            "kill myself ",
            "a",
            "suicidal",
            "kill myself laughing ",
            "i want to die ",
            "e\u{301}",
            "'",
            "ﷺ",
            "㌖",
            "İ",
            "我",
        ] {
            let text = |chars: usize| piece.chars().cycle().take(chars).collect::<String>();
            let work = |chars: usize| {
                let words = NormalizedText::of(&text(chars));
                let automaton = &rules.matcher.automaton;
                let matches = automaton.find_overlapping_iter(words.as_str()).count();
                (words.as_str().len(), matches)
            };
            let (length, matches) = work(10_000);
            assert!(length <= 8 * text(10_000).len(), "{piece}: {length}");
            assert!(matches <= 10_000, "{piece}: {matches}");
            let (twice_length, twice_matches) = work(20_000);
            assert!(
                twice_length <= 2 * length + 100 && twice_matches <= 2 * matches + 100,
                "{piece}"
            );
        }
    }
}
