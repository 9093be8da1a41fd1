//! Classifies the errors of OpenAI and compatible servers, sent instead of an answer or within one.

use crate::ai::error::Failure;
use crate::ai::protocol::error_response::ErrorResponse;

/// Types and codes about our key or region: every request fails, not only this one.
const KEY_ERRORS: [&str; 4] = [
    "invalid_api_key",
    "authentication_error",
    "missing_scope",
    "unsupported_country_region_territory",
];

pub(super) fn classify(error: &ErrorResponse) -> Failure {
    let (kind, code, message) = (error.text("type"), error.text("code"), error.text("message"));
    let is = |names: &[&str]| names.iter().any(|name| kind == *name || code == *name);
    if is(&["insufficient_quota", "billing_hard_limit_reached"]) || error.status == Some(402) {
        return Failure::QuotaExhausted;
    }
    if is_too_long(&kind, &code, &message) {
        return Failure::ContextTooLong;
    }
    // Within an answer, some servers (llama.cpp, vLLM, OpenRouter) state the status as `code`.
    match error.status.or(error.status_field("code")) {
        Some(401) => error.unauthorized(),
        // A gateway may answer 403 to one message (OpenRouter's moderation, a firewall): it concerns every request only if
        // the error names the key or the account.
        Some(403) if is(&KEY_ERRORS) => error.unauthorized(),
        Some(429) => error.rate_limited(),
        Some(408 | 409 | 425 | 500..) => error.unavailable(),
        Some(_) => error.refused(),
        None if is(&["rate_limit_error", "rate_limit_exceeded"]) => error.rate_limited(),
        None if is(&KEY_ERRORS) => error.unauthorized(),
        None if is(&["invalid_request_error", "content_policy_violation"]) => error.refused(),
        None => error.unavailable(),
    }
}

/// OpenAI has a code for it, llama.cpp a type, others only a message.
fn is_too_long(kind: &str, code: &str, message: &str) -> bool {
    let known = ["context_length_exceeded", "exceed_context_size_error"];
    known.contains(&kind)
        || known.contains(&code)
        || ["maximum context length", "context size", "context window"]
            .iter()
            .any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_of_too_long_is_recognised() {
        for error in [
            json!({"code": "context_length_exceeded"}),
            json!({"type": "exceed_context_size_error", "code": 400}),
            json!({"message": "This model's maximum context length is 4096 tokens."}),
        ] {
            assert_eq!(classify(&ErrorResponse::with(400, error)), Failure::ContextTooLong);
        }
    }

    #[test]
    fn a_403_concerns_the_key_only_if_the_error_names_it() {
        let refused = Failure::Refused { status: Some(403) };
        let flagged = json!({"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"]}});
        for error in [flagged, json!({"code": "content_policy_violation"}), json!(null)] {
            assert_eq!(classify(&ErrorResponse::with(403, error)), refused);
        }
        assert_eq!(
            classify(&ErrorResponse::in_stream(json!({"code": 403}))),
            Failure::Refused { status: None }
        );
        for code in KEY_ERRORS {
            let unauthorized = Failure::Unauthorized { status: Some(403) };
            assert_eq!(
                classify(&ErrorResponse::with(403, json!({"code": code}))),
                unauthorized,
                "{code}"
            );
        }
    }

    #[test]
    fn an_error_within_an_answer_may_state_its_status_as_code() {
        assert_eq!(
            classify(&ErrorResponse::in_stream(json!({"code": 429}))),
            Failure::RateLimited { retry_after: None }
        );
        assert_eq!(
            classify(&ErrorResponse::in_stream(json!("boom"))),
            Failure::Unavailable {
                status: None,
                retry_after: None
            }
        );
    }
}
