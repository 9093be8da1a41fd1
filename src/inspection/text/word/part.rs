//! The text of one part: paragraphs are lines, rows of tables are lines with tabs between the cells (ECMA-376, part 1, section 17).

use std::borrow::Cow;

use cura_domain::file::FileReason;
use quick_xml::events::{BytesEnd, BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::text::pages::{Full, Pages};

/// Elements of which nothing is text that is seen: properties, the older form of what is there in a newer one, and what was moved away.
const SKIPPED: [&str; 6] = ["pPr", "sectPr", "tblPr", "Fallback", "moveFrom", "del"];
/// Notes that are only lines between text and notes.
const SEPARATORS: [&str; 3] = ["separator", "continuationSeparator", "continuationNotice"];

/// Adds the text of a part until there is no more room.
///
/// # Errors
/// [`FileReason::Unreadable`] if it is no XML, or has a document type declaration, which no part has and which could make a short text
/// long.
pub(super) fn read(xml: &[u8], text: &mut Pages) -> Result<(), FileReason> {
    let xml = decode(xml).ok_or(FileReason::Unreadable)?;
    let mut reader = Reader::from_str(&xml);
    reader.config_mut().expand_empty_elements = true;
    let mut walk = Walk {
        text,
        skipped: 0,
        texts: 0,
        runs: 0,
        hidden: None,
        cells: 0,
        is_between: false,
    };
    loop {
        let event = reader.read_event().map_err(|_| FileReason::Unreadable)?;
        let walked = match event {
            Event::Start(element) => walk.begin(&element),
            Event::End(element) => walk.end(&element),
            Event::Text(part) => walk.push(&part),
            Event::CData(part) => walk.push(&part),
            Event::GeneralRef(reference) => walk.push_reference(&reference),
            Event::DocType(_) => return Err(FileReason::Unreadable),
            Event::Eof => return Ok(()),
            _ => Ok(()),
        };
        if walked.is_err() {
            return Ok(());
        }
    }
}

struct Walk<'a> {
    text: &'a mut Pages,
    /// How many elements are open within one that is skipped, itself included.
    skipped: usize,
    /// How many are open that hold text, runs that hold them, and cells.
    texts: usize,
    runs: usize,
    cells: usize,
    /// The run, by how many were open, that is hidden.
    hidden: Option<usize>,
    /// Whether a paragraph has ended within a cell.
    is_between: bool,
}

impl Walk<'_> {
    fn begin(&mut self, element: &BytesStart<'_>) -> Result<(), Full> {
        let name = element.local_name();
        let name = name.as_ref();
        if self.skipped > 0 || SKIPPED.contains(&name) || is_separator(name, element) {
            self.skipped += 1;
            return Ok(());
        }
        match name {
            "t" => self.texts += 1,
            "r" => self.runs += 1,
            "tc" => self.cells += 1,
            "vanish" if self.hidden.is_none() && is_on(element) => self.hidden = Some(self.runs),
            "footnote" | "endnote" => return self.push_mark(name, element),
            "footnoteReference" | "endnoteReference" if self.is_shown() => {
                return self.push_mark(name.trim_end_matches("Reference"), element);
            }
            // In a list of tab stops, it is no character.
            "tab" | "ptab" if self.is_shown() => return self.text.push('\t'),
            "br" | "cr" if self.is_shown() => return self.text.push(if self.cells > 0 { ' ' } else { '\n' }),
            "noBreakHyphen" if self.is_shown() => return self.text.push('-'),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, element: &BytesEnd<'_>) -> Result<(), Full> {
        if self.skipped > 0 {
            self.skipped -= 1;
            return Ok(());
        }
        match element.local_name().as_ref() {
            "t" => self.texts = self.texts.saturating_sub(1),
            "r" => {
                self.hidden = self.hidden.filter(|run| *run < self.runs);
                self.runs = self.runs.saturating_sub(1);
            }
            "p" if self.cells > 0 => self.is_between = true,
            "p" => return self.text.push('\n'),
            "tc" => {
                self.cells = self.cells.saturating_sub(1);
                self.is_between = false;
                return self.text.push('\t');
            }
            "tr" => return self.text.push('\n'),
            _ => {}
        }
        Ok(())
    }

    fn is_shown(&self) -> bool {
        self.runs > 0 && self.skipped == 0 && self.hidden.is_none()
    }

    fn push(&mut self, text: &str) -> Result<(), Full> {
        if self.texts == 0 || self.skipped > 0 || self.hidden.is_some() {
            return Ok(());
        }
        if std::mem::take(&mut self.is_between) {
            self.text.push(' ')?;
        }
        // A line break within the XML is a space; those of the document are elements.
        text.chars()
            .try_for_each(|c| self.text.push(if c == '\n' || c == '\r' { ' ' } else { c }))
    }

    /// What `&…;` stands for. There are five names without a document type declaration.
    fn push_reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Full> {
        let named = match &**reference {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => reference.resolve_char_ref().ok().flatten(),
        };
        named.map_or(Ok(()), |c| self.push(c.encode_utf8(&mut [0; 4])))
    }

    /// The number of a note, in the text and at the note: `[1]`, or `[e1]` for one at the end of the document.
    fn push_mark(&mut self, kind: &str, element: &BytesStart<'_>) -> Result<(), Full> {
        let Some(number) = attribute(element, "id") else {
            return Ok(());
        };
        let number: String = number.chars().filter(char::is_ascii_digit).take(9).collect();
        let mark = if kind == "endnote" { "e" } else { "" };
        self.text.push_str(&format!("[{mark}{number}]"))
    }
}

fn is_separator(name: &str, element: &BytesStart<'_>) -> bool {
    matches!(name, "footnote" | "endnote")
        && attribute(element, "type").is_some_and(|kind| SEPARATORS.contains(&kind.as_str()))
}

/// Whether a property that has no value, or one that is not "off", is on.
fn is_on(element: &BytesStart<'_>) -> bool {
    !attribute(element, "val").is_some_and(|value| matches!(value.as_str(), "0" | "false" | "off"))
}

/// An attribute, whatever its namespace is called.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element
        .attributes()
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)?;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    value.ok().map(Cow::into_owned)
}

/// The text of XML in UTF-8, or in UTF-16 with a mark; there is no other encoding in a package (part 2, section 7.1.4).
fn decode(xml: &[u8]) -> Option<Cow<'_, str>> {
    let unit = match xml {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => {
            return str::from_utf8(xml)
                .ok()
                .map(|xml| xml.trim_start_matches('\u{feff}').into());
        }
    };
    let (units, rest) = xml[2..].as_chunks::<2>();
    let decoded: Result<String, _> = char::decode_utf16(units.iter().map(|pair| unit(*pair))).collect();
    decoded.ok().filter(|_| rest.is_empty()).map(Cow::Owned)
}
