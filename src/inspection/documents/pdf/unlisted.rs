//! Streams of objects that no table lists, or that another one took the place of.

use std::ops::Range;

use cura_domain::file::FileReason;
use pdf_extract::Document;

use super::{Found, listed, names};

/// The most bytes of such streams that are looked at. Few files have any.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const HEAD: &[u8] = b"%PDF-1.7\n1 0 obj";

/// Looks at what is behind these headers.
///
/// # Errors
/// [`FileReason::Unreadable`] if one cannot be read, [`FileReason::LimitsExceeded`] if they are too large.
pub(super) fn look(bytes: &[u8], bodies: &[usize], found: &mut Found) -> Result<(), FileReason> {
    let mut left = MAX_BYTES;
    for body in bodies {
        let object = &bytes[range(bytes, *body)];
        left = left.checked_sub(object.len()).ok_or(FileReason::LimitsExceeded)?;
        let file = file_of(object);
        let mut document = Document::load_mem(&file).map_err(|_| FileReason::Unreadable)?;
        let bodies = listed::bodies(&document, &file)?;
        if document.objects.is_empty() {
            return Err(FileReason::Unreadable);
        }
        found.add(&names::in_file(&file, &bodies))?;
        found.walk(&mut document)?;
    }
    Ok(())
}

/// The object behind a header: to the end of its stream, or to its own.
fn range(bytes: &[u8], body: usize) -> Range<usize> {
    let rest = &bytes[body..];
    let end = |mark: &[u8]| {
        rest.windows(mark.len())
            .position(|part| part == mark)
            .map(|at| at + mark.len())
    };
    let end_of_object = end(b"endobj").unwrap_or(rest.len());
    let rest = &rest[..end_of_object];
    let end_of_stream = rest.windows(9).position(|part| part == b"endstream").map(|at| at + 9);
    body..body + end_of_stream.unwrap_or(end_of_object)
}

/// A file with nothing but an object.
fn file_of(object: &[u8]) -> Vec<u8> {
    let mut file = [HEAD, object, b"\nendobj\n"].concat();
    let table = file.len();
    let offset = HEAD.len() - b"1 0 obj".len();
    let rest = format!(
        "xref\n0 2\n0000000000 65535 f \n{offset:010} 00000 n \ntrailer << /Size 2 >>\nstartxref\n{table}\n%%EOF\n"
    );
    file.extend_from_slice(rest.as_bytes());
    file
}
