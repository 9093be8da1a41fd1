//! Reads the token counts that providers report.

use serde_json::Value;

/// More tokens than any model takes or gives: a count beyond it is wrong.
const MAX_TOKENS: i64 = 100_000_000;

/// The field `key` of a provider's usage object; `None` without a plausible number.
pub(crate) fn reported_tokens(usage: &Value, key: &str) -> Option<i64> {
    let count = usage.get(key).and_then(Value::as_i64);
    count.filter(|count| (0..=MAX_TOKENS).contains(count))
}

/// The tokens of thoughts in a provider's usage object; they are part of those of the answer.
pub(crate) fn reasoning_tokens(usage: &Value) -> Option<i64> {
    // OpenAI's chat completions, Anthropic, and gateways that say it in the words of another interface.
    let nested = [
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "thinking_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
    ];
    let nested = nested
        .iter()
        .find_map(|(details, key)| reported_tokens(usage.get(*details)?, key));
    // SGLang, Perplexity.
    nested.or_else(|| reported_tokens(usage, "reasoning_tokens"))
}
