//! What an error states, wherever in its body: servers put the same facts into many shapes.

use std::time::Duration;

use serde_json::{Map, Value};

/// How much of an error's text is looked at, in bytes.
const MAX_TEXT_BYTES: usize = 4096;
/// How many types, codes and parameters are kept.
const MAX_WORDS: usize = 32;
/// A longer type, code or parameter is none, in bytes.
const MAX_WORD_BYTES: usize = 128;
/// How deep an error may be nested, texts that are JSON themselves included.
const MAX_DEPTH: usize = 8;

/// The facts that an error states.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stated {
    /// Its types, codes and reasons, in lower case.
    words: Vec<String>,
    /// Its texts, in lower case, one a line.
    pub(super) text: String,
    /// The parameters of the request that it names as wrong, by their last part.
    parameters: Vec<String>,
    /// The HTTP status that it states as a number.
    pub(super) status: Option<u16>,
    /// The wait that it states (Gemini's `retryDelay`).
    pub(super) wait: Option<Duration>,
}

impl Stated {
    /// Reads a body: JSON of any shape, or plain text. A web page says nothing.
    pub(super) fn in_body(body: &[u8]) -> Self {
        let mut stated = Self::default();
        match serde_json::from_slice(body) {
            Ok(value) => stated.read(&value, 0),
            Err(_) => stated.add_text(&String::from_utf8_lossy(body), 0),
        }
        stated
    }

    /// Reads an error, or what holds one.
    pub(super) fn in_value(value: &Value) -> Self {
        let mut stated = Self::default();
        stated.read(value, 0);
        stated
    }

    /// Whether a type, code or reason is one of these, in lower case.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(&word.as_str()))
    }

    /// Whether it names this parameter in a field of its own.
    pub(super) fn names(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|named| named == parameter)
    }

    fn read(&mut self, value: &Value, depth: usize) {
        match value {
            _ if depth > MAX_DEPTH => {}
            Value::String(text) => self.add_text(text, depth),
            Value::Array(values) => values.iter().for_each(|value| self.read(value, depth + 1)),
            Value::Object(fields) => self.read_fields(fields, depth),
            _ => {}
        }
    }

    fn read_fields(&mut self, fields: &Map<String, Value>, depth: usize) {
        for (key, value) in fields {
            match (key.as_str(), value) {
                // What was sent, not what is said about it.
                ("input" | "messages" | "request" | "ctx", _) => {}
                ("param" | "loc" | "field" | "path", value) => self.add_parameter(value),
                ("retryDelay" | "retry_delay", Value::String(wait)) => {
                    let seconds = wait.trim_end_matches('s').parse();
                    self.wait = seconds.ok().and_then(|wait| Duration::try_from_secs_f64(wait).ok());
                }
                ("code" | "status" | "status_code" | "statusCode", Value::Number(number)) => {
                    let number = number.as_u64().and_then(|number| u16::try_from(number).ok());
                    self.add_word(&value.to_string());
                    self.status = self.status.or(number.filter(|number| (400..600).contains(number)));
                }
                (key, Value::String(word)) if is_word_key(key) => {
                    if let Ok(number @ 400..600) = word.parse() {
                        self.status.get_or_insert(number);
                    }
                    self.add_word(word);
                }
                (key, Value::String(text)) if is_text_key(key) => self.add_text(text, depth),
                (_, value @ (Value::Array(_) | Value::Object(_))) => self.read(value, depth + 1),
                _ => {}
            }
        }
    }

    fn add_word(&mut self, word: &str) {
        if self.words.len() < MAX_WORDS && word.len() <= MAX_WORD_BYTES {
            // Bedrock puts a namespace before the type, gRPC's reasons are in capitals.
            let word = word.rsplit(['#', '/']).next().unwrap_or(word);
            self.words.push(word.to_ascii_lowercase());
        }
    }

    /// `"stream_options"`, `"body.stream_options"`, `["body", "stream_options"]`, `"messages[0].content"`.
    fn add_parameter(&mut self, value: &Value) {
        let path = match value {
            Value::String(path) => path.as_str(),
            // The first part is the place, such as `body`; deeper ones are within the parameter.
            Value::Array(path) => {
                let mut parts = path.iter().filter_map(Value::as_str).filter(|part| *part != "body");
                parts.next().unwrap_or_default()
            }
            _ => return,
        };
        let path = path.strip_prefix("body.").unwrap_or(path);
        let name = path.split(['.', '[']).next().unwrap_or(path);
        if self.parameters.len() < MAX_WORDS && !name.is_empty() && name.len() <= MAX_WORD_BYTES {
            self.parameters.push(name.to_ascii_lowercase());
        }
    }

    fn add_text(&mut self, text: &str, depth: usize) {
        let text = text.trim();
        if text.starts_with(['{', '['])
            && depth < MAX_DEPTH
            && let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text)
        {
            return self.read(&value, depth + 1);
        }
        // A proxy's page is no error of the provider.
        let is_page = text
            .strip_prefix('<')
            .is_some_and(|tag| tag.starts_with(|first: char| first == '!' || first.is_ascii_alphabetic()));
        if text.is_empty() || is_page {
            return;
        }
        let room = MAX_TEXT_BYTES.saturating_sub(self.text.len());
        let text = text.get(..text.floor_char_boundary(room)).unwrap_or(text);
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&text.to_ascii_lowercase());
    }
}

fn is_word_key(key: &str) -> bool {
    matches!(
        key,
        "type" | "code" | "error_type" | "error_code" | "errorCode" | "__type" | "status" | "reason" | "error_name"
    )
}

fn is_text_key(key: &str) -> bool {
    matches!(
        key,
        "message"
            | "Message"
            | "msg"
            | "error"
            | "detail"
            | "details"
            | "error_description"
            | "error_message"
            | "error_msg"
            | "errorMessage"
            | "title"
            | "description"
            | "raw"
            | "body"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_shape_holds_the_same_text() {
        for body in [
            r#"{"error":{"message":"Too LONG","type":"x"}}"#,
            r#"{"error":"Too long"}"#,
            r#"{"detail":"Too long"}"#,
            r#"{"detail":[{"loc":["body","messages"],"msg":"Too long","input":"what was said"}]}"#,
            r#"{"message":"Too long"}"#,
            r#"{"object":"error","message":"Too long","code":400}"#,
            r#"[{"error":{"code":400,"message":"Too long","status":"INVALID_ARGUMENT"}}]"#,
            r#"{"object":"error","message":{"detail":[{"msg":"Too long"}]}}"#,
            r#"{"error":{"message":"{\"error\":{\"message\":\"Too long\"}}"}}"#,
            r#"{"error":{"code":400,"metadata":{"raw":"{\"message\":\"Too long\"}"}}}"#,
            "Too long",
            "\"Too long\"\n",
        ] {
            assert_eq!(Stated::in_body(body.as_bytes()).text, "too long", "{body}");
        }
        assert_eq!(Stated::in_body(b"<html>Too long</html>").text, "");
    }

    #[test]
    fn a_parameter_is_named_by_a_field_of_its_own() {
        for body in [
            json!({"error": {"param": "stream_options"}}),
            json!({"error": {"param": "stream_options.include_usage"}}),
            json!({"detail": [{"loc": ["body", "stream_options", "include_usage"]}]}),
            json!({"message": {"detail": [{"loc": ["body", "stream_options"]}]}}),
        ] {
            assert!(Stated::in_value(&body).names("stream_options"), "{body}");
        }
        let within_words = json!({"error": {"param": "messages[0].max_tokens"}});
        assert!(!Stated::in_value(&within_words).names("max_tokens"));
    }

    #[test]
    fn a_status_may_be_a_number_or_its_digits() {
        for body in [
            json!({"code": 402}),
            json!({"error": {"code": "402"}}),
            json!({"status": 402}),
        ] {
            assert_eq!(Stated::in_value(&body).status, Some(402), "{body}");
        }
        assert_eq!(Stated::in_value(&json!({"code": 1113})).status, None);
        assert!(Stated::in_value(&json!({"code": 1113})).is(&["1113"]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "x".repeat(100_000);
        assert_eq!(Stated::in_body(long.as_bytes()).text.len(), MAX_TEXT_BYTES);
        let many: Vec<_> = (0..1000)
            .map(|n| json!({"type": n.to_string(), "param": "p"}))
            .collect();
        let stated = Stated::in_value(&json!(many));
        assert_eq!((stated.words.len(), stated.parameters.len()), (MAX_WORDS, MAX_WORDS));
        let mut deep = json!("boom");
        for _ in 0..100 {
            deep = json!({ "error": deep });
        }
        assert_eq!(Stated::in_value(&deep), Stated::default());
    }
}
