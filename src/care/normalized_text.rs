//! Normalized text: the form in which messages and patterns are compared. Texts that differ only in case, accents,
//! apostrophes, punctuation or spacing have the same form.

use std::ops::Range;

use cura_domain::text::{is_invisible, is_unspaced_script};
use icu_normalizer::DecomposingNormalizerBorrowed;

/// Words in lower case with one space between them, without accents, apostrophes and punctuation. At most a constant
/// factor longer than the raw text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NormalizedText {
    text: String,
    /// Offsets of removed apostrophes, ascending: `l’overdose` is one word, and `overdose` is found in it.
    joints: Vec<usize>,
    /// Offsets of the spaces that replaced punctuation or a line break, ascending.
    breaks: Vec<usize>,
}

impl NormalizedText {
    /// Normalizes `raw`.
    pub(crate) fn of(raw: &str) -> Self {
        let mut normalized = Self {
            text: String::with_capacity(raw.len()),
            joints: Vec::new(),
            breaks: Vec::new(),
        };
        // Apostrophes first: compatibility decomposition turns some of them into a space and an accent.
        let straight = raw.chars().map(|c| match c {
            _ if is_apostrophe(c) => '\'',
            // Single characters that decompose to whole Arabic sentences: the text could become eighteen times longer.
            '\u{fdfa}' | '\u{fdfb}' => ' ',
            _ => c,
        });
        let mut gap = Gap::None;
        for c in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(straight) {
            if is_accent(c) || is_invisible(c) {
                continue;
            }
            if c == '\'' {
                normalized.joints.push(normalized.text.len());
            } else if c.is_alphanumeric() {
                let alone = is_unspaced_script(c);
                if alone {
                    gap = gap.max(Gap::Space);
                }
                normalized.close(gap);
                normalized.push(c);
                gap = if alone { Gap::Space } else { Gap::None };
            } else {
                gap = gap.max(if is_space(c) { Gap::Space } else { Gap::Break });
            }
        }
        normalized
    }

    /// The normalized text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_one_word(&self) -> bool {
        !self.text.is_empty() && !self.text.contains(' ')
    }

    /// Whether there is punctuation between the words of `span`.
    pub(crate) fn has_break(&self, span: &Range<usize>) -> bool {
        let next = self.breaks.partition_point(|offset| *offset < span.start);
        self.breaks.get(next).is_some_and(|offset| *offset < span.end)
    }

    pub(crate) fn is_whole_words(&self, span: &Range<usize>) -> bool {
        let bytes = self.text.as_bytes();
        let is_joint = |at| self.joints.binary_search(&at).is_ok();
        let starts = span.start == 0 || bytes.get(span.start - 1) == Some(&b' ') || is_joint(span.start);
        starts && (bytes.get(span.end).is_none_or(|next| *next == b' ') || is_joint(span.end))
    }

    fn close(&mut self, gap: Gap) {
        if gap == Gap::None || self.text.is_empty() {
            return;
        }
        if gap == Gap::Break {
            self.breaks.push(self.text.len());
        }
        self.text.push(' ');
    }

    fn push(&mut self, c: char) {
        for lower in c.to_lowercase() {
            match lower {
                'ß' => self.text.push_str("ss"),
                'æ' => self.text.push_str("ae"),
                'œ' => self.text.push_str("oe"),
                'ø' => self.text.push('o'),
                'ł' => self.text.push('l'),
                'đ' | 'ð' => self.text.push('d'),
                'ı' => self.text.push('i'),
                'ς' => self.text.push('σ'),
                accent if is_accent(accent) => {}
                other => self.text.push(other),
            }
        }
    }
}

/// The separator between two words; the greater one wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Break,
}

fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '´' | 'ʹ' | 'ʻ' | 'ʼ' | '‘' | '’' | '‛' | '′' | 'ꞌ' | '＇'
    )
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '-' | '\u{2010}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_spellings_have_the_same_form() {
        for (raw, words) in [
            ("I don’t  WANT…to\n\nlive!", "i dont want to live"),
            ("I don´t, I don`t, I don't", "i dont i dont i dont"),
            ("  (self-harm) ", "self harm"),
            ("sel\u{ad}f\u{200b}harm", "selfharm"),
            ("Chcę się zabić: ŁÓDŹ", "chce sie zabic lodz"),
            ("weiß STRASSE ẞ", "weiss strasse ss"),
            ("ｋｉｌｌ ｍｙｓｅｌｆ", "kill myself"),
            ("𝐤𝐢𝐥𝐥 𝓶𝔂𝓼𝓮𝓵𝓯", "kill myself"),
            ("k\u{336}i\u{336}l\u{336}l", "kill"),
            ("İstanbul", "istanbul"),
            ("我想死", "我 想 死"),
            ("", ""),
            ("…!'", ""),
        ] {
            assert_eq!(NormalizedText::of(raw).as_str(), words, "{raw}");
        }
    }

    #[test]
    fn punctuation_is_a_break_and_hyphens_and_spaces_are_not() {
        let words = NormalizedText::of("a b-c, d\ne");
        assert_eq!(words.as_str(), "a b c d e");
        assert!(!words.has_break(&(0..5)) && words.has_break(&(4..7)) && words.has_break(&(0..9)));
    }
}
