//! How an answer ended, and what its final message says about it.

use super::{FinishReason, MessageStatus};

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerResult<'a> {
    /// The provider finished it.
    Completed(FinishReason),
    /// It was cancelled; its text is what was shown until then.
    Cancelled,
    /// It failed, for the reason that this stable word names.
    Failed(&'a str),
}

impl<'a> AnswerResult<'a> {
    /// The status of the final message.
    pub const fn status(self) -> MessageStatus {
        match self {
            Self::Completed(_) | Self::Cancelled => MessageStatus::Sent,
            Self::Failed(_) => MessageStatus::Error,
        }
    }

    /// The finish reason of the final message, if it was sent.
    pub const fn finish_reason(self) -> Option<FinishReason> {
        match self {
            Self::Completed(reason) => Some(reason),
            Self::Cancelled => Some(FinishReason::Cancelled),
            Self::Failed(_) => None,
        }
    }

    /// The error code of the final message, if it failed.
    pub const fn error_code(self) -> Option<&'a str> {
        match self {
            Self::Completed(_) | Self::Cancelled => None,
            Self::Failed(code) => Some(code),
        }
    }
}
