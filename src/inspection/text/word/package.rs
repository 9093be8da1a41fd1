//! The parts of a package, and how they lead to each other (ECMA-376, part 2, section 6.5).

use cura_domain::file::FileReason;
use cura_domain::file_type::MAIN_PART;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::archive::Archive;

/// The largest part that is read, in bytes. Its text is a small share of it.
const MAX_PART_BYTES: usize = 64 * 1024 * 1024;
/// The longest list of relationships, in bytes.
const MAX_RELATIONSHIPS_BYTES: usize = 1024 * 1024;
/// Leads from the package to its main part.
const OFFICE_DOCUMENT: &str = "officeDocument";

/// A package.
pub(super) struct Package<'a> {
    archive: Archive<'a>,
}

/// A part that another one leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Relationship {
    /// The end of its type, behind the last slash: those of the two editions of the standard differ only before it.
    kind: String,
    /// The name of the part in the archive.
    pub(super) target: String,
}

impl Relationship {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }
}

impl<'a> Package<'a> {
    pub(super) const fn new(archive: Archive<'a>) -> Self {
        Self { archive }
    }

    /// The name of the part with the body, which the package says. If it does not, the one that nearly every program writes.
    pub(super) fn main_part(&self) -> Result<String, FileReason> {
        let of_package = self.relationships("")?;
        let named = of_package.into_iter().find(|part| part.is(OFFICE_DOCUMENT));
        let named = named.map_or_else(|| MAIN_PART.to_owned(), |part| part.target);
        self.archive.find(&named).map(|_| named).ok_or(FileReason::Unreadable)
    }

    /// What a part contains; `None` if there is none of this name.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileReason> {
        let entry = self.archive.find(name);
        entry.map(|entry| self.archive.read(entry, MAX_PART_BYTES)).transpose()
    }

    /// What a part leads to within the package; an empty name is the package itself.
    pub(super) fn relationships(&self, of: &str) -> Result<Vec<Relationship>, FileReason> {
        let (folder, name) = of.rsplit_once('/').unwrap_or(("", of));
        let list = join(folder, &format!("_rels/{name}.rels"));
        let Some(entry) = self.archive.find(&list) else {
            return Ok(Vec::new());
        };
        let xml = self.archive.read(entry, MAX_RELATIONSHIPS_BYTES)?;
        let xml = str::from_utf8(&xml).map_err(|_| FileReason::Unreadable)?;
        let mut reader = Reader::from_str(xml);
        let mut found = Vec::new();
        loop {
            match reader.read_event().map_err(|_| FileReason::Unreadable)? {
                Event::Start(element) | Event::Empty(element) if element.local_name().as_ref() == "Relationship" => {
                    found.extend(relationship(&element, folder)?);
                }
                Event::DocType(_) => return Err(FileReason::Unreadable),
                Event::Eof => return Ok(found),
                _ => {}
            }
        }
    }
}

/// `None` for what lies outside of the package.
fn relationship(element: &BytesStart<'_>, folder: &str) -> Result<Option<Relationship>, FileReason> {
    let mode = attribute(element, "TargetMode")?;
    let (Some(kind), Some(target)) = (attribute(element, "Type")?, attribute(element, "Target")?) else {
        return Ok(None);
    };
    if mode.is_some_and(|mode| mode.trim().eq_ignore_ascii_case("external")) {
        return Ok(None);
    }
    let kind = kind.trim().rsplit('/').next().unwrap_or_default().to_owned();
    let target = join(folder, target.trim());
    Ok(Some(Relationship { kind, target }))
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, FileReason> {
    let attribute = element.try_get_attribute(name).map_err(|_| FileReason::Unreadable)?;
    let value = attribute.map(|attribute| attribute.normalized_value(XmlVersion::Implicit1_0).map(Into::into));
    value.transpose().map_err(|_| FileReason::Unreadable)
}

/// Where a path leads from a folder. One that begins with a slash is as it is in the archive; nothing leads out of the package.
fn join(folder: &str, path: &str) -> String {
    let folder = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_seen_from_the_folder_of_its_part() {
        for (folder, path, expected) in [
            ("", "word/document.xml", "word/document.xml"),
            ("", "/word/document.xml", "word/document.xml"),
            ("word", "header1.xml", "word/header1.xml"),
            ("word", "./header1.xml", "word/header1.xml"),
            ("word", "../other/header1.xml", "other/header1.xml"),
            ("word", "/other/header1.xml", "other/header1.xml"),
            ("word", "../../../x", "x"),
            ("a/b", "_rels/c.rels", "a/b/_rels/c.rels"),
        ] {
            assert_eq!(join(folder, path), expected);
        }
    }
}
