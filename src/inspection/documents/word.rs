//! Word documents (Office Open XML): macros in documents within, and templates that are loaded from elsewhere.

use cura_domain::file::{FileReason, Finding};
use cura_domain::file_type::is_macro_part;

use super::{relationships, word_97};
use crate::archive::{Archive, Part, check_limits};

/// What old Office programs keep their documents in begins with this.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

pub(super) fn findings(bytes: &[u8]) -> Result<Vec<Finding>, FileReason> {
    let archive = Archive::open(bytes)?;
    let (mut macros, mut external_template) = (false, false);
    check_limits(&archive, &is_looked_at, &mut |part| {
        match part {
            Part::Entry { name, content } if is_relationships(name) => {
                external_template |= relationships::have_external_template(content)?;
            }
            // What is not one, or is broken, is not opened by anything either.
            Part::Entry { content, .. } if content.starts_with(COMPOUND) => {
                macros |= word_97::has_macros(content).unwrap_or_default();
            }
            Part::Entry { .. } => {}
            Part::Archive(inner) => {
                macros |= inner.entries().iter().any(|entry| is_macro_part(entry.name()));
            }
        }
        Ok(())
    })?;
    // A document with macros of its own is of a type that is not taken, unless it was made to look like one that is.
    macros |= archive.entries().iter().any(|entry| is_macro_part(entry.name()));
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

fn is_looked_at(name: &[u8]) -> bool {
    is_relationships(name) || is_embedded(name)
}

fn is_relationships(name: &[u8]) -> bool {
    name.to_ascii_lowercase().ends_with(b".rels")
}

/// Documents within a document are there.
fn is_embedded(name: &[u8]) -> bool {
    name.to_ascii_lowercase().windows(11).any(|part| part == b"embeddings/")
}
