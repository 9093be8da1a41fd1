//! ZIP archives: Word documents, and what looks like them.

use std::io::{Read, Seek};

use cura_domain::file_type::{ArchiveFacts, CONTENT_TYPES, FileType, Refusal, is_macro_part, is_of_other_document};

use super::Looked;
use super::content_types::ContentTypes;
use super::contents::Contents;
use super::directory::{Directory, Entry};

/// The longest list of content types, packed or not: a thousand parts with long names.
const MAX_CONTENT_TYPES_BYTES: u64 = 256 * 1024;

/// The type of an archive, by its directory and its list of content types.
pub(super) fn look<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<FileType> {
    let directory = Directory::read(contents)?;
    let entries = directory.entries()?;
    let mut facts = ArchiveFacts {
        is_other_document: entries.iter().any(|entry| is_of_other_document(entry.name)),
        has_macros: entries.iter().any(|entry| is_macro_part(entry.name)),
        ..ArchiveFacts::default()
    };
    if let Some(list) = only(&entries, CONTENT_TYPES)? {
        let list = directory.content(contents, list, MAX_CONTENT_TYPES_BYTES)?;
        let types = ContentTypes::read(&list)?;
        facts.has_macros |= types.has_macros;
        for (name, main) in types.main_parts {
            if only(&entries, &name)?.is_some() {
                facts.main_parts.push(main);
            }
        }
    }
    Ok(facts.file_type()?)
}

/// The entry of this name; case does not matter, as in packages.
///
/// # Errors
/// [`Refusal::Damaged`] if there are several: readers differ in which of them they take.
fn only<'e, 'd>(entries: &'e [Entry<'d>], name: &str) -> Result<Option<&'e Entry<'d>>, Refusal> {
    let mut named = entries
        .iter()
        .filter(|entry| entry.name.eq_ignore_ascii_case(name.as_bytes()));
    match (named.next(), named.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Refusal::Damaged),
    }
}
