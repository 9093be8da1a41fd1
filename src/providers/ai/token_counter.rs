//! Counts the tokens of a text before it is sent.

use cura_domain::token_estimate;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};
use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// Counts the tokens of texts as the primary model does. Cheap to clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCounter(Vocabulary);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vocabulary {
    O200k,
    Cl100k,
    Unknown,
}

/// Longer runs without a change between space and text are counted part by part: the vocabulary's pattern panics on about a
/// million spaces.
const MAX_RUN_BYTES: usize = 256 * 1024;

impl TokenCounter {
    /// For one of OpenAI's models; estimates if its vocabulary is unknown.
    pub(crate) fn of_openai(model: &str) -> Self {
        Self(match get_tokenizer(model) {
            // Both have the same vocabulary; they differ in special tokens, which texts do not contain.
            Some(Tokenizer::O200kBase | Tokenizer::O200kHarmony) => Vocabulary::O200k,
            Some(Tokenizer::Cl100kBase) => Vocabulary::Cl100k,
            _ => Vocabulary::Unknown,
        })
    }

    /// For a model whose vocabulary is not published.
    pub(crate) const fn estimate() -> Self {
        Self(Vocabulary::Unknown)
    }

    /// The tokens of `text`: exact if [`is_exact`](Self::is_exact), else estimated as one for four bytes, but at least one
    /// for each word and for each character of scripts without spaces.
    ///
    /// An exact count may block: the first in a process loads a vocabulary of tens of megabytes, which takes more than
    /// 100 ms, and each takes some milliseconds for 10 kB. A text never has more tokens than bytes, so a caller whose limit
    /// is above that need not count.
    pub fn count(&self, text: &str) -> usize {
        if text.is_empty() {
            return 0;
        }
        match self.0 {
            Vocabulary::O200k => exact(o200k_base_singleton(), text),
            Vocabulary::Cl100k => exact(cl100k_base_singleton(), text),
            Vocabulary::Unknown => estimate(text),
        }
    }

    /// Whether counts are exact instead of estimates. (A run of more than 256 KiB without a space, or of spaces only, is
    /// counted in parts, which can add one token for each part.)
    pub const fn is_exact(&self) -> bool {
        !matches!(self.0, Vocabulary::Unknown)
    }
}

fn exact(vocabulary: &CoreBPE, text: &str) -> usize {
    parts(text).map(|part| vocabulary.count_ordinary(part)).sum()
}

/// The text, split only within runs of more than [`MAX_RUN_BYTES`].
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (mut run, mut space) = (0, false);
        let end = rest.char_indices().find_map(|(at, letter)| {
            if letter.is_whitespace() != space {
                (run, space) = (at, !space);
            }
            (at - run >= MAX_RUN_BYTES).then_some(at)
        });
        let (part, more) = rest.split_at(end.unwrap_or(rest.len()));
        rest = more;
        (!part.is_empty()).then_some(part)
    })
}

fn estimate(text: &str) -> usize {
    let words = text.split_whitespace().count();
    // A character from CJK radicals on is about one token.
    let characters = text.chars().filter(|&letter| letter >= '\u{2e80}').count();
    token_estimate::estimate(text.len()).max(words).max(characters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openais_models_are_counted_exactly() {
        for (model, text, tokens) in [
            ("gpt-4o-mini", "Hello, how are you?", 6),
            ("gpt-4o-2024-08-06", "", 0),
            ("gpt-4", "tiktoken is great!", 6),
        ] {
            let counter = TokenCounter::of_openai(model);
            assert!(counter.is_exact(), "{model}");
            assert_eq!(counter.count(text), tokens, "{model}");
        }
    }

    #[test]
    fn special_tokens_in_a_text_are_counted_as_text() {
        assert!(TokenCounter::of_openai("gpt-4o").count("<|endoftext|>") > 1);
    }

    #[test]
    fn other_models_are_estimated_and_not_exact() {
        for counter in [TokenCounter::of_openai("llama-3"), TokenCounter::estimate()] {
            assert!(!counter.is_exact());
            assert_eq!(counter.count(""), 0);
            assert_eq!(counter.count("eight by"), 2);
            assert_eq!(counter.count("a b c d e"), 5);
            assert_eq!(counter.count("你好世界"), 4);
        }
    }

    #[test]
    fn every_text_can_be_counted_and_has_no_more_tokens_than_bytes() {
        let counter = TokenCounter::of_openai("gpt-4o");
        for text in [
            " ".repeat(4_000_000),
            "x".repeat(600_000),
            "\n".repeat(10_000),
            "é🙂\u{0}".repeat(9_000),
        ] {
            let tokens = counter.count(&text);
            assert!((1..=text.len()).contains(&tokens), "{tokens}");
        }
    }

    #[test]
    fn ordinary_text_is_never_split() {
        let text = "Some words,\n\n  and more. ".repeat(20_000);
        assert_eq!(parts(&text).count(), 1);
        let long = "x".repeat(MAX_RUN_BYTES * 2 + 1);
        assert_eq!(
            parts(&long).map(str::len).collect::<Vec<_>>(),
            [MAX_RUN_BYTES, MAX_RUN_BYTES, 1]
        );
    }
}
