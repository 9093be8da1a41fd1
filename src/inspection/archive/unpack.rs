//! Unpacking, piece by piece.

use cura_domain::file::FileReason;
use flate2::{Decompress, FlushDecompress, Status};

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// How much is unpacked at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Hands out what is packed, piece by piece, until `take` fails. Packages of Office Open XML know no other methods than these two.
pub(super) fn unpack(
    method: u16,
    packed: &[u8],
    take: &mut dyn FnMut(&[u8]) -> Result<(), FileReason>,
) -> Result<(), FileReason> {
    match method {
        STORED => packed.chunks(PIECE_BYTES).try_for_each(take),
        DEFLATED => inflate(packed, take),
        _ => Err(FileReason::Unreadable),
    }
}

fn inflate(mut packed: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<(), FileReason>) -> Result<(), FileReason> {
    let mut state = Decompress::new(false);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let (read_before, written_before) = (state.total_in(), state.total_out());
        let status = state.decompress(packed, &mut piece, FlushDecompress::None);
        let status = status.map_err(|_| FileReason::Unreadable)?;
        let grown = |now: u64, before: u64| usize::try_from(now - before).unwrap_or_default();
        let (read, written) = (
            grown(state.total_in(), read_before),
            grown(state.total_out(), written_before),
        );
        packed = packed.get(read..).unwrap_or_default();
        take(&piece[..written])?;
        match status {
            Status::StreamEnd => return Ok(()),
            // It wants more than there is.
            _ if read == 0 && written == 0 => return Err(FileReason::Unreadable),
            _ => {}
        }
    }
}
