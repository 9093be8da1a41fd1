//! Objects that are packed into a stream (ISO 32000-2, section 7.5.7).

use cura_domain::file::FileReason;
use pdf_extract::{Dictionary, Object, ObjectStream, Stream};

use super::names::{self, Names};

/// What was unpacked.
pub(super) struct Packed {
    pub(super) objects: ObjectStream,
    pub(super) names: Names,
}

/// The objects in an object; `None` if it is no stream of objects.
///
/// # Errors
/// [`FileReason::Unreadable`] if some of them cannot be read, or may be read in two ways.
pub(super) fn objects(object: &mut Object) -> Result<Option<Packed>, FileReason> {
    match object {
        Object::Stream(stream) if may_be_packed(&stream.dict) => unpack(stream).map(Some),
        // A stream whose length is wrong is read as what stands before it.
        Object::Dictionary(dictionary) if may_be_packed(dictionary) => Err(FileReason::Unreadable),
        _ => Ok(None),
    }
}

/// Viewers do not look at the type.
fn may_be_packed(dictionary: &Dictionary) -> bool {
    dictionary.has_type(b"ObjStm") || (dictionary.has(b"First") && dictionary.has(b"N"))
}

fn unpack(stream: &mut Stream) -> Result<Packed, FileReason> {
    // Other names for the filters, which our reader does not know, and what it leaves out if there is a list of it.
    let is_odd = ["F", "DP", "DecodeParms"]
        .iter()
        .any(|name| stream.dict.has(name.as_bytes()));
    let objects = ObjectStream::new(stream).map_err(|_| FileReason::Unreadable)?;
    // It is left where a filter is not known.
    if is_odd || stream.dict.has(b"Filter") {
        return Err(FileReason::Unreadable);
    }
    let number = |name: &[u8]| {
        let number = stream.dict.get(name).and_then(Object::as_i64).ok();
        number.and_then(|number| usize::try_from(number).ok())
    };
    let (first, count) = number(b"First").zip(number(b"N")).ok_or(FileReason::Unreadable)?;
    let (list, content) = stream.content.split_at_checked(first).ok_or(FileReason::Unreadable)?;
    let listed = str::from_utf8(list).map_err(|_| FileReason::Unreadable)?;
    let places = listed.split_whitespace().skip(1).step_by(2);
    let places: Result<Vec<usize>, _> = places.map(str::parse).collect();
    let mut places = places.map_err(|_| FileReason::Unreadable)?;
    places.sort_unstable();
    // One that is listed twice, or cannot be read, is missing.
    if objects.objects.len() != places.len() || places.len() < count {
        return Err(FileReason::Unreadable);
    }
    let names = names::in_packed(content, &places);
    Ok(Packed { objects, names })
}
