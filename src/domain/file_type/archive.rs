//! Archives: which of them are Word documents. Office Open XML packs the parts of a document into a ZIP archive, and a list of
//! content types says what each part is (ECMA-376, part 2).

use super::{FileType, Refusal, hint};

/// The list of content types, which every package of Office Open XML has.
pub const CONTENT_TYPES: &str = "[Content_Types].xml";
/// The usual name of a document's main part. Word in the browser calls it `word/document2.xml`; the list says so.
pub const MAIN_PART: &str = "word/document.xml";

/// What the main part of a package is, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MainPart {
    /// A Word document.
    Document,
    /// A Word template.
    Template,
    /// A document or template with macros.
    WithMacros,
    /// A workbook of Excel.
    Spreadsheet,
    /// A presentation of PowerPoint.
    Presentation,
}

impl MainPart {
    /// The main part that a content type belongs to; `None` for those of all other parts. Case does not matter.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let content_type = content_type.trim().to_ascii_lowercase();
        let kind = content_type
            .strip_prefix("application/vnd.")?
            .strip_suffix("main+xml")?;
        match kind {
            "openxmlformats-officedocument.wordprocessingml.document." => Some(Self::Document),
            "openxmlformats-officedocument.wordprocessingml.template." => Some(Self::Template),
            "ms-word.document.macroenabled." | "ms-word.template.macroenabledtemplate." => Some(Self::WithMacros),
            _ if kind.contains("spreadsheetml") || kind.starts_with("ms-excel") => Some(Self::Spreadsheet),
            _ if kind.contains("presentationml") || kind.starts_with("ms-powerpoint") => Some(Self::Presentation),
            _ => None,
        }
    }
}

/// Whether parts of this content type hold macros.
pub fn declares_macros(content_type: &str) -> bool {
    content_type
        .trim()
        .eq_ignore_ascii_case("application/vnd.ms-office.vbaProject")
}

/// Whether a part of this name holds macros, wherever it lies.
pub fn is_macro_part(name: &[u8]) -> bool {
    let base = name
        .rsplit(|byte| matches!(byte, b'/' | b'\\'))
        .next()
        .unwrap_or_default();
    base.eq_ignore_ascii_case(b"vbaProject.bin")
}

/// Whether only documents of other programs have an entry of this name: OpenDocument and books, and Pages, Numbers and Keynote.
pub fn is_of_other_document(name: &[u8]) -> bool {
    matches!(name, b"mimetype" | b"Index/Document.iwa" | b"Index.zip")
}

/// What the directory of an archive and its list of content types say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveFacts {
    /// The main parts that the list names and that are there.
    pub main_parts: Vec<MainPart>,
    /// Whether a part with macros is there or named.
    pub has_macros: bool,
    /// Whether an entry is there that only other programs' documents have: see [`is_of_other_document`].
    pub is_other_document: bool,
}

impl ArchiveFacts {
    /// The type of the archive.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] unless it is a Word document without macros, and nothing else beside it.
    pub fn file_type(&self) -> Result<FileType, Refusal> {
        let hint = match self.main_parts.as_slice() {
            [] if self.is_other_document => hint::DOCUMENT,
            [] => hint::ARCHIVE,
            parts if self.has_macros || parts.contains(&MainPart::WithMacros) => hint::MACROS,
            [MainPart::Document] => return Ok(FileType::Docx),
            [MainPart::Template] => hint::TEMPLATE,
            [MainPart::Spreadsheet] => hint::SPREADSHEET,
            [MainPart::Presentation] => hint::PRESENTATION,
            _ => hint::UNUSUAL,
        };
        Err(Refusal::Unsupported { hint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";

    #[test]
    fn content_types_name_main_parts() {
        for (content_type, expected) in [
            (DOCUMENT, Some(MainPart::Document)),
            (&DOCUMENT.to_uppercase(), Some(MainPart::Document)),
            (
                "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
                Some(MainPart::Template),
            ),
            (
                "application/vnd.ms-word.document.macroEnabled.main+xml",
                Some(MainPart::WithMacros),
            ),
            (
                "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
                Some(MainPart::WithMacros),
            ),
            (
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
                Some(MainPart::Spreadsheet),
            ),
            (
                "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
                Some(MainPart::Presentation),
            ),
            (
                "application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml",
                None,
            ),
            ("application/xml", None),
            ("", None),
        ] {
            assert_eq!(MainPart::of_content_type(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn macros_are_found_wherever_they_lie() {
        for part in ["word/vbaProject.bin", "vbaproject.BIN", "a\\b/vbaProject.bin"] {
            assert!(is_macro_part(part.as_bytes()), "{part}");
        }
        for part in ["word/vbaProject.bin.txt", "myvbaProject.bin", ""] {
            assert!(!is_macro_part(part.as_bytes()), "{part}");
        }
        assert!(declares_macros("application/vnd.ms-office.vbaproject") && !declares_macros(DOCUMENT));
    }

    #[test]
    fn only_a_document_without_macros_is_taken() {
        let facts = |main_parts: &[MainPart]| ArchiveFacts {
            main_parts: main_parts.to_vec(),
            ..ArchiveFacts::default()
        };
        assert_eq!(facts(&[MainPart::Document]).file_type(), Ok(FileType::Docx));
        for (facts, hint) in [
            (facts(&[]), hint::ARCHIVE),
            (
                ArchiveFacts {
                    is_other_document: true,
                    ..facts(&[])
                },
                hint::DOCUMENT,
            ),
            (
                ArchiveFacts {
                    has_macros: true,
                    ..facts(&[MainPart::Document])
                },
                hint::MACROS,
            ),
            (facts(&[MainPart::WithMacros]), hint::MACROS),
            (facts(&[MainPart::Document, MainPart::WithMacros]), hint::MACROS),
            (facts(&[MainPart::Template]), hint::TEMPLATE),
            (facts(&[MainPart::Spreadsheet]), hint::SPREADSHEET),
            (facts(&[MainPart::Presentation]), hint::PRESENTATION),
            (facts(&[MainPart::Document, MainPart::Spreadsheet]), hint::UNUSUAL),
            (facts(&[MainPart::Document, MainPart::Document]), hint::UNUSUAL),
        ] {
            assert_eq!(facts.file_type(), Err(Refusal::Unsupported { hint }), "{facts:?}");
        }
    }
}
