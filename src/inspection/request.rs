//! What the parent asks: one line of JSON before the file.

use std::io::{BufRead, Read};

use cura_domain::file_type::FileType;
use serde::{Deserialize, Serialize};

/// The longest line. None that the parent writes has a hundred bytes.
const MAX_LINE_BYTES: u64 = 256;

/// What is wanted of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// What is in it, its text, a picture for the model and a thumbnail.
    Scan,
    /// Square pictures for a profile, 512 and 128 pixels wide.
    Avatar,
}

/// A request to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Whether it is confined, and nothing else. No file follows.
    Probe,
    /// To look into the file that follows.
    Inspect {
        /// Its type, by its content.
        file_type: FileType,
        /// What is wanted of it.
        wanted: Wanted,
        /// Its bytes; it is not looked into if there are more or fewer.
        size: u64,
    },
}

impl Request {
    /// The line that says it.
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Reads the line, and nothing behind it; `None` if there is none that says a request.
    pub(crate) fn read(input: &mut impl BufRead) -> Option<Self> {
        let mut line = Vec::new();
        input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice(line.strip_suffix(b"\n")?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_the_file_is_left() {
        for request in [
            Request::Probe,
            Request::Inspect {
                file_type: FileType::Docx,
                wanted: Wanted::Avatar,
                size: u64::MAX,
            },
        ] {
            let bytes = [&request.line()[..], b"PK\n"].concat();
            let mut input = bytes.as_slice();
            assert_eq!(Request::read(&mut input), Some(request));
            assert_eq!(input, b"PK\n");
        }
    }

    #[test]
    fn what_is_no_request_is_not_waited_for_for_ever() {
        let long = vec![b' '; 1_000];
        for bytes in [&b""[..], b"\n", b"{}", b"{}\n", b"\"probe\"", b"\xff\n", &long] {
            assert_eq!(Request::read(&mut { bytes }), None);
        }
        assert_eq!(Request::read(&mut b"\"probe\"\n".as_slice()), Some(Request::Probe));
    }
}
