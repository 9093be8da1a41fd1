//! PDF documents (ISO 32000-2): scripts and programs that they start.

mod unread;

use cura_domain::file::{FileReason, Finding};
use pdf_extract::{Dictionary, Document, Error, Object};

/// The most values that are looked at, in all objects. A document of a thousand pages has some hundred thousand.
const MAX_VALUES: usize = 5_000_000;

/// What is in a PDF. Every object is looked at, used or not, also those that are packed into streams.
pub(super) fn findings(bytes: &[u8]) -> Result<Vec<Finding>, FileReason> {
    let document = open(bytes)?;
    if unread::has_unread_objects(&document, bytes) {
        return Err(FileReason::Unreadable);
    }
    let mut found = Found::default();
    let mut left: Vec<&Object> = document.objects.values().collect();
    let mut looked_at = left.len();
    found.look(&document.trailer);
    left.extend(document.trailer.iter().map(|(_, value)| value));
    while let Some(object) = left.pop() {
        let before = left.len();
        match object {
            Object::Array(values) => left.extend(values),
            Object::Dictionary(dictionary) => {
                found.look(dictionary);
                left.extend(dictionary.iter().map(|(_, value)| value));
            }
            Object::Stream(stream) => {
                found.look(&stream.dict);
                left.extend(stream.dict.iter().map(|(_, value)| value));
            }
            _ => {}
        }
        looked_at += left.len() - before;
        if looked_at > MAX_VALUES {
            return Err(FileReason::LimitsExceeded);
        }
    }
    let found = [
        (found.javascript, Finding::PdfJavascript),
        (found.launch, Finding::PdfLaunch),
    ];
    Ok(found
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, finding)| finding)
        .collect())
}

/// Opens a PDF that needs no password.
pub(crate) fn open(bytes: &[u8]) -> Result<Document, FileReason> {
    let document = Document::load_mem(bytes).map_err(|error| reason(&error))?;
    // It is gone once the document was decrypted, which needs no password if only printing is forbidden.
    if document.trailer.has(b"Encrypt") {
        return Err(FileReason::Encrypted);
    }
    document.catalog().map_err(|_| FileReason::Unreadable)?;
    Ok(document)
}

#[derive(Default)]
struct Found {
    javascript: bool,
    launch: bool,
}

impl Found {
    /// An action has its kind in `S`; scripts that run when a document is opened are listed under `JavaScript`.
    fn look(&mut self, dictionary: &Dictionary) {
        let kind = dictionary.get(b"S").ok().and_then(|kind| kind.as_name().ok());
        self.javascript |= kind == Some(b"JavaScript") || dictionary.has(b"JS") || dictionary.has(b"JavaScript");
        self.launch |= kind == Some(b"Launch");
    }
}

fn reason(error: &Error) -> FileReason {
    match error {
        Error::Decryption(_) | Error::InvalidPassword | Error::UnsupportedSecurityHandler(_) => FileReason::Encrypted,
        _ => FileReason::Unreadable,
    }
}
