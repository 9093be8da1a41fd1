//! The errors of Anthropic and compatible servers, sent instead of an answer or within one.

use crate::ai::error::Failure;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::error_response::ErrorResponse;

/// What an error means that was sent instead of an answer to `prompt`, or within one (`None`).
pub(super) fn classify(error: &ErrorResponse, prompt: Option<&Prompt>) -> Failure {
    error.failure(prompt)
}
