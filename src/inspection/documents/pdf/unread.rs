//! Objects of a PDF that its reader has left out without a word, as it does with those that are nested too deeply.

use std::collections::HashSet;

use pdf_extract::Document;
use pdf_extract::xref::XrefEntry;

/// Whether an object is there that was not read: what it does is not known then.
///
/// Tables of references also name places where no object begins. Readers take such objects for empty, and so do we.
pub(super) fn has_unread_objects(document: &Document, bytes: &[u8]) -> bool {
    let read: HashSet<u32> = document.objects.keys().map(|(number, _)| *number).collect();
    let entries = document.reference_table.entries.iter();
    let unread = entries.filter(|(number, entry)| {
        !read.contains(number)
            && match entry {
                XrefEntry::Normal { offset, .. } => begins_at(bytes, *offset, **number),
                XrefEntry::Compressed { .. } => true,
                XrefEntry::Free | XrefEntry::UnusableFree => false,
            }
    });
    // How a document was encrypted is removed once it is decrypted.
    unread.count() > usize::from(document.was_encrypted())
}

/// Whether the object of this number begins at a place.
fn begins_at(bytes: &[u8], offset: u32, number: u32) -> bool {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
    let rest = rest.unwrap_or_default().trim_ascii_start();
    rest.strip_prefix(number.to_string().as_bytes())
        .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
}
