//! What is wrong with an operator's rules, for the operator.

use thiserror::Error;

/// The largest file of rules, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRules {
    /// More than 1 MiB.
    #[error("the care rules must have at most {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or not the fields that rules have.
    #[error("the care rules cannot be read: {0}")]
    Unreadable(String),
    /// A value breaks a rule.
    #[error("the care rules are wrong at {pointer}: {problem}")]
    Wrong {
        /// Where, as a JSON pointer.
        pointer: String,
        /// What would be right.
        problem: String,
    },
}

/// Says that `problem` is at `pointer`.
pub(crate) fn wrong<T>(pointer: impl Into<String>, problem: impl Into<String>) -> Result<T, InvalidRules> {
    Err(InvalidRules::Wrong {
        pointer: pointer.into(),
        problem: problem.into(),
    })
}
