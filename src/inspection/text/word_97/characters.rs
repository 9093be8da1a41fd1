//! The characters of a DOC, some of which stand for something else ([MS-DOC], section 2.4.1).

use crate::text::pages::{Full, Pages};

/// What the bytes from 0x80 stand for in pieces of one byte: Windows-1252.
const WINDOWS_1252: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“', '”', '•',
    '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];
const CELL_END: char = '\u{7}';
const FIELD_BEGINS: char = '\u{13}';
const FIELD_SHOWS: char = '\u{14}';
const FIELD_ENDS: char = '\u{15}';
/// The most characters that are looked at. A document that fills its file has as many as that has bytes; pieces that share bytes would
/// make more of them.
const MAX_CHARACTERS: usize = 12_000_000;

/// Turns characters into text.
pub(super) struct Characters<'a> {
    text: &'a mut Pages,
    /// Fields that have begun, and those of them that say what is shown by now: before that, there is only what makes it.
    fields: usize,
    shown: usize,
    /// Whether the last character has ended a cell.
    is_cell_end: bool,
    left: usize,
}

impl<'a> Characters<'a> {
    pub(super) const fn new(text: &'a mut Pages) -> Self {
        Self {
            text,
            fields: 0,
            shown: 0,
            is_cell_end: false,
            left: MAX_CHARACTERS,
        }
    }

    /// Adds characters of one byte.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        bytes.iter().try_for_each(|byte| {
            let special = byte.checked_sub(0x80).and_then(|n| WINDOWS_1252.get(usize::from(n)));
            self.push(special.copied().unwrap_or(char::from(*byte)))
        })
    }

    /// Adds characters of two bytes. Half a character is left out.
    pub(super) fn push_wide(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let (units, _) = bytes.as_chunks::<2>();
        let characters = char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit)));
        characters.flatten().try_for_each(|c| self.push(c))
    }

    fn push(&mut self, c: char) -> Result<(), Full> {
        self.left = self.left.checked_sub(1).ok_or(()).map_err(|()| self.text.cut())?;
        let was_cell_end = std::mem::replace(&mut self.is_cell_end, c == CELL_END);
        match c {
            FIELD_BEGINS => self.fields += 1,
            FIELD_SHOWS => self.shown = self.fields.min(self.shown + 1),
            FIELD_ENDS => {
                // One that shows nothing ends as well.
                if self.shown == self.fields {
                    self.shown = self.shown.saturating_sub(1);
                }
                self.fields = self.fields.saturating_sub(1);
            }
            _ if self.shown < self.fields => {}
            // The second of two ends a row.
            CELL_END if was_cell_end => return self.text.push('\n'),
            CELL_END => return self.text.push('\t'),
            // Paragraphs, lines, pages and columns.
            '\r' | '\u{b}' | '\u{c}' | '\u{e}' => return self.text.push('\n'),
            '\u{1e}' => return self.text.push('-'),
            // A place for a hyphen, and others that are no text.
            _ => return self.text.push(c),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut pages = Pages::new();
        Characters::new(&mut pages).push_bytes(bytes).unwrap();
        pages.finish(None).pages.concat()
    }

    #[test]
    fn characters_that_stand_for_something_are_turned_into_text() {
        for (bytes, expected) in [
            (&b"a\rb\x0bc\x0cd\x0ee"[..], "a\nb\nc\nd\ne"),
            (b"\x80 \x96 \xfc\x81", "€ – ü"),
            (b"a\x1eb\x1fc\xa0d", "a-bc d"),
            (b"a\x07b\x07\x07c\x07d\x07\x07", "a\tb\nc\td"),
            (b"x\x01\x02\x05\x08y", "xy"),
            (b"see \x13 HYPERLINK \"http://x\" \x14here\x15.", "see here."),
            (b"\x13 TOC \x13 INNER \x14one\x15 \x14two\x15 three", "two three"),
            (b"a\x13 TC hidden\x15b", "ab"),
            (b"\x13 A \x14 b\x13 C\x15d\x15e", "bde"),
            (b"\x15\x14\x15a\x13", "a"),
        ] {
            assert_eq!(text(bytes).trim(), expected, "{bytes:?}");
        }
    }
}
