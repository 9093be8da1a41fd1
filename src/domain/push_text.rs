//! What a push says: one sentence, or the beginning of an answer without what only a screen can show.

use std::collections::BTreeMap;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde::Deserialize;
use thiserror::Error;
use unicode_segmentation::UnicodeSegmentation;

use crate::profile::Language;

/// The most characters of an answer in a push.
pub const MAX_EXCERPT_CHARS: usize = 140;
/// How much of an answer is read for it, in bytes: Markdown is longer than what it shows, but not ten times.
const MAX_READ_BYTES: usize = 8 * 1024;
/// The language of sentences that nobody has translated.
const FALLBACK: &str = "en";
/// The longest sentence, in characters.
const MAX_SENTENCE_CHARS: usize = 200;

/// What has happened to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerOutcome {
    /// It is there.
    Completed,
    /// There is none.
    Failed,
}

/// The sentences of pushes that say no more than that there is something, by language.
#[derive(Debug, Clone)]
pub struct PushTexts(BTreeMap<String, Sentences>);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sentences {
    answer: String,
    answer_failed: String,
}

/// Sentences that cannot be used.
#[derive(Debug, Error)]
pub enum InvalidPushTexts {
    /// Not JSON of the right form.
    #[error("is not {{language: {{answer, answer_failed}}}}: {0}")]
    Malformed(#[from] serde_json::Error),
    /// There is nothing to fall back on.
    #[error("has no sentences in English ({FALLBACK:?}), which everybody else gets")]
    NoFallback,
    /// Not a language.
    #[error("names {0:?}, which is not a language tag")]
    UnknownLanguage(String),
    /// Empty, or too long for a lock screen.
    #[error("has a sentence in {0:?} that is blank or longer than {MAX_SENTENCE_CHARS} characters")]
    Length(String),
}

impl Default for PushTexts {
    #[expect(clippy::expect_used, reason = "a test reads the file that is compiled in")]
    fn default() -> Self {
        Self::parse(include_str!("data/push_texts.json")).expect("the sentences that are compiled in")
    }
}

impl PushTexts {
    /// Reads sentences.
    ///
    /// # Errors
    /// [`InvalidPushTexts`] says what is wrong.
    pub fn parse(json: &str) -> Result<Self, InvalidPushTexts> {
        let texts: BTreeMap<String, Sentences> = serde_json::from_str(json)?;
        for (language, sentences) in &texts {
            if Language::new(language).is_err() {
                return Err(InvalidPushTexts::UnknownLanguage(language.clone()));
            }
            for sentence in [&sentences.answer, &sentences.answer_failed] {
                if !(1..=MAX_SENTENCE_CHARS).contains(&one_line(sentence).chars().count()) {
                    return Err(InvalidPushTexts::Length(language.clone()));
                }
            }
        }
        if texts.contains_key(FALLBACK) {
            Ok(Self(texts))
        } else {
            Err(InvalidPushTexts::NoFallback)
        }
    }

    /// The sentence in the language that is asked for, one that it is a variant of, or English.
    pub fn sentence(&self, language: &str, outcome: AnswerOutcome) -> &str {
        let mut wanted = Some(language);
        while let Some(tag) = wanted {
            if let Some(found) = self.find(tag, outcome) {
                return found;
            }
            wanted = tag.rsplit_once('-').map(|(general, _)| general);
        }
        self.find(FALLBACK, outcome).unwrap_or_default()
    }

    fn find(&self, language: &str, outcome: AnswerOutcome) -> Option<&str> {
        let sentences = self.0.get(language)?;
        Some(match outcome {
            AnswerOutcome::Completed => &sentences.answer,
            AnswerOutcome::Failed => &sentences.answer_failed,
        })
    }
}

/// The beginning of an answer: its words without Markdown on one line, at most [`MAX_EXCERPT_CHARS`] characters, cut between
/// what people see as characters.
pub fn excerpt(answer: &str) -> String {
    let read = &answer[..answer.floor_char_boundary(MAX_READ_BYTES)];
    let (mut words, mut images) = (String::new(), 0_u32);
    // What models write beside plain Markdown.
    let extensions = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(read, extensions) {
        match event {
            Event::Start(Tag::Image { .. }) => images += 1,
            Event::End(TagEnd::Image) => images = images.saturating_sub(1),
            Event::Text(text) | Event::Code(text) if images == 0 => words.push_str(&text),
            // Whatever ends or breaks off separates words, unless it only marks some of them.
            Event::End(
                TagEnd::Emphasis
                | TagEnd::Strong
                | TagEnd::Strikethrough
                | TagEnd::Link
                | TagEnd::Subscript
                | TagEnd::Superscript,
            ) => {}
            Event::End(_) | Event::SoftBreak | Event::HardBreak | Event::Rule => words.push(' '),
            _ => {}
        }
    }
    cut(&one_line(&words), MAX_EXCERPT_CHARS)
}

/// The text on one line, without what would change how the text around it is shown.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let shown = words.map(|word| word.replace(is_directional, ""));
    shown.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// At most `most` characters, of which the last is an ellipsis if there were more.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let (mut kept, mut length) = (0, 1);
    for (start, grapheme) in text.grapheme_indices(true) {
        length += grapheme.chars().count();
        if length > most {
            break;
        }
        kept = start + grapheme.len();
    }
    format!("{}…", text[..kept].trim_end())
}

/// Characters that change the direction of what follows (UAX #9).
const fn is_directional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_excerpt_is_what_an_answer_says_without_markdown() {
        for (answer, said) in [
            (
                "# Sleep\n\nTry **this**:\n\n1. `breathe`\n2. [read](https://x.example) _slowly_",
                "Sleep Try this: breathe read slowly",
            ),
            ("![a cat](cat.png)Look", "Look"),
            ("<b>no</b> tags", "no tags"),
            ("It takes ~~one~~ **two** hours", "It takes one two hours"),
            ("~5 minutes, or ~10", "~5 minutes, or ~10"),
            (
                "| food | sleep |\n| --- | :-: |\n| nuts | better |\n\nSo eat nuts.",
                "food sleep nuts better So eat nuts.",
            ),
            ("a | b\nis no table", "a | b is no table"),
            ("- [x] breathe\n- [ ] read\n- [y] is none", "breathe read [y] is none"),
            ("```rust\nlet x = 1;\n```\nThat is it.", "let x = 1; That is it."),
            ("one\u{202e}two\u{0}three\u{2028}four", "onetwo three four"),
            ("", ""),
        ] {
            assert_eq!(excerpt(answer), said, "{answer:?}");
        }
    }

    #[test]
    fn a_family_is_not_torn_at_the_cut() {
        let family = "👨‍👩‍👧‍👦";
        let text = "x".repeat(MAX_EXCERPT_CHARS - 3) + family;
        assert_eq!(excerpt(&text), "x".repeat(MAX_EXCERPT_CHARS - 3) + "…");
        let fits = "x".repeat(MAX_EXCERPT_CHARS - 7) + family;
        assert_eq!(excerpt(&fits), fits);
    }

    #[test]
    fn sentences_are_in_the_persons_language_or_english() {
        let texts = PushTexts::default();
        let english = texts.sentence("en", AnswerOutcome::Completed);
        assert_ne!(english, texts.sentence("en", AnswerOutcome::Failed));
        assert_eq!(texts.sentence("tlh", AnswerOutcome::Completed), english);
        assert_eq!(
            texts.sentence("de-AT", AnswerOutcome::Completed),
            texts.sentence("de", AnswerOutcome::Completed)
        );
        assert_ne!(texts.sentence("de", AnswerOutcome::Completed), english);
        for bad in [
            r#"{"de": {"answer": "a", "answer_failed": "b"}}"#,
            r#"{"en": {"answer": "a"}}"#,
            r#"{"en": {"answer": " ", "answer_failed": "b"}}"#,
            r#"{"en": {"answer": "a", "answer_failed": "b"}, "english please": {"answer": "a", "answer_failed": "b"}}"#,
            "[]",
        ] {
            assert!(PushTexts::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_excerpt_is_short_and_harmless(answer in ".{0,400}") {
            let said = excerpt(&answer);
            prop_assert!(said.chars().count() <= MAX_EXCERPT_CHARS);
            prop_assert!(!said.chars().any(|c| c.is_control() || is_directional(c)));
        }
    }
}
