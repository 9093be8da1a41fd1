//! The matcher: finds patterns in a text, all of them in one pass of an Aho-Corasick automaton.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError};

use crate::FALLBACK_LANGUAGE;
use crate::normalized_text::NormalizedText;

/// What a match of a pattern means.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// The index of its kind in the order of precedence.
    pub(crate) kind: usize,
    /// The language of the pattern.
    pub(crate) language: String,
    /// Whether it cancels the matches that lie within it.
    pub(crate) is_exception: bool,
}

/// A kind of danger that a text matches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MatchedKind {
    pub(crate) kind: usize,
    /// The language of most matches.
    pub(crate) language: String,
}

/// The patterns of all kinds and languages.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    automaton: AhoCorasick,
    /// By the automaton's pattern number.
    patterns: Vec<Pattern>,
}

impl Matcher {
    pub(crate) fn new(patterns: Vec<(NormalizedText, Pattern)>) -> Result<Self, BuildError> {
        let automaton = AhoCorasick::new(patterns.iter().map(|(text, _)| text.as_str()))?;
        Ok(Self {
            automaton,
            patterns: patterns.into_iter().map(|(_, pattern)| pattern).collect(),
        })
    }

    /// The kinds of danger that `text` matches, in the order of precedence.
    pub(crate) fn find(&self, text: &str) -> Vec<MatchedKind> {
        let text = NormalizedText::of(text);
        let mut kinds: BTreeMap<usize, Matches<'_>> = BTreeMap::new();
        for (span, pattern) in self.matches(&text) {
            let matches = kinds.entry(pattern.kind).or_default();
            if !pattern.is_exception {
                matches.dangers.push((span, &pattern.language));
            } else if !text.has_break(&span) {
                matches.exceptions.push(span);
            }
        }
        let kinds = kinds.into_iter().filter_map(|(kind, matches)| {
            let language = matches.language()?.to_owned();
            Some(MatchedKind { kind, language })
        });
        kinds.collect()
    }

    /// Every pattern that occurs in `text` as whole words, by where it ends. At most as many as the text is long, times the
    /// number of patterns that are suffixes of each other.
    pub(crate) fn matches(&self, text: &NormalizedText) -> impl Iterator<Item = (Range<usize>, &Pattern)> {
        self.automaton
            .find_overlapping_iter(text.as_str())
            .filter(|found| text.is_whole_words(&found.range()))
            .filter_map(|found| Some((found.range(), self.patterns.get(found.pattern().as_usize())?)))
    }
}

/// The matches of one kind, by where they end.
#[derive(Default)]
struct Matches<'a> {
    dangers: Vec<(Range<usize>, &'a str)>,
    exceptions: Vec<Range<usize>>,
}

impl<'a> Matches<'a> {
    /// The language of most matches outside of exceptions, English before others; `None` when none is left.
    fn language(mut self) -> Option<&'a str> {
        // Each exception gets the earliest start of itself and all later ones, so that one lookup decides for a match.
        let mut earliest = usize::MAX;
        for exception in self.exceptions.iter_mut().rev() {
            earliest = earliest.min(exception.start);
            exception.start = earliest;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (span, language) in &self.dangers {
            let next = self.exceptions.partition_point(|exception| exception.end < span.end);
            let excepted = self
                .exceptions
                .get(next)
                .is_some_and(|exception| exception.start <= span.start);
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

    fn matcher(phrases: &[&str], exceptions: &[&str]) -> Matcher {
        let entry = |text: &&str, is_exception| {
            let pattern = Pattern {
                kind: 0,
                language: "en".to_owned(),
                is_exception,
            };
            (NormalizedText::of(text), pattern)
        };
        let phrases = phrases.iter().map(|text| entry(text, false));
        Matcher::new(phrases.chain(exceptions.iter().map(|text| entry(text, true))).collect()).unwrap()
    }

    #[test]
    fn patterns_match_whole_words_only() {
        let matcher = matcher(&["kill myself", "overdose"], &[]);
        for yes in [
            "kill myself",
            "(Kill\nmyself)",
            "I'd kill, myself",
            "l’overdose",
            "overdose's",
        ] {
            assert_eq!(matcher.find(yes).len(), 1, "{yes}");
        }
        for no in [
            "skill myself",
            "kill myselfie",
            "killmyself",
            "overdosed",
            "2kill myself",
            "kill my self",
        ] {
            assert_eq!(matcher.find(no), [], "{no}");
        }
    }

    #[test]
    fn an_exception_cancels_the_matches_within_it_and_no_others() {
        let matcher = matcher(
            &["want to die", "want to die laughing today"],
            &["want to die laughing"],
        );
        for no in ["I want to die laughing", "want to die-laughing, want to die laughing"] {
            assert_eq!(matcher.find(no), [], "{no}");
        }
        for yes in [
            "I want to die. Laughing does not help",
            "want to die\nlaughing",
            "I want to die laughing, no, I want to die",
            "I want to die, I want to die laughing",
            "want to die laughing today",
        ] {
            assert_eq!(matcher.find(yes).len(), 1, "{yes}");
        }
    }

    /// Worst cases of ten thousand characters: the work is the number of matches, which is bounded.
    #[test]
    fn work_grows_linearly_with_the_text() {
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
                let text = NormalizedText::of(&text(chars));
                let automaton = &rules.matcher.automaton;
                let matches = automaton.find_overlapping_iter(text.as_str()).count();
                (text.as_str().len(), matches)
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
