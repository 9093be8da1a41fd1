//! Why a rules file is refused. The messages are for the operator who wrote it.

use thiserror::Error;

/// The largest rules file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Why a rules file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRules {
    /// More than 1 MiB.
    #[error("the care rules must have at most {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or not the fields of a rules file.
    #[error("the care rules cannot be read: {0}")]
    Unreadable(String),
    /// A value breaks a rule.
    #[error("the care rules are wrong at {pointer}: {problem}")]
    Wrong {
        /// Where, as a JSON pointer.
        pointer: String,
        /// What the value must be.
        problem: String,
    },
}

/// The error that the value at `pointer` has `problem`.
pub(crate) fn wrong<T>(pointer: impl Into<String>, problem: impl Into<String>) -> Result<T, InvalidRules> {
    Err(InvalidRules::Wrong {
        pointer: pointer.into(),
        problem: problem.into(),
    })
}
