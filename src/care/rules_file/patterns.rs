//! The patterns of the rules file: phrases, words, and exceptions.

use super::checks::{check_languages_are_known, check_text};
use super::format::{ByKey, SignsFile};
use crate::error::{InvalidRules, wrong};
use crate::matcher::{Matcher, Pattern};
use crate::normalized_text::NormalizedText;

const MAX_PHRASE_CHARS: usize = 100;

/// A pattern, its text, and where it stands in the file.
pub(crate) struct FilePattern {
    pointer: String,
    text: NormalizedText,
    pattern: Pattern,
}

/// Reads the patterns of one kind.
pub(crate) fn read_patterns(
    pointer: &str,
    kind: usize,
    signs: ByKey<SignsFile>,
) -> Result<Vec<FilePattern>, InvalidRules> {
    check_languages_are_known(pointer, &signs.0)?;
    let mut patterns = Vec::new();
    for (language, signs) in signs.0 {
        for (list, texts) in [
            ("phrases", signs.phrases),
            ("words", signs.words),
            ("except", signs.except),
        ] {
            for (index, text) in texts.iter().enumerate() {
                let pointer = format!("{pointer}/{language}/{list}/{index}");
                check_text(&pointer, text, MAX_PHRASE_CHARS)?;
                let normalized = NormalizedText::of(text);
                if normalized.as_str().is_empty() {
                    return wrong(pointer, "must have letters or digits");
                }
                if list == "words" && !normalized.is_one_word() {
                    return wrong(pointer, "must be one word; several belong into phrases");
                }
                let pattern = Pattern {
                    kind,
                    language: language.clone(),
                    is_exception: list == "except",
                };
                patterns.push(FilePattern {
                    pointer,
                    text: normalized,
                    pattern,
                });
            }
        }
    }
    if patterns.iter().all(|file| file.pattern.is_exception) {
        return wrong(pointer, "must have at least one phrase or word");
    }
    Ok(patterns)
}

/// Builds the matcher, and refuses exceptions that would have no effect: such that contain no pattern of their kind.
pub(crate) fn build_matcher(patterns: Vec<FilePattern>) -> Result<Matcher, InvalidRules> {
    let exceptions = patterns.iter().filter(|file| file.pattern.is_exception);
    let exceptions: Vec<(String, NormalizedText, usize)> = exceptions
        .map(|file| (file.pointer.clone(), file.text.clone(), file.pattern.kind))
        .collect();
    let patterns = patterns.into_iter().map(|file| (file.text, file.pattern));
    let matcher =
        Matcher::new(patterns.collect()).or_else(|error| wrong("/kinds", format!("too many phrases: {error}")))?;
    for (pointer, text, kind) in exceptions {
        let all = 0..text.as_str().len();
        if text.has_break(&all) {
            return wrong(
                pointer,
                "must have no punctuation between its words, as it would never be found",
            );
        }
        let within = matcher
            .matches(&text)
            .filter(|(_, pattern)| pattern.kind == kind && !pattern.is_exception);
        let spans: Vec<_> = within.map(|(span, _)| span).collect();
        if spans.is_empty() {
            return wrong(
                pointer,
                "must contain a phrase or word of its kind, as an exception cancels those it contains",
            );
        }
        if spans.contains(&all) {
            return wrong(
                pointer,
                "is itself a phrase or word of its kind, which would never count",
            );
        }
    }
    Ok(matcher)
}
