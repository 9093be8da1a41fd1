//! The lists of relationships in a package of Office Open XML (ECMA-376, part 2, section 6.5.3).

use std::borrow::Cow;

use cura_domain::file::FileReason;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Ends the type of the relationship of a document with its template.
const TEMPLATE: &str = "/attachedtemplate";
/// End the types of relationships with macros, of whatever name and age.
const MACROS: [&str; 4] = ["/vbaproject", "/wordvbadata", "/xlmacrosheet", "/xlintlmacrosheet"];
/// What packages are written in, and what has the same characters where it matters.
const ENCODINGS: [&str; 6] = ["utf-8", "utf8", "utf-16", "us-ascii", "iso-8859-1", "windows-1252"];

/// What a list names that whoever opens the document should know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Relationships {
    /// A template that lies elsewhere, or may: the list is in an encoding that is not read here.
    pub(super) external_template: bool,
    pub(super) macros: bool,
}

impl Relationships {
    /// # Errors
    /// [`FileReason::Unreadable`] if it is not XML, or has a document type declaration, which no package has and which could make a
    /// short text long.
    pub(super) fn read(xml: &[u8]) -> Result<Self, FileReason> {
        let xml = decoded(xml);
        let mut reader = Reader::from_str(&xml);
        let mut found = Self::default();
        // In an encoding that is not known here, there may be anything.
        found.external_template |= xml.contains('\0');
        loop {
            match reader.read_event().map_err(|_| FileReason::Unreadable)? {
                Event::Start(element) | Event::Empty(element) if element.local_name().as_ref() == "Relationship" => {
                    found.add(&element)?;
                }
                Event::Decl(declaration) => {
                    if let Some(encoding) = declaration.encoding() {
                        let encoding = encoding.map_err(|_| FileReason::Unreadable)?;
                        let is_known = ENCODINGS
                            .iter()
                            .any(|known| known.eq_ignore_ascii_case(encoding.as_ref()));
                        found.external_template |= !is_known;
                    }
                }
                Event::DocType(_) => return Err(FileReason::Unreadable),
                Event::Eof => return Ok(found),
                _ => {}
            }
        }
    }

    fn add(&mut self, element: &BytesStart<'_>) -> Result<(), FileReason> {
        let kind = attribute(element, "Type")?;
        self.macros |= MACROS.iter().any(|end| kind.ends_with(end));
        self.external_template |= kind.ends_with(TEMPLATE) && attribute(element, "TargetMode")? == "external";
        Ok(())
    }
}

/// An attribute in small letters; empty if there is none.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<String, FileReason> {
    let attribute = element.try_get_attribute(name).map_err(|_| FileReason::Unreadable)?;
    let Some(attribute) = attribute else {
        return Ok(String::new());
    };
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    let value = value.map_err(|_| FileReason::Unreadable)?;
    Ok(value.trim().to_ascii_lowercase())
}

/// The text: of UTF-16 with a mark or a bracket at its beginning, or of anything that writes letters as ASCII does.
fn decoded(xml: &[u8]) -> Cow<'_, str> {
    let utf_16 = |bytes: &[u8], of: fn([u8; 2]) -> u16| -> String {
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| of(*unit));
        let characters = char::decode_utf16(units);
        characters
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    match xml {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes).into(),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes).into(),
        [b'<', 0, ..] => utf_16(xml, u16::from_le_bytes).into(),
        [0, b'<', ..] => utf_16(xml, u16::from_be_bytes).into(),
        _ => String::from_utf8_lossy(xml.strip_prefix(b"\xef\xbb\xbf").unwrap_or(xml)),
    }
}
