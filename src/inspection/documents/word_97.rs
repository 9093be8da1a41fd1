//! Documents of Word 97 to 2003: compound files ([MS-CFB]) with a stream that begins with a table of facts ([MS-DOC], section 2.5.1).

use std::io::{Cursor, Read};

use cfb::CompoundFile;
use cura_domain::file::{FileReason, Finding};

/// The most streams and folders that are looked at. Documents have dozens.
const MAX_PARTS: usize = 10_000;
/// Where the table of facts has its flags, and which of them says that the document is encrypted or obfuscated.
const FLAGS_AT: usize = 10;
const ENCRYPTED: u16 = 0x0100;

pub(super) fn findings(bytes: &[u8]) -> Result<Vec<Finding>, FileReason> {
    let mut file = open(bytes)?;
    if file.exists("/EncryptedPackage") {
        return Err(FileReason::Encrypted);
    }
    let mut head = [0; FLAGS_AT + 2];
    let mut document = file.open_stream("/WordDocument").map_err(|_| FileReason::Unreadable)?;
    document.read_exact(&mut head).map_err(|_| FileReason::Unreadable)?;
    if u16::from_le_bytes([head[FLAGS_AT], head[FLAGS_AT + 1]]) & ENCRYPTED != 0 {
        return Err(FileReason::Encrypted);
    }
    Ok(macros(&file)?.then_some(Finding::Macros).into_iter().collect())
}

/// Whether a compound file of any program has macros.
pub(super) fn has_macros(bytes: &[u8]) -> Result<bool, FileReason> {
    macros(&open(bytes)?)
}

/// Opens a compound file.
pub(crate) fn open(bytes: &[u8]) -> Result<CompoundFile<Cursor<&[u8]>>, FileReason> {
    CompoundFile::open(Cursor::new(bytes)).map_err(|_| FileReason::Unreadable)
}

/// Macros of Visual Basic lie in a folder `VBA` with a stream `_VBA_PROJECT` ([MS-OVBA], section 2.2.1), also those of documents within.
fn macros(file: &CompoundFile<Cursor<&[u8]>>) -> Result<bool, FileReason> {
    let mut is_macros = false;
    for (number, part) in file.walk().enumerate() {
        if number == MAX_PARTS {
            return Err(FileReason::LimitsExceeded);
        }
        let named = |name: &str| part.name().eq_ignore_ascii_case(name);
        is_macros |= named("_VBA_PROJECT") || (part.is_storage() && named("VBA"));
    }
    Ok(is_macros)
}
