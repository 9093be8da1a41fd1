//! What Anthropic means by its errors, whether sent instead of an answer or within one.

use crate::ai::error::Failure;
use crate::ai::protocol::error_response::Refusal;

pub(crate) fn judge(refusal: &Refusal) -> Failure {
    let (kind, message) = (refusal.word("type"), refusal.word("message"));
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    // An empty account is a 400 that has only prose to tell it from others.
    if kind == "billing_error" || refusal.status == Some(402) || says(&["credit balance is too low"]) {
        return Failure::QuotaExhausted;
    }
    if kind == "request_too_large"
        || refusal.status == Some(413)
        || says(&["prompt is too long", "exceed context limit", "context window"])
    {
        return Failure::ContextTooLong;
    }
    match (refusal.status, &*kind) {
        (Some(401), _) | (_, "authentication_error") => refusal.unauthorized(),
        // Gateways give the same name to what they say of one message (OpenRouter's guardrails).
        (_, "permission_error") if says(&["api key"]) => refusal.unauthorized(),
        (Some(429), _) | (None, "rate_limit_error") => refusal.rate_limited(),
        // 529: everybody's requests are too many, not ours.
        (Some(408 | 409 | 425 | 500..), _) => refusal.unavailable(),
        (Some(_), _) | (None, "invalid_request_error" | "not_found_error" | "permission_error") => refusal.refused(),
        // `overloaded_error`, `api_error`, `timeout_error`, and what may be added one day.
        (None, _) => refusal.unavailable(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prose_tells_some_bad_requests_apart() {
        for (message, failure) in [
            (
                "prompt is too long: 210000 tokens > 200000 maximum",
                Failure::ContextTooLong,
            ),
            (
                "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
                Failure::ContextTooLong,
            ),
            (
                "Your credit balance is too low to access the Anthropic API.",
                Failure::QuotaExhausted,
            ),
            ("messages: roles must alternate", Failure::Refused { status: Some(400) }),
        ] {
            let error = json!({ "type": "invalid_request_error", "message": message });
            assert_eq!(judge(&Refusal::with(400, error)), failure, "{message}");
        }
    }

    #[test]
    fn a_403_means_the_key_only_if_it_says_so() {
        let unauthorized = Failure::Unauthorized { status: Some(403) };
        let refused = Failure::Refused { status: Some(403) };
        for (kind, message, failure) in [
            (
                "permission_error",
                "Your API key does not have permission to use the specified resource.",
                &unauthorized,
            ),
            ("authentication_error", "", &unauthorized),
            (
                "permission_error",
                "Request blocked: prompt injection patterns detected",
                &refused,
            ),
            ("forbidden", "Request not allowed", &refused),
            ("", "", &refused),
        ] {
            let error = json!({ "type": kind, "message": message });
            assert_eq!(&judge(&Refusal::with(403, error)), failure, "{kind}: {message}");
        }
    }

    #[test]
    fn an_error_within_an_answer_is_judged_by_its_name() {
        for (kind, failure) in [
            ("rate_limit_error", Failure::RateLimited { retry_after: None }),
            ("authentication_error", Failure::Unauthorized { status: None }),
            ("billing_error", Failure::QuotaExhausted),
            ("request_too_large", Failure::ContextTooLong),
            ("invalid_request_error", Failure::Refused { status: None }),
            (
                "overloaded_error",
                Failure::Unavailable {
                    status: None,
                    retry_after: None,
                },
            ),
        ] {
            assert_eq!(judge(&Refusal::within(json!({ "type": kind }))), failure, "{kind}");
        }
    }
}
