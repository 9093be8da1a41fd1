//! Where the objects are that were read from a file.

use std::collections::{HashMap, HashSet};

use cura_domain::file::FileReason;
use pdf_extract::xref::XrefEntry;
use pdf_extract::{Document, ObjectId};

/// The places behind the headers of all objects that were read, but for those that are packed into streams.
///
/// A table may list places where no object begins, or that of another object. The reader takes what it finds there, and the last one
/// of those that call themselves the same; such objects are left out here, as if none of them was read.
///
/// # Errors
/// [`FileReason::Unreadable`] if the reader has left out an object that is there, as it does with one that is nested too deeply.
pub(super) fn bodies(document: &Document, bytes: &[u8]) -> Result<HashSet<usize>, FileReason> {
    // How a document was encrypted is removed once it is decrypted.
    let encryption = if document.was_encrypted() {
        encryption(document, bytes)
    } else {
        None
    };
    let is_read = |id| document.objects.contains_key(&id) || encryption == Some(id);
    let mut bodies: HashMap<ObjectId, HashSet<usize>> = HashMap::new();
    for (number, entry) in &document.reference_table.entries {
        let is_there = match entry {
            XrefEntry::Normal { offset, .. } => match usize::try_from(*offset).ok().and_then(|at| header(bytes, at)) {
                Some((id, body)) => {
                    bodies.entry(id).or_default().insert(body);
                    is_read(id)
                }
                None => true,
            },
            XrefEntry::Compressed { .. } => is_read((*number, 0)),
            XrefEntry::Free | XrefEntry::UnusableFree => true,
        };
        if !is_there {
            return Err(FileReason::Unreadable);
        }
    }
    let only = bodies.into_values().filter(|places| places.len() == 1);
    Ok(only.flatten().collect())
}

/// The object with how the document is encrypted, which the last trailer names.
fn encryption(document: &Document, bytes: &[u8]) -> Option<ObjectId> {
    let name = b"/Encrypt";
    let trailer = bytes.get(document.xref_start..)?;
    let mut named = trailer.windows(name.len() + 1).enumerate();
    let (at, _) = named.find(|(_, part)| part.starts_with(name) && part[name.len()].is_ascii_whitespace())?;
    let (id, _) = id(trailer, at + name.len())?;
    Some(id)
}

/// The number and generation of the object that begins at a place, and where its header ends.
fn header(bytes: &[u8], at: usize) -> Option<(ObjectId, usize)> {
    let (id, at) = id(bytes, at)?;
    bytes[at..].starts_with(b"obj").then_some((id, at + 3))
}

/// Two numbers, and the place behind them and behind the space that follows.
fn id(bytes: &[u8], at: usize) -> Option<(ObjectId, usize)> {
    let (number, at) = digits(bytes, skip_space(bytes, at)?)?;
    let (generation, at) = digits(bytes, skip_space(bytes, at)?)?;
    let id = (number.parse().ok()?, generation.parse().ok()?);
    Some((id, skip_space(bytes, at)?))
}

fn digits(bytes: &[u8], at: usize) -> Option<(&str, usize)> {
    let rest = bytes.get(at..)?;
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((str::from_utf8(&rest[..count]).ok()?, at + count))
}

/// The place behind white space and comments.
fn skip_space(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut is_comment = false;
    loop {
        is_comment = match bytes.get(at)? {
            b'\r' | b'\n' => false,
            _ if is_comment => true,
            b'%' => true,
            b' ' | b'\t' | b'\0' | b'\x0c' => false,
            _ => return Some(at),
        };
        at += 1;
    }
}
