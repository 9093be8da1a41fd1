//! The manifest of an archive: what is in it, with checksums, and what is not, with the reasons. It waits in files without a name until the
//! archive is finished, so that a person may have any number of files.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;

/// Which form the manifest has.
const FORMAT: u32 = 2;

/// What a manifest says so far.
pub(super) struct Manifest {
    files: Lines,
    left_out: Lines,
}

/// JSON values, one a line, with commas between them.
struct Lines {
    file: BufWriter<File>,
    is_empty: bool,
}

impl Manifest {
    /// An empty one, which waits in `folder`.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            files: Lines::new(folder)?,
            left_out: Lines::new(folder)?,
        })
    }

    /// Describes a file of the archive.
    pub(super) fn describe(&mut self, file: &Value) -> io::Result<()> {
        self.files.add(file)
    }

    /// Says why something is not in the archive.
    pub(super) fn leave_out(&mut self, why: &Value) -> io::Result<()> {
        self.left_out.add(why)
    }

    /// Writes all of it, as one JSON object.
    pub(super) fn write_to(self, about: &Value, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{{\n\"format\": {FORMAT},\n\"about\": {about},\n\"files\": [")?;
        self.files.write_to(out)?;
        write!(out, "],\n\"left_out\": [")?;
        self.left_out.write_to(out)?;
        writeln!(out, "]\n}}")
    }
}

impl Lines {
    fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(tempfile::tempfile_in(folder)?),
            is_empty: true,
        })
    }

    fn add(&mut self, value: &Value) -> io::Result<()> {
        let end = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        write!(self.file, "{end}\n{value}")
    }

    fn write_to(self, out: &mut impl Write) -> io::Result<()> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        io::copy(&mut BufReader::new(file), out)?;
        if self.is_empty { Ok(()) } else { writeln!(out) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_is_in_it_a_manifest_is_json() {
        let folder = tempfile::tempdir().unwrap();
        let written = |files: &[Value], left_out: &[Value]| {
            let mut manifest = Manifest::new(folder.path()).unwrap();
            for file in files {
                manifest.describe(file).unwrap();
            }
            for why in left_out {
                manifest.leave_out(why).unwrap();
            }
            let mut out = Vec::new();
            manifest.write_to(&json!({ "user_id": 7 }), &mut out).unwrap();
            let read: Value = serde_json::from_slice(&out).unwrap();
            let expected = json!({ "format": 2, "about": { "user_id": 7 }, "files": files, "left_out": left_out });
            assert_eq!(read, expected);
        };
        written(&[], &[]);
        written(&[json!({ "name": "a\n\"b\"" })], &[]);
        written(&[json!(1), json!(2)], &[json!({}), json!(null), json!("x")]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
