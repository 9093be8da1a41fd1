//! What files are scanned with, beside our own checks.

use super::clamd::Clamd;
use super::error::ScanError;

/// The scanner, if there is one. Without it, files go through our own checks only. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scanner(Option<Clamd>);

impl Scanner {
    /// Our own checks only.
    pub const OWN_CHECKS_ONLY: Self = Self(None);

    /// A clamd, which is asked about every file.
    pub const fn clamd(clamd: Clamd) -> Self {
        Self(Some(clamd))
    }

    /// The clamd to ask. `None`: our own checks only.
    pub const fn as_clamd(&self) -> Option<&Clamd> {
        self.0.as_ref()
    }

    /// Whether the scanner answers, and what it calls its version. `None` if there is no scanner, or if it does not tell.
    ///
    /// # Errors
    /// [`ScanError::Unavailable`]
    pub async fn check(&self) -> Result<Option<String>, ScanError> {
        let Some(clamd) = &self.0 else {
            return Ok(None);
        };
        clamd.ping().await?;
        clamd.version().await
    }
}
