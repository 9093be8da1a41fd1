//! The lists of relationships in a package of Office Open XML (ECMA-376, part 2, section 6.5.3).

use cura_domain::file::FileReason;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Ends the type of the relationship of a document with its template.
const TEMPLATE: &str = "/attachedtemplate";

/// Whether a list names a template that lies elsewhere.
///
/// # Errors
/// [`FileReason::Unreadable`] unless it is XML in UTF-8 without a document type declaration, which no package has and which could
/// make a short text long.
pub(super) fn have_external_template(xml: &[u8]) -> Result<bool, FileReason> {
    let xml = str::from_utf8(xml).map_err(|_| FileReason::Unreadable)?;
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().map_err(|_| FileReason::Unreadable)? {
            Event::Start(element) | Event::Empty(element) if is_external_template(&element)? => return Ok(true),
            Event::DocType(_) => return Err(FileReason::Unreadable),
            Event::Eof => return Ok(false),
            _ => {}
        }
    }
}

fn is_external_template(element: &BytesStart<'_>) -> Result<bool, FileReason> {
    if element.local_name().as_ref() != "Relationship" {
        return Ok(false);
    }
    let is = |name, test: fn(&str) -> bool| -> Result<bool, FileReason> {
        let attribute = element.try_get_attribute(name).map_err(|_| FileReason::Unreadable)?;
        let Some(attribute) = attribute else { return Ok(false) };
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        Ok(test(&value.map_err(|_| FileReason::Unreadable)?.to_ascii_lowercase()))
    };
    Ok(is("TargetMode", |mode| mode.trim() == "external")? && is("Type", |kind| kind.trim().ends_with(TEMPLATE))?)
}
