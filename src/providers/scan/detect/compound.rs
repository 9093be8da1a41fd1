//! Compound files ([MS-CFB] 12.0): sectors that are chained by a table, and a directory that forms a tree.
//!
//! A file is whole if every chain that the directory names is there. Honest chains share no sector, so all of them together are no
//! longer than the file. Walking them ends there, whatever the table says.

mod sectors;
mod tree;

use std::io::{Read, Seek};

use cura_domain::file_type::{FileType, Refusal, of_compound};

use super::Looked;
use super::contents::Contents;
use super::fields::Fields;
use sectors::{FREE, Sectors};

const HEADER_BYTES: usize = 512;
/// The sectors of the table that the header names; the others are named by sectors of their own.
const IN_HEADER: usize = 109;
/// Streams that are shorter share the stream of the root.
const SMALL_BELOW: u64 = 4096;

/// The type of a compound file, by the streams at the top of its directory.
pub(super) fn look<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<FileType> {
    let header = contents.read_at(0, HEADER_BYTES)?;
    let header = Header::read(&header)?;
    let mut sectors = Sectors::read(contents, &header)?;
    let directory = sectors.read_directory(contents, header.directory)?;
    let entries = tree::read(&directory, header.size_mask)?;
    for entry in &entries {
        if entry.is_root || entry.size >= SMALL_BELOW {
            sectors.check_chain(entry.start, entry.size)?;
        }
    }
    sectors.check_whole_chain(header.small_table)?;
    let top = entries
        .iter()
        .filter(|entry| entry.is_at_top)
        .map(|entry| entry.name.as_str());
    Ok(of_compound(top)?)
}

struct Header {
    /// The size of a sector is 2 to the power of it: 512 or 4,096 bytes.
    shift: u32,
    /// The first sector of the directory.
    directory: u32,
    /// The bits of a stream's size that count: writers of the old version leave anything in the others.
    size_mask: u64,
    /// The first sector of the table of the shared stream.
    small_table: u32,
    /// The first sector that names sectors of the table.
    names: u32,
    table: [u32; IN_HEADER],
}

impl Header {
    fn read(header: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(header);
        // Signature, class and minor version.
        fields.skip(26)?;
        let (version, byte_order) = (fields.u16()?, fields.u16()?);
        let (shift, small_shift) = (fields.u16()?, fields.u16()?);
        let size_mask = match (version, shift) {
            (3, 9) => u32::MAX.into(),
            (4, 12) => u64::MAX,
            _ => return Err(Refusal::Damaged),
        };
        // Reserved, and numbers of sectors, which are not believed.
        fields.skip(14)?;
        let directory = fields.u32()?;
        let _transaction = fields.u32()?;
        let small_below = fields.u32()?;
        if byte_order != 0xfffe || small_shift != 6 || u64::from(small_below) != SMALL_BELOW {
            return Err(Refusal::Damaged);
        }
        let small_table = fields.u32()?;
        let _small_table_sectors = fields.u32()?;
        let names = fields.u32()?;
        let _names_sectors = fields.u32()?;
        let mut table = [FREE; IN_HEADER];
        for sector in &mut table {
            *sector = fields.u32()?;
        }
        Ok(Self {
            shift: shift.into(),
            directory,
            size_mask,
            small_table,
            names,
            table,
        })
    }
}
