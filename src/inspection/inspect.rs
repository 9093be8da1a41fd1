//! What a child does with each type of file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;

use crate::answer::{Answer, Inspected};
use crate::request::Wanted;
use crate::text::{DocumentText, text_of, text_of_pdf};
use crate::{documents, pictures};

/// Looks into a file. The answer never depends on its name or on what a client says of it.
pub fn inspect(file_type: FileType, wanted: Wanted, bytes: &[u8]) -> Answer {
    let inspected = match (wanted, file_type.is_picture()) {
        (Wanted::Scan, true) => scan_picture(file_type, bytes),
        (Wanted::Scan, false) => scan_document(file_type, bytes),
        (Wanted::Avatar, true) => avatar(file_type, bytes),
        (Wanted::Avatar, false) => Err(FileReason::Unreadable),
    };
    inspected.map_or_else(Answer::Refused, Answer::Inspected)
}

fn scan_picture(file_type: FileType, bytes: &[u8]) -> Result<Inspected, FileReason> {
    let made = pictures::for_model_and_lists(file_type, bytes)?;
    Ok(Inspected {
        large: Some(made.large),
        small: Some(made.small),
        ..Inspected::default()
    })
}

fn avatar(file_type: FileType, bytes: &[u8]) -> Result<Inspected, FileReason> {
    let made = pictures::for_profile(file_type, bytes)?;
    Ok(Inspected {
        large: Some(made.large),
        small: Some(made.small),
        ..Inspected::default()
    })
}

fn scan_document(file_type: FileType, bytes: &[u8]) -> Result<Inspected, FileReason> {
    // First, because it keeps within the limits that text is then taken within.
    let (findings, text) = if file_type == FileType::Pdf {
        let mut document = documents::pdf::open(bytes)?;
        let findings = documents::pdf::findings(&mut document, bytes)?;
        (findings, text(|| text_of_pdf(&document))?)
    } else {
        let findings = documents::findings(file_type, bytes)?;
        (findings, text(|| text_of(file_type, bytes))?)
    };
    Ok(Inspected {
        findings,
        text,
        ..Inspected::default()
    })
}

/// The text; none where its reader gives up in the middle, as it does at some fonts: the document may be good for all that.
fn text(read: impl FnOnce() -> Result<DocumentText, FileReason>) -> Result<DocumentText, FileReason> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Ok(DocumentText::default()))
}
