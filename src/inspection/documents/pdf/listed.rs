//! Where the objects are that were read from a file.

use std::collections::{HashMap, HashSet};

use cura_domain::file::FileReason;
use pdf_extract::xref::XrefEntry;
use pdf_extract::{Document, Object, ObjectId};

/// The places behind the headers of all objects that were surely read, but for those that are packed into streams.
///
/// A table may list places where no object begins, or that of another object. The reader takes what it finds there, and the last one
/// of those that call themselves the same; then what became of the others is not known, and no place is returned. In place of one that
/// it cannot read, it takes one of the same number that is packed into a stream; such a place is left out, too.
///
/// # Errors
/// [`FileReason::Unreadable`] if the reader has left out an object that is packed, as it does with one that is nested too deeply.
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
        match entry {
            XrefEntry::Normal { offset, .. } => {
                let place = usize::try_from(*offset).ok().and_then(|at| header(bytes, at));
                if let Some((id, body)) = place {
                    bodies.entry(id).or_default().insert(body);
                }
            }
            XrefEntry::Compressed { .. } if !is_read((*number, 0)) => return Err(FileReason::Unreadable),
            XrefEntry::Compressed { .. } | XrefEntry::Free | XrefEntry::UnusableFree => {}
        }
    }
    // A stream of objects may be among those that were replaced.
    if bodies.values().any(|places| places.len() > 1) {
        return Ok(HashSet::new());
    }
    let packed = packed(document);
    let read = bodies
        .into_iter()
        .filter(|(id, _)| is_read(*id) && !packed.contains(id));
    Ok(read.flat_map(|(_, places)| places).collect())
}

/// What all streams of objects list, which the reader has unpacked.
fn packed(document: &Document) -> HashSet<ObjectId> {
    let streams = document.objects.values().filter_map(|object| object.as_stream().ok());
    let lists = streams
        .filter(|stream| stream.dict.has_type(b"ObjStm"))
        .filter_map(|stream| {
            let first = stream.dict.get(b"First").and_then(Object::as_i64).ok()?;
            str::from_utf8(stream.content.get(..usize::try_from(first).ok()?)?).ok()
        });
    let numbers = lists.flat_map(|list| list.split_whitespace().step_by(2));
    numbers.filter_map(|number| Some((number.parse().ok()?, 0))).collect()
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
