//! The list of content types in a package of Office Open XML (ECMA-376, part 2, section 7.2.3).

use cura_domain::file_type::{MAIN_PART, MainPart, Refusal, declares_macros, hint};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

const UNUSUAL: Refusal = Refusal::Unsupported { hint: hint::UNUSUAL };

/// What the list says that matters here.
#[derive(Debug, Default)]
pub(super) struct ContentTypes {
    /// The names of main parts, as they are in the archive.
    pub(super) main_parts: Vec<(String, MainPart)>,
    /// Whether something with macros is named.
    pub(super) has_macros: bool,
}

impl ContentTypes {
    /// Reads the list.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] if it is no XML; [`Refusal::Unsupported`] if it is not in UTF-8, or has a document type declaration, which
    /// no package has (section 7.1.4) and which could make a short text long.
    pub(super) fn read(xml: &[u8]) -> Result<Self, Refusal> {
        let xml = str::from_utf8(xml).map_err(|_| UNUSUAL)?;
        let mut reader = Reader::from_str(xml);
        let mut types = Self::default();
        let mut of_xml_files = None;
        loop {
            match reader.read_event().map_err(|_| Refusal::Damaged)? {
                Event::Start(element) | Event::Empty(element) => types.take(&element, &mut of_xml_files)?,
                Event::DocType(_) => return Err(UNUSUAL),
                Event::Eof => break,
                _ => {}
            }
        }
        // A package may say it of all its files that end in "xml", and name the others.
        if let (true, Some(main)) = (types.main_parts.is_empty(), of_xml_files) {
            types.main_parts.push((MAIN_PART.to_owned(), main));
        }
        Ok(types)
    }

    fn take(&mut self, element: &BytesStart<'_>, of_xml_files: &mut Option<MainPart>) -> Result<(), Refusal> {
        let kind = element.local_name();
        if !matches!(kind.as_ref(), "Override" | "Default") {
            return Ok(());
        }
        let content_type = attribute(element, "ContentType")?;
        self.has_macros |= declares_macros(&content_type);
        let Some(main) = MainPart::of_content_type(&content_type) else {
            return Ok(());
        };
        if kind.as_ref() == "Override" {
            let name = attribute(element, "PartName")?;
            self.main_parts.push((name.trim_start_matches('/').to_owned(), main));
        } else if attribute(element, "Extension")?.eq_ignore_ascii_case("xml") {
            *of_xml_files = Some(main);
        }
        Ok(())
    }
}

/// An attribute, which must be there.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<String, Refusal> {
    let attribute = element.try_get_attribute(name).ok().flatten().ok_or(Refusal::Damaged)?;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    value.map(|value| value.into_owned()).map_err(|_| Refusal::Damaged)
}
