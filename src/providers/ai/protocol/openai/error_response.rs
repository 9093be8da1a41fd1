//! The errors of OpenAI and compatible servers within an answer.

use crate::ai::error::Failure;
use crate::ai::protocol::error_response::ErrorResponse;

/// What an error within an answer means.
pub(super) fn classify(error: &ErrorResponse) -> Failure {
    error.failure(None)
}
