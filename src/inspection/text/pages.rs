//! Text that is gathered page by page: tidied, and no more of it than is wanted.

use super::{DocumentText, MAX_TEXT_BYTES};
use crate::MAX_PAGES;

/// The most spaces that are kept in a row: what stands in columns stays apart.
const MAX_BLANKS: usize = 40;
/// The most line breaks that are kept in a row: an empty line.
const MAX_BREAKS: usize = 2;

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The pages so far.
///
/// Control characters but for tabs and line breaks are left out, spaces at the ends of lines, and empty lines after the first.
#[derive(Debug)]
pub(super) struct Pages {
    pages: Vec<String>,
    /// Bytes that there is room for.
    left: usize,
    is_cut: bool,
    /// What stands between the last character and the next one.
    breaks: usize,
    blanks: String,
}

impl Pages {
    /// No page yet, with room for as much as a document may have.
    pub(super) fn new() -> Self {
        Self::with_room_for(MAX_TEXT_BYTES)
    }

    /// The only page, with room for this many bytes.
    pub(super) fn with_room_for(bytes: usize) -> Self {
        Self {
            pages: Vec::new(),
            left: bytes,
            is_cut: false,
            breaks: 0,
            blanks: String::new(),
        }
    }

    /// The number of the last page.
    pub(super) fn number(&self) -> usize {
        self.pages.len()
    }

    /// Whether nothing more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.is_cut
    }

    /// Takes nothing more: something is left out.
    pub(super) fn cut(&mut self) -> Full {
        self.is_cut = true;
        Full
    }

    /// Makes this page the last one. Those before it that were never turned to are empty.
    pub(super) fn turn_to(&mut self, number: usize) -> Result<(), Full> {
        if number > MAX_PAGES {
            return Err(self.cut());
        }
        if number > self.pages.len() {
            self.pages.resize_with(number, String::new);
            (self.breaks, self.blanks) = (0, String::new());
        }
        Ok(())
    }

    /// Adds to the last page.
    pub(super) fn push_str(&mut self, text: &str) -> Result<(), Full> {
        text.chars().try_for_each(|c| self.push(c))
    }

    /// Adds to the last page, which is the first one if there is none.
    pub(super) fn push(&mut self, c: char) -> Result<(), Full> {
        match c {
            _ if self.is_cut => return Err(Full),
            '\n' | '\r' => {
                self.blanks.clear();
                self.breaks = MAX_BREAKS.min(self.breaks + 1);
            }
            '\t' => self.push_blank('\t'),
            _ if c.is_control() || is_no_character(c) => {}
            _ if c.is_whitespace() => self.push_blank(' '),
            _ => {
                if self.pages.is_empty() {
                    self.pages.push(String::new());
                }
                let Some(page) = self.pages.last_mut() else {
                    return Err(Full);
                };
                let breaks = if page.is_empty() { 0 } else { self.breaks };
                let Some(left) = self.left.checked_sub(breaks + self.blanks.len() + c.len_utf8()) else {
                    return Err(self.cut());
                };
                self.left = left;
                page.extend(std::iter::repeat_n('\n', breaks));
                page.push_str(&self.blanks);
                page.push(c);
                self.breaks = 0;
                self.blanks.clear();
            }
        }
        Ok(())
    }

    fn push_blank(&mut self, blank: char) {
        if self.blanks.len() < MAX_BLANKS {
            self.blanks.push(blank);
        }
    }

    /// The text.
    pub(super) fn finish(self, page_count: Option<u32>) -> DocumentText {
        DocumentText {
            pages: self.pages,
            page_count,
            is_cut: self.is_cut,
        }
    }
}

/// Marks of encodings, and places where something was that is no text.
fn is_no_character(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{fffc}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> String {
        let mut pages = Pages::new();
        pages.push_str(text).unwrap();
        pages.finish(None).pages.pop().unwrap_or_default()
    }

    #[test]
    fn text_is_tidied() {
        for (text, tidied) in [
            ("a  b", "a  b"),
            (" \n\r\n  a", "  a"),
            ("a \t\nb\n\n\n\n c \n", "a\nb\n\n c"),
            ("a\0\u{c}\u{1b}[0mb\u{7f}\u{85}", "a[0mb"),
            ("a\u{a0}\u{2003}b", "a  b"),
            ("a\tb\t\tc\t", "a\tb\t\tc"),
            ("\u{feff}a\u{fffd}\u{fffc}b", "ab"),
            ("", ""),
            ("\n \t", ""),
            ("Grüße, 患者 🦓", "Grüße, 患者 🦓"),
        ] {
            assert_eq!(page(text), tidied, "{text:?}");
        }
        assert_eq!(page(&format!("a{}b", " ".repeat(500))).len(), 2 + MAX_BLANKS);
    }

    #[test]
    fn no_more_is_taken_than_there_is_room_for() {
        let mut pages = Pages::with_room_for(10);
        assert_eq!(pages.push_str("12345\n678"), Ok(()));
        assert_eq!(pages.push_str(" \n\n\t"), Ok(()));
        assert!(!pages.is_full(), "what is at the end is no text");
        assert_eq!(pages.push('é'), Err(Full));
        assert_eq!(pages.push('x'), Err(Full));
        let text = pages.finish(Some(1));
        assert!(text.is_cut);
        assert_eq!(text.pages, ["12345\n678"]);
    }

    #[test]
    fn pages_keep_their_numbers() {
        let mut pages = Pages::new();
        pages.turn_to(2).unwrap();
        pages.push_str("b\n").unwrap();
        pages.turn_to(2).unwrap();
        pages.push_str("c").unwrap();
        pages.turn_to(4).unwrap();
        pages.push_str("\nd").unwrap();
        assert_eq!(pages.turn_to(MAX_PAGES + 1), Err(Full));
        let text = pages.finish(None);
        assert_eq!(text.pages, ["", "b\nc", "", "d"]);
        assert!(text.is_cut);
    }
}
