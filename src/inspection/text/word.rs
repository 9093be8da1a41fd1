//! The text of Word documents (Office Open XML): the body, then its notes, then what stands at the top and at the bottom of its pages.
//!
//! Comments, deleted and hidden text are left out: who opens the document does not see them as its text.

mod package;
mod part;

use std::collections::HashSet;

use cura_domain::file::FileReason;

use super::DocumentText;
use super::pages::Pages;
use crate::archive::Archive;
use package::{Package, Relationship};

/// The most text of the top or the bottom of a page, in bytes.
const MAX_MARGIN_BYTES: usize = 10_000;

/// The text of a Word document, as one page.
///
/// # Errors
/// [`FileReason::LimitsExceeded`], [`FileReason::Encrypted`], [`FileReason::Unreadable`]
pub(super) fn text(bytes: &[u8]) -> Result<DocumentText, FileReason> {
    let package = Package::new(Archive::open(bytes)?);
    let main = package.main_part()?;
    let mut text = Pages::new();
    let body = package.read(&main)?.ok_or(FileReason::Unreadable)?;
    part::read(&body, &mut text)?;
    // What is broken besides the body is left out.
    let related = package.relationships(&main).unwrap_or_default();
    let of = |kind: &'static str| related.iter().filter(move |part| part.is(kind));
    for notes in of("footnotes").chain(of("endnotes")) {
        add(&package, notes, &mut text);
    }
    let mut seen = HashSet::new();
    for margin in of("header").chain(of("footer")) {
        let mut own = Pages::with_room_for(MAX_MARGIN_BYTES);
        add(&package, margin, &mut own);
        let own = own.finish(None).pages.concat();
        // Each section may have its own, and most have the same.
        if !text.is_full() && seen.insert(own.clone()) {
            // Text that does not fit is cut.
            let _ = text.push_str("\n\n").and_then(|()| text.push_str(&own));
        }
    }
    Ok(text.finish(None))
}

fn add(package: &Package<'_>, part: &Relationship, text: &mut Pages) {
    if let Ok(Some(xml)) = package.read(&part.target)
        && !text.is_full()
    {
        let _ = text.push_str("\n\n");
        let _ = part::read(&xml, text);
    }
}
