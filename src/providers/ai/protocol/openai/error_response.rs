//! What a server means by its errors, whether sent instead of an answer or within one.

use crate::ai::error::Failure;
use crate::ai::protocol::error_response::Refusal;

/// Types and codes that speak of our key, or of where we are: no message of anybody gets through.
const ABOUT_THE_KEY: [&str; 4] = [
    "invalid_api_key",
    "authentication_error",
    "missing_scope",
    "unsupported_country_region_territory",
];

pub(crate) fn judge(refusal: &Refusal) -> Failure {
    let (kind, code, message) = (refusal.word("type"), refusal.word("code"), refusal.word("message"));
    let is = |words: &[&str]| words.iter().any(|word| kind == *word || code == *word);
    if is(&["insufficient_quota", "billing_hard_limit_reached"]) || refusal.status == Some(402) {
        return Failure::QuotaExhausted;
    }
    if too_long(&kind, &code, &message) {
        return Failure::ContextTooLong;
    }
    // Within an answer, the status is repeated as `code` by those who have no words (llama.cpp, vLLM, OpenRouter).
    match refusal.status.or(refusal.number("code")) {
        Some(401) => refusal.unauthorized(),
        // A gateway says 403 to one message that it does not like (OpenRouter's moderation, a firewall): only who names
        // the key or the account means everybody's.
        Some(403) if is(&ABOUT_THE_KEY) => refusal.unauthorized(),
        Some(429) => refusal.rate_limited(),
        Some(408 | 409 | 425 | 500..) => refusal.unavailable(),
        Some(_) => refusal.refused(),
        None if is(&["rate_limit_error", "rate_limit_exceeded"]) => refusal.rate_limited(),
        None if is(&ABOUT_THE_KEY) => refusal.unauthorized(),
        None if is(&["invalid_request_error", "content_policy_violation"]) => refusal.refused(),
        None => refusal.unavailable(),
    }
}

/// OpenAI has a code for it, llama.cpp a type, others only prose.
fn too_long(kind: &str, code: &str, message: &str) -> bool {
    let known = ["context_length_exceeded", "exceed_context_size_error"];
    known.contains(&kind)
        || known.contains(&code)
        || ["maximum context length", "context size", "context window"]
            .iter()
            .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_of_too_long_is_understood() {
        for error in [
            json!({"code": "context_length_exceeded"}),
            json!({"type": "exceed_context_size_error", "code": 400}),
            json!({"message": "This model's maximum context length is 4096 tokens."}),
        ] {
            assert_eq!(judge(&Refusal::with(400, error)), Failure::ContextTooLong);
        }
    }

    #[test]
    fn only_who_names_the_key_means_it_with_a_403() {
        let refused = Failure::Refused { status: Some(403) };
        let flagged = json!({"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"]}});
        for error in [flagged, json!({"code": "content_policy_violation"}), json!(null)] {
            assert_eq!(judge(&Refusal::with(403, error)), refused);
        }
        assert_eq!(
            judge(&Refusal::within(json!({"code": 403}))),
            Failure::Refused { status: None }
        );
        for code in ABOUT_THE_KEY {
            let unauthorized = Failure::Unauthorized { status: Some(403) };
            assert_eq!(
                judge(&Refusal::with(403, json!({"code": code}))),
                unauthorized,
                "{code}"
            );
        }
    }

    #[test]
    fn an_error_within_an_answer_may_hide_its_status_in_the_code() {
        assert_eq!(
            judge(&Refusal::within(json!({"code": 429}))),
            Failure::RateLimited { retry_after: None }
        );
        assert_eq!(
            judge(&Refusal::within(json!("boom"))),
            Failure::Unavailable {
                status: None,
                retry_after: None
            }
        );
    }
}
