//! Why a scanner has not judged a file. Neither addresses nor anything of the file is in it.

use std::io;

use thiserror::Error;

/// Why a scanner has not judged a file. Each of them passes, so that asking again later makes sense; none says anything about the file.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The file could not be read, or is not as long as it should be.
    #[error("the file to be scanned cannot be read")]
    Source(#[source] io::Error),
    /// The scanner is away, is silent, or answers something that is no verdict. What is wrong is said in one word.
    #[error("the scanner is unavailable ({0})")]
    Unavailable(&'static str),
    /// The scanner does not take a file of this size. An operator has to change its settings.
    #[error("the scanner does not take a file of this size; set its StreamMaxLength to at least 10M")]
    TooLarge,
}

impl ScanError {
    pub(super) const TIMED_OUT: Self = Self::Unavailable("timed_out");
    pub(super) const CONNECTION_LOST: Self = Self::Unavailable("connection_lost");
}
