//! Why `live` refuses a call.

use thiserror::Error;

/// `live` cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("live is unavailable")]
pub struct LiveUnavailable;

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AppendError {
    /// A newer attempt has begun, or the answer is final: stop writing.
    #[error("a newer attempt has begun, or the answer is final")]
    Stale,
    /// The text ends elsewhere; write the whole text with [`Live::restore`](crate::Live::restore).
    #[error("the text has {have} bytes")]
    Offset {
        /// How long the text is, in bytes.
        have: u64,
    },
    /// There is no text; write the whole text with [`Live::restore`](crate::Live::restore).
    #[error("there is no text")]
    Missing,
    /// The text would exceed [`LiveConfig::max_text_bytes`](crate::LiveConfig::max_text_bytes).
    #[error("the text is too long")]
    TooLong,
    /// `live` cannot be reached; write the whole text once it can.
    #[error("live is unavailable")]
    Unavailable,
}

impl From<LiveUnavailable> for AppendError {
    fn from(_: LiveUnavailable) -> Self {
        Self::Unavailable
    }
}

/// Not a Redis URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a Redis URL")]
pub struct InvalidUrl;
