//! The sectors of a compound file, and the table that chains them.

use std::io::{Read, Seek};

use cura_domain::file_type::{Refusal, hint};

use super::Header;
use crate::scan::detect::contents::Contents;
use crate::scan::detect::fields::Fields;
use crate::scan::detect::{Looked, as_usize};

/// The longest table and the longest directory, in bytes. A file of 128 MiB needs such a table.
const MAX_TABLE_BYTES: usize = 1024 * 1024;
/// The most sectors that name sectors of the table: enough for the longest.
const MAX_NAMES: usize = 16;
/// Sectors have lower numbers.
const FIRST_SPECIAL: u32 = 0xffff_fffa;
const END_OF_CHAIN: u32 = 0xffff_fffe;
/// No sector.
pub(super) const FREE: u32 = 0xffff_ffff;
const UNUSUAL: Refusal = Refusal::Unsupported { hint: hint::UNUSUAL };

/// The table that chains sectors, and how many of them no chain was found to hold yet.
pub(super) struct Sectors {
    shift: u32,
    size: u64,
    /// What follows each sector.
    table: Vec<u32>,
    left: u64,
}

impl Sectors {
    pub(super) fn read<F: Read + Seek>(contents: &mut Contents<'_, F>, header: &Header) -> Looked<Self> {
        let size = contents.size();
        // The first one has number 0, and stands behind the header, which takes the place of one. The last may be cut.
        let count = size.div_ceil(1 << header.shift).saturating_sub(1);
        let mut sectors = Self {
            shift: header.shift,
            size,
            table: Vec::new(),
            left: count,
        };
        let wanted = as_usize(count);
        if wanted > MAX_TABLE_BYTES / 4 {
            return Err(UNUSUAL.into());
        }
        for sector in header.table {
            sectors.extend_table(contents, sector, wanted)?;
        }
        let mut names = header.names;
        let mut left = MAX_NAMES;
        while sectors.table.len() < wanted && names < FIRST_SPECIAL {
            left = left.checked_sub(1).ok_or(Refusal::Damaged)?;
            let named = sectors.read_sector(contents, names)?;
            let mut fields = Fields(&named);
            for _ in 1..named.len() / 4 {
                sectors.extend_table(contents, fields.u32()?, wanted)?;
            }
            names = fields.u32()?;
        }
        Ok(sectors)
    }

    /// Adds a sector to the table until it is as long as the file.
    fn extend_table<F: Read + Seek>(
        &mut self,
        contents: &mut Contents<'_, F>,
        sector: u32,
        wanted: usize,
    ) -> Looked<()> {
        if self.table.len() >= wanted || sector == FREE {
            return Ok(());
        }
        let sector = self.read_sector(contents, sector)?;
        let numbers = sector.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number));
        self.table.extend(numbers);
        Ok(())
    }

    /// Reads a sector, which is then used up: none is needed twice.
    fn read_sector<F: Read + Seek>(&mut self, contents: &mut Contents<'_, F>, sector: u32) -> Looked<Vec<u8>> {
        self.take_one()?;
        let at = self.place(sector);
        contents.read_at(at, 1 << self.shift)
    }

    /// Where a sector begins.
    fn place(&self, sector: u32) -> u64 {
        (u64::from(sector) + 1) << self.shift
    }

    fn take_one(&mut self) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(1).ok_or(Refusal::Damaged)?;
        Ok(())
    }

    /// The sector behind another; `None` at the end of the chain.
    fn next(&self, sector: u32) -> Result<Option<u32>, Refusal> {
        let next = *self.table.get(as_usize(sector.into())).ok_or(Refusal::Damaged)?;
        match next {
            END_OF_CHAIN => Ok(None),
            FIRST_SPECIAL.. => Err(Refusal::Damaged),
            _ => Ok(Some(next)),
        }
    }

    pub(super) fn read_directory<F: Read + Seek>(
        &mut self,
        contents: &mut Contents<'_, F>,
        first: u32,
    ) -> Looked<Vec<u8>> {
        let mut directory = Vec::new();
        let mut sector = Some(first);
        while let Some(this) = sector {
            if directory.len() >= MAX_TABLE_BYTES {
                return Err(UNUSUAL.into());
            }
            directory.extend(self.read_sector(contents, this)?);
            sector = self.next(this)?;
        }
        Ok(directory)
    }

    /// Whether a chain holds `size` bytes, to the last one.
    pub(super) fn check_chain(&mut self, first: u32, size: u64) -> Result<(), Refusal> {
        let mut left = size;
        let mut sector = first;
        while left > 0 {
            self.take_one()?;
            let here = left.min(1 << self.shift);
            if sector >= FIRST_SPECIAL || self.place(sector) + here > self.size {
                return Err(Refusal::Damaged);
            }
            left -= here;
            if left > 0 {
                sector = self.next(sector)?.ok_or(Refusal::Damaged)?;
            }
        }
        Ok(())
    }

    /// Whether every sector of a chain is there.
    pub(super) fn check_whole_chain(&mut self, first: u32) -> Result<(), Refusal> {
        let mut sector = Some(first).filter(|first| *first < FIRST_SPECIAL);
        while let Some(this) = sector {
            self.check_chain(this, 1 << self.shift)?;
            sector = self.next(this)?;
        }
        Ok(())
    }
}
