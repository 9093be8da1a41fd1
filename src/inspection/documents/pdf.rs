//! PDF documents (ISO 32000-2): scripts and programs that they start.
//!
//! Viewers do not agree on which objects of a file count: some search for them where its tables are wrong. So every object is looked at,
//! whether a table lists it or not. Those that were read are walked through; in the rest of the file names are searched for, and the
//! streams of objects there are opened. Old versions of a document that are still in the file count, too.

mod listed;
mod names;
mod packed;
mod unlisted;

use cura_domain::file::{FileReason, Finding};
use cura_domain::file_type::PDF_TAIL_BYTES;
use pdf_extract::{Dictionary, Document, Error, Object};

/// The most values that are looked at, in all objects. A document of a thousand pages has some hundred thousand.
const MAX_VALUES: usize = 5_000_000;
const SIGNATURE: &[u8] = b"%PDF-";
const END: &[u8] = b"%%EOF";
/// How many bytes at the end our reader looks through for the end mark; others look through [`PDF_TAIL_BYTES`].
const READ_TAIL_BYTES: usize = 512;

/// What is in a PDF that was opened from these bytes.
pub(crate) fn findings(document: &mut Document, bytes: &[u8]) -> Result<Vec<Finding>, FileReason> {
    let bodies = listed::bodies(document, bytes)?;
    let in_file = names::in_file(bytes, &bodies);
    let mut found = Found::default();
    found.add(&in_file)?;
    found.walk(document)?;
    unlisted::look(bytes, &in_file.unlisted, &mut found)?;
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
    // Readers differ in where they count from if something stands before it.
    if !bytes.starts_with(SIGNATURE) {
        return Err(FileReason::Unreadable);
    }
    let document = Document::load_mem(without_long_tail(bytes)).map_err(|error| reason(&error))?;
    // It is gone once the document was decrypted, which needs no password if only printing is forbidden.
    if document.trailer.has(b"Encrypt") {
        return Err(FileReason::Encrypted);
    }
    document.catalog().map_err(|_| FileReason::Unreadable)?;
    Ok(document)
}

/// The file up to its end mark, where so much follows that our reader would not find it.
fn without_long_tail(bytes: &[u8]) -> &[u8] {
    let tail = bytes.len().saturating_sub(PDF_TAIL_BYTES);
    let mark = bytes[tail..].windows(END.len()).rposition(|part| part == END);
    match mark.map(|at| tail + at) {
        Some(at) if bytes.len() - at > READ_TAIL_BYTES => &bytes[..at + END.len()],
        _ => bytes,
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    javascript: bool,
    launch: bool,
    looked_at: usize,
}

impl Found {
    fn add(&mut self, names: &names::Names) -> Result<(), FileReason> {
        self.javascript |= names.javascript;
        self.launch |= names.launch;
        if names.is_unclear {
            Err(FileReason::Unreadable)
        } else {
            Ok(())
        }
    }

    /// Looks at all objects of a document, used or not, also at those that are packed into streams.
    fn walk(&mut self, document: &mut Document) -> Result<(), FileReason> {
        self.look(&document.trailer);
        self.look_into(document.trailer.iter().map(|(_, value)| value).collect())?;
        for object in document.objects.values_mut() {
            self.look_into(vec![&*object])?;
            if let Some(packed) = packed::objects(object)? {
                self.add(&packed.names)?;
                self.look_into(packed.objects.objects.values().collect())?;
            }
        }
        Ok(())
    }

    fn look_into(&mut self, mut left: Vec<&Object>) -> Result<(), FileReason> {
        self.looked_at += left.len();
        while let Some(object) = left.pop() {
            let before = left.len();
            match object {
                Object::Array(values) => left.extend(values),
                Object::Dictionary(dictionary) => {
                    self.look(dictionary);
                    left.extend(dictionary.iter().map(|(_, value)| value));
                }
                Object::Stream(stream) => {
                    self.look(&stream.dict);
                    left.extend(stream.dict.iter().map(|(_, value)| value));
                }
                // The kind of an action may be an object of its own.
                Object::Name(name) => {
                    self.javascript |= name == b"JavaScript";
                    self.launch |= name == b"Launch";
                }
                _ => {}
            }
            self.looked_at += left.len() - before;
            if self.looked_at > MAX_VALUES {
                return Err(FileReason::LimitsExceeded);
            }
        }
        Ok(())
    }

    /// Scripts are under `JS`, those that run when a document is opened are listed under `JavaScript`; forms of XFA have their own.
    fn look(&mut self, dictionary: &Dictionary) {
        self.javascript |= dictionary.has(b"JS") || dictionary.has(b"JavaScript") || dictionary.has(b"XFA");
    }
}

fn reason(error: &Error) -> FileReason {
    match error {
        Error::Decryption(_) | Error::InvalidPassword | Error::UnsupportedSecurityHandler(_) => FileReason::Encrypted,
        _ => FileReason::Unreadable,
    }
}
