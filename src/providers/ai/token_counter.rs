//! How many tokens a text is, before anybody is asked.

use cura_domain::tokens;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};
use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// Counts the tokens of texts as the first voice does. Cheap to clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCounter(Vocabulary);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vocabulary {
    O200k,
    Cl100k,
    Unknown,
}

/// Longer runs without a change between space and text are counted part by part: over about a million spaces the
/// vocabulary's pattern gives up with a panic.
const MAX_RUN_BYTES: usize = 256 * 1024;

impl TokenCounter {
    /// For a model of OpenAI's; an estimate when its vocabulary is not known.
    pub(crate) fn of_openai(model: &str) -> Self {
        Self(match get_tokenizer(model) {
            // Both have the same vocabulary; they differ in special tokens, which texts have none of.
            Some(Tokenizer::O200kBase | Tokenizer::O200kHarmony) => Vocabulary::O200k,
            Some(Tokenizer::Cl100kBase) => Vocabulary::Cl100k,
            _ => Vocabulary::Unknown,
        })
    }

    /// For a model whose vocabulary nobody publishes.
    pub(crate) const fn estimate() -> Self {
        Self(Vocabulary::Unknown)
    }

    /// The tokens of `text`: exact when [`is_exact`](Self::is_exact), else estimated as a token for four bytes, but no
    /// fewer than words, and no fewer than characters of scripts that write without spaces.
    ///
    /// An exact count may block: the first of a process takes more than 100 ms to load a vocabulary of tens of megabytes,
    /// and each takes some milliseconds for 10 kB. A text never has more tokens than bytes: callers whose limit lies above
    /// that need not count.
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

    /// Whether counts are the model's own, rather than estimates. (A run of more than 256 KiB without any space, or of
    /// nothing else, is counted in parts, which can add a token for each.)
    pub const fn is_exact(&self) -> bool {
        !matches!(self.0, Vocabulary::Unknown)
    }
}

fn exact(vocabulary: &CoreBPE, text: &str) -> usize {
    parts(text).map(|part| vocabulary.count_ordinary(part)).sum()
}

/// The text, cut only within runs of more than [`MAX_RUN_BYTES`].
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
    // From CJK radicals on, a character is about a token.
    let characters = text.chars().filter(|&letter| letter >= '\u{2e80}').count();
    tokens::estimate(text.len()).max(words).max(characters)
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
    fn special_tokens_in_a_text_are_only_text() {
        assert!(TokenCounter::of_openai("gpt-4o").count("<|endoftext|>") > 1);
    }

    #[test]
    fn others_are_estimated_and_say_so() {
        for counter in [TokenCounter::of_openai("llama-3"), TokenCounter::estimate()] {
            assert!(!counter.is_exact());
            assert_eq!(counter.count(""), 0);
            assert_eq!(counter.count("eight by"), 2);
            assert_eq!(counter.count("a b c d e"), 5);
            assert_eq!(counter.count("你好世界"), 4);
        }
    }

    #[test]
    fn no_text_has_more_tokens_than_bytes_or_cannot_be_counted() {
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
    fn ordinary_text_is_never_cut() {
        let text = "Some words,\n\n  and more. ".repeat(20_000);
        assert_eq!(parts(&text).count(), 1);
        let long = "x".repeat(MAX_RUN_BYTES * 2 + 1);
        assert_eq!(
            parts(&long).map(str::len).collect::<Vec<_>>(),
            [MAX_RUN_BYTES, MAX_RUN_BYTES, 1]
        );
    }
}
