//! What a provider means by its errors, whether sent instead of an answer or within one.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use super::super::Failure;

/// As much of an error's body as we read.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A provider that asks for more patience than this is as good as down.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Judges a response that is not 2xx. Reads a bounded part of its body; the caller's deadline bounds the time.
pub(super) async fn read(response: reqwest::Response) -> Failure {
    let status = response.status().as_u16();
    let header = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(seconds);
    if (300..400).contains(&status) {
        return Failure::Misconfigured("the provider redirects; set its final address");
    }
    let mut body = Vec::new();
    let mut parts = response.bytes_stream();
    while let Some(Ok(part)) = parts.next().await {
        let room = MAX_BODY_BYTES - body.len();
        body.extend_from_slice(part.get(..room).unwrap_or(&part));
        if body.len() == MAX_BODY_BYTES {
            break;
        }
    }
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    judge(Some(status), value.get("error").unwrap_or(&value), header)
}

/// Judges an error object that came as an event of an answer.
pub(super) fn event(error: &Value) -> Failure {
    judge(None, error, None)
}

fn judge(status: Option<u16>, error: &Value, retry_after: Option<Duration>) -> Failure {
    let word = |key: &str| {
        error
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    let (kind, code, message) = (word("type"), word("code"), word("message"));
    let is = |words: &[&str]| words.iter().any(|word| kind == *word || code == *word);
    // Within an answer, the status is repeated as `code` by those who have no words (llama.cpp, vLLM, OpenRouter).
    let number = error
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|number| u16::try_from(number).ok());
    if is(&["insufficient_quota", "billing_hard_limit_reached"]) || status == Some(402) {
        return Failure::QuotaExhausted;
    }
    if too_long(&kind, &code, &message) {
        return Failure::ContextTooLong;
    }
    match status.or(number) {
        Some(401 | 403) => Failure::Unauthorized { status },
        Some(429) => Failure::RateLimited { retry_after },
        Some(408 | 409 | 425 | 500..) => Failure::Unavailable { status, retry_after },
        Some(_) => Failure::Refused { status },
        None if is(&["rate_limit_error", "rate_limit_exceeded"]) => Failure::RateLimited { retry_after },
        None if is(&["invalid_api_key", "authentication_error"]) => Failure::Unauthorized { status },
        None if is(&["invalid_request_error", "content_policy_violation"]) => Failure::Refused { status },
        None => Failure::Unavailable { status, retry_after },
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

/// `Retry-After` in seconds. Its other form, a date, would need a clock, and no AI provider sends it.
fn seconds(value: &str) -> Option<Duration> {
    let seconds = value.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .map(|wait| wait.min(MAX_RETRY_AFTER))
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
            assert_eq!(judge(Some(400), &error, None), Failure::ContextTooLong);
        }
    }

    #[test]
    fn an_error_within_an_answer_may_hide_its_status_in_the_code() {
        assert_eq!(event(&json!({"code": 429})), Failure::RateLimited { retry_after: None });
        assert_eq!(
            event(&json!("boom")),
            Failure::Unavailable {
                status: None,
                retry_after: None
            }
        );
    }

    #[test]
    fn a_wait_is_bounded_and_nonsense_ignored() {
        assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(seconds("1e9"), Some(MAX_RETRY_AFTER));
        for value in ["-1", "soon", "NaN", "inf"] {
            assert_eq!(seconds(value), None, "{value}");
        }
    }
}
