//! Word documents (Office Open XML): macros, also those of documents within, and templates that are loaded from elsewhere.

use cura_domain::file::{FileReason, Finding};
use cura_domain::file_type::is_macro_part;

use super::relationships::Relationships;
use super::word_97;
use crate::archive::{Archive, Part, SIGNATURE, check_limits};

/// What old Office programs keep their documents in begins with this; so do macros.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
/// The length of its head, without which it is none ([MS-CFB], section 2.2).
const COMPOUND_HEAD_BYTES: usize = 512;

pub(super) fn findings(bytes: &[u8]) -> Result<Vec<Finding>, FileReason> {
    let archive = Archive::open(bytes)?;
    // A document with macros of its own is of a type that is not taken, unless it was made to look like one that is.
    let (mut macros, mut external_template) = (has_macro_part(&archive), false);
    check_limits(&archive, &is_looked_at, &mut |part| {
        match part {
            Part::Entry { name, content } if is_relationships(name) => {
                let relationships = Relationships::read(content)?;
                external_template |= relationships.external_template;
                macros |= relationships.macros;
            }
            Part::Entry { content, .. } if content.starts_with(COMPOUND) => macros |= compound_has_macros(content),
            // Of an archive in an archive within only the list is read.
            Part::Entry { content, .. } => macros |= may_have_macros(content),
            Part::Archive(inner) => macros |= has_macro_part(inner),
        }
        Ok(())
    })?;
    let found = [
        (macros, Finding::Macros),
        (external_template, Finding::ExternalTemplate),
    ];
    Ok(found
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, finding)| finding)
        .collect())
}

fn has_macro_part(archive: &Archive<'_>) -> bool {
    archive.entries().iter().any(|entry| is_macro_part(entry.name()))
}

/// Whether its list names macros or a Word document, whose template is not looked for; or cannot be read, which others may do.
fn may_have_macros(content: &[u8]) -> bool {
    let is_of_word = |name: &[u8]| name.to_ascii_lowercase().starts_with(b"word/");
    Archive::open(content).map_or(true, |archive| {
        has_macro_part(&archive) || archive.entries().iter().any(|entry| is_of_word(entry.name()))
    })
}

/// Whether it has macros, or cannot be read, which other programs may do. What is too short for one is not opened by anything.
fn compound_has_macros(content: &[u8]) -> bool {
    content.len() >= COMPOUND_HEAD_BYTES && word_97::has_macros(content).unwrap_or(true)
}

/// Names say little: any part may be macros, a document or an archive.
fn is_looked_at(name: &[u8], head: &[u8]) -> bool {
    is_relationships(name) || head.starts_with(COMPOUND) || head.starts_with(SIGNATURE)
}

fn is_relationships(name: &[u8]) -> bool {
    name.to_ascii_lowercase().ends_with(b".rels")
}
