//! Classifies the errors of Anthropic and compatible servers, sent instead of an answer or within one.

use crate::ai::error::Failure;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::quoted_words::quotes;

/// What an error means that was sent instead of an answer to `prompt`, or within one (`None`). Where only its message tells it
/// from others, the message counts unless it repeats words of the prompt.
pub(super) fn classify(error: &ErrorResponse, prompt: Option<&Prompt>) -> Failure {
    let (kind, message) = (error.text("type"), error.text("message"));
    let says = |phrases: &[&str]| {
        let names = phrases.iter().any(|phrase| message.contains(phrase));
        names && prompt.is_some_and(|prompt| !quotes(&message, prompt))
    };
    // An account without credit is a 400 that only its message distinguishes from others.
    if kind == "billing_error" || error.status == Some(402) || says(&["credit balance is too low"]) {
        return Failure::QuotaExhausted;
    }
    if kind == "request_too_large"
        || error.status == Some(413)
        || says(&["prompt is too long", "exceed context limit", "context window"])
    {
        return Failure::ContextTooLong;
    }
    match (error.status, &*kind) {
        (Some(401), _) | (_, "authentication_error") => error.unauthorized(),
        // Gateways use the same type for errors about one message (OpenRouter's guardrails).
        (_, "permission_error") if says(&["api key"]) => error.unauthorized(),
        (Some(429), _) | (None, "rate_limit_error") => error.rate_limited(),
        // 529: the service is overloaded by all of its users, not by us.
        (Some(408 | 409 | 425 | 500..), _) => error.unavailable(),
        (Some(_), _) | (None, "invalid_request_error" | "not_found_error" | "permission_error") => error.refused(),
        // `overloaded_error`, `api_error`, `timeout_error`, and types that may be added.
        (None, _) => error.unavailable(),
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::message::Role;
    use cura_domain::prompt::PromptMessage;
    use serde_json::json;

    use super::*;

    fn prompt() -> Prompt {
        asking("Hello")
    }

    fn asking(question: &str) -> Prompt {
        Prompt {
            messages: vec![PromptMessage {
                role: Role::User,
                content: question.to_owned(),
            }],
            max_output_tokens: None,
            written: String::new(),
        }
    }

    #[test]
    fn a_message_that_quotes_a_person_says_nothing_about_our_account() {
        for (status, kind, said) in [
            (
                400,
                "invalid_request_error",
                "My bank says: your credit balance is too low. What now?",
            ),
            (
                403,
                "permission_error",
                "Is this api key of mine safe with you, do you think?",
            ),
        ] {
            let message = format!("Request blocked: {said}");
            let error = json!({ "type": kind, "message": message });
            let failure = classify(&ErrorResponse::with(status, error), Some(&asking(said)));
            let status = Some(status);
            assert_eq!(failure, Failure::Refused { status }, "{said}");
        }
        let within = json!({ "type": "invalid_request_error", "message": "your credit balance is too low" });
        let failure = classify(&ErrorResponse::in_stream(within), None);
        assert_eq!(
            failure,
            Failure::Refused { status: None },
            "what an answer may quote is not known here"
        );
    }

    #[test]
    fn the_message_distinguishes_some_bad_requests() {
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
            assert_eq!(
                classify(&ErrorResponse::with(400, error), Some(&prompt())),
                failure,
                "{message}"
            );
        }
    }

    #[test]
    fn a_403_concerns_the_key_only_if_the_error_names_it() {
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
            assert_eq!(
                &classify(&ErrorResponse::with(403, error), Some(&prompt())),
                failure,
                "{kind}: {message}"
            );
        }
    }

    #[test]
    fn an_error_within_an_answer_is_classified_by_its_type() {
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
            assert_eq!(
                classify(&ErrorResponse::in_stream(json!({ "type": kind })), None),
                failure,
                "{kind}"
            );
        }
    }
}
