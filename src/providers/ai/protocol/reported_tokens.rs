//! Reads the token counts that providers report.

use serde_json::Value;

/// More tokens than any model takes or gives: a count beyond it is wrong.
const MAX_TOKENS: i64 = 100_000_000;

/// The field `key` of a provider's usage object; `None` without a plausible number.
pub(crate) fn reported_tokens(usage: &Value, key: &str) -> Option<i64> {
    let count = usage.get(key).and_then(Value::as_i64);
    count.filter(|count| (0..=MAX_TOKENS).contains(count))
}
