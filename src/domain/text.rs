//! Properties of Unicode text that the rules for names, titles and messages share.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::{CanonicalCombiningClass, GeneralCategory, GeneralCategoryGroup};

/// Whether `text` has nothing visible: only white space, control and zero-width characters.
pub fn is_blank(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_whitespace() || c.is_control() || is_invisible(c) || is_empty_glyph(c))
}

/// Whether `c` alone shows nothing: a blank pattern, or what only changes the character before it.
const fn is_empty_glyph(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{fe00}'..='\u{fe0f}' | '\u{17b4}' | '\u{17b5}' | '\u{e0000}'..='\u{e01ef}')
}

/// Whether `c` is a zero-width or filler character, or a mark of direction.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}')
}

/// Whether the script of `c` puts no spaces between words, so that a word may begin at any letter.
pub const fn is_unspaced_script(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether `c` is a mark, which belongs to the letter before it: an accent, a vowel sign, a virama.
pub(crate) fn is_mark(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    GeneralCategoryGroup::NonspacingMark
        .union(GeneralCategoryGroup::SpacingMark)
        .contains(category)
}

/// Whether `c` is a mark that takes the vowel from the consonant before it.
pub(crate) fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

/// `text` in Unicode's composed form (NFC), so that the same letters typed on different systems are equal.
pub(crate) fn composed(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_text_is_blank() {
        for blank in [
            "",
            " \n",
            "\u{200b}\u{feff}",
            "\u{1}\u{2}",
            "\u{202e}",
            "\u{2800}",
            "\u{fe0f}",
            "\u{e0101}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        assert!(!is_blank("\u{200b}a") && !is_blank("👋") && !is_blank("❤\u{fe0f}"));
    }
}
