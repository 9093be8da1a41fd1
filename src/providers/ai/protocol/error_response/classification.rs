//! What an error means for us.

use super::ErrorResponse;
use super::account::{has_no_credit, lacks_model, refuses_key};
use super::moderation::is_moderated;
use super::refused_files::{refused_files, too_large_files};
use super::refused_part::refused_part;
use super::too_long::{is_stated_too_long, is_too_long, may_be_too_long};
use super::words::Words;
use crate::ai::error::Failure;
use crate::ai::prompt::Prompt;

const NO_MODEL: &str = "the provider does not know the model or the address; check the model's name and the URL";
const NO_METHOD: &str = "the provider takes no requests at this address; check the URL and the provider's kind";

impl ErrorResponse {
    /// What the error means that was sent instead of an answer to `prompt`, or within one (`None`).
    ///
    /// What concerns everybody is decided by status, type and code, and by words that are no quotation only where the prompt is
    /// known. What concerns the asker alone is believed more readily.
    pub(crate) fn failure(&self, prompt: Option<&Prompt>) -> Failure {
        let stated = &self.stated;
        let words = Words::of(stated, prompt);
        let status = self.status();
        if has_no_credit(status, self.retry_after.is_some(), stated, &words) {
            return Failure::QuotaExhausted;
        }
        if is_moderated(status, stated, &words) {
            return Failure::Moderated { status };
        }
        if let Some(part) = too_large_files(status, prompt) {
            return Failure::RefusedPart { part, status };
        }
        if is_stated_too_long(status, stated) {
            // Of an answer that has begun, only its person's prompt is known.
            let for_everybody = self.status.is_some();
            return Failure::ContextTooLong { for_everybody };
        }
        if is_too_long(status, &words) {
            return Failure::ContextTooLong { for_everybody: false };
        }
        if refuses_key(status, stated, &words) {
            return self.unauthorized();
        }
        if let Some(part) = refused_part(status, stated, &words).or_else(|| refused_files(status, &words, prompt)) {
            return Failure::RefusedPart { part, status };
        }
        if lacks_model(status, stated, &words) {
            return Failure::Misconfigured(NO_MODEL);
        }
        if may_be_too_long(status, &words) {
            return Failure::ContextTooLong { for_everybody: false };
        }
        match status {
            Some(405 | 407 | 415 | 426 | 501) => Failure::Misconfigured(NO_METHOD),
            Some(429) => self.rate_limited(),
            // 529: the service is overloaded by all of its users, not by us. 498: so is Groq's. 499: a gateway lost its server.
            Some(408 | 409 | 425 | 498 | 499 | 500..) => self.unavailable(),
            Some(_) => self.refused(),
            None if stated.is(&["rate_limit_error", "rate_limit_exceeded", "resource_exhausted"]) => {
                self.rate_limited()
            }
            None if stated.is(&REFUSALS) => self.refused(),
            // `overloaded_error`, `api_error`, `timeout_error`, and types that may be added.
            None => self.unavailable(),
        }
    }
}

/// Types and codes within an answer that will not pass.
const REFUSALS: [&str; 4] = [
    "invalid_request_error",
    "badrequesterror",
    "invalid_argument",
    "permission_error",
];

#[cfg(test)]
mod tests;
