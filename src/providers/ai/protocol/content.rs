//! Text in the shapes in which providers send it.

use serde_json::{Map, Value};

use crate::ai::error::Failure;
use crate::ai::stream::surrogates::Wtf8Text;

/// What a provider sent where text belongs.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The text.
    pub(crate) text: String,
    /// Whether there are thoughts in it.
    pub(crate) has_thoughts: bool,
    /// Whether a part of the text says that the model declines to answer.
    pub(crate) is_refusal: bool,
}

/// Where a part has its text.
const TEXT_KEYS: [&str; 5] = ["text", "content", "value", "parts", REFUSAL];
/// Where OpenAI has what a model says that declines to answer.
pub(crate) const REFUSAL: &str = "refusal";

/// Words in the types of parts that are no text.
const OTHER_PARTS: [&str; 18] = [
    "image",
    "audio",
    "video",
    "file",
    "tool",
    "function",
    "citation",
    "reference",
    "document",
    "source",
    "json",
    "annotation",
    "redacted",
    "compaction",
    "search",
    "upload",
    "container",
    "code_execution",
];

impl Content {
    /// The text, if there is any.
    pub(crate) fn into_text(self) -> Option<Wtf8Text> {
        (!self.text.is_empty()).then(|| Wtf8Text::from(self.text))
    }

    /// Adds what `value` holds: a text, a part, or a list of them. Parts that are no text, as images, have none.
    ///
    /// # Errors
    /// When it may hold text that we cannot find: an answer must not have holes.
    pub(crate) fn add(&mut self, value: &Value) -> Result<(), Failure> {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::String(text) => self.text.push_str(text),
            // A token that looks like a number, without its quotes.
            Value::Number(number) => self.text.push_str(&number.to_string()),
            Value::Array(parts) => parts.iter().try_for_each(|part| self.add(part))?,
            Value::Object(part) => {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
                if is_thought(kind) || part.get("thought").is_some_and(|thought| thought == true) {
                    self.has_thoughts = true;
                } else if let Some((key, text)) = TEXT_KEYS
                    .iter()
                    .find_map(|key| Some(*key).zip(part.get(*key).filter(|text| says_something(text))))
                {
                    self.is_refusal |= key == REFUSAL;
                    self.add(text)?;
                } else if may_hold_text(part, kind) {
                    return Err(Failure::Protocol("text in a form that is not known"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a part without text in a field that we know may have some in another.
fn may_hold_text(part: &Map<String, Value>, kind: &str) -> bool {
    if TEXT_KEYS.iter().any(|key| part.contains_key(*key)) || OTHER_PARTS.iter().any(|word| kind.contains(word)) {
        return false;
    }
    let mut others = part.iter().filter(|(key, _)| {
        !matches!(
            key.as_str(),
            "type" | "id" | "index" | "role" | "name" | "cache_control"
        )
    });
    if kind.is_empty() {
        return others.next().is_some();
    }
    others.any(|(_, value)| says_something(value))
}

/// Whether a part of this type is no text: thoughts, and what comes with them.
pub(crate) fn is_thought(kind: &str) -> bool {
    ["think", "reason", "thought", "signature"]
        .iter()
        .any(|word| kind.contains(word))
}

/// Whether a value says anything: neither null, false, zero nor empty.
pub(crate) fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> Result<(String, bool), Failure> {
        let mut content = Content::default();
        content.add(value)?;
        Ok((content.text, content.has_thoughts))
    }

    #[test]
    fn text_is_found_in_every_shape() {
        for (value, wanted) in [
            (json!("a"), ("a", false)),
            (json!(7), ("7", false)),
            (json!(false), ("", false)),
            (json!([{ "type": "text", "text": "a" }, "b"]), ("ab", false)),
            (json!({ "type": "output_text", "text": { "value": "a" } }), ("a", false)),
            (
                json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "no" }] }, { "text": "a" }]),
                ("a", true),
            ),
            (json!([{ "text": "no", "thought": true }]), ("", true)),
            (json!({ "type": "image_url", "image_url": {} }), ("", false)),
            (json!({ "role": "model", "parts": [{ "text": "a" }] }), ("a", false)),
        ] {
            assert_eq!(text(&value).unwrap(), (wanted.0.to_owned(), wanted.1), "{value}");
        }
        for value in [
            json!({ "words": ["a"] }),
            json!([{ "type": "markdown", "markdown": "a" }]),
        ] {
            assert!(text(&value).is_err(), "it may be text: {value}");
        }
    }
}
