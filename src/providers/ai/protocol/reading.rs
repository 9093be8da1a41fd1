//! What was read of one event, and what an event is worth that cannot be read.

use serde_json::Value;

use super::content::says_something;
use super::json_repair::repaired;
use crate::ai::error::Failure;
use crate::ai::stream::completion_stream::ProtocolEvent;

/// What was read of one event.
#[derive(Debug)]
pub(crate) enum Reading {
    /// An event of the answer.
    Event(Box<ProtocolEvent>),
    /// Nothing of the answer: it does not even show that the model is at work.
    Keepalive,
    /// Something that we do not know, and no text: it may be an error.
    Unknown,
    /// Nothing that makes sense, and no text.
    Junk,
}

impl Reading {
    /// An event of the answer.
    pub(crate) fn event(event: ProtocolEvent) -> Self {
        Self::Event(Box::new(event))
    }
}

/// The JSON of an event that cannot be read at once.
///
/// # Errors
/// When it is none: [`Failure::Protocol`] if it may hold text, so that no answer has a hole; `None` if it is junk.
pub(crate) fn json(event: &str) -> Result<Value, Option<Failure>> {
    let parsed = serde_json::from_str(event).or_else(|_| serde_json::from_str(&repaired(event)));
    parsed.map_err(|_| {
        // What begins like an event and is none was cut, and what it held is not known.
        let may_hold_text = event.trim_start().starts_with(['{', '"'])
            || ["content", "text", "delta", "choices"]
                .iter()
                .any(|word| event.contains(word));
        may_hold_text.then_some(Failure::Protocol("an event with text that cannot be read"))
    })
}

/// Whether an event of this name tells of an error.
pub(crate) fn is_error_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["error", "failed", "failure", "exception"]
        .iter()
        .any(|word| name.ends_with(word))
}

/// The error that the JSON of an event is or holds, if it is no part of an answer.
pub(crate) fn error_in(event: &mut Value) -> Option<Value> {
    let fields = event.as_object_mut()?;
    for (key, value) in fields.iter_mut() {
        if matches!(squashed(key).as_str(), "error" | "errors" | "err") && says_something(value) {
            return Some(value.take());
        }
    }
    let has = |key: &str| fields.get(key).is_some_and(says_something);
    let is_error = fields.iter().any(|(key, value)| says_failure(key, value))
        || ((has("message") || has("msg")) && has("code"))
        || (fields.len() == 1 && has("msg"));
    is_error.then(|| event.take())
}

/// Whether a field of an event says that the event is an error.
fn says_failure(key: &str, value: &Value) -> bool {
    match squashed(key).as_str() {
        "type" | "object" | "event" => value.as_str().is_some_and(is_error_name),
        "status" | "state" if value.is_string() => {
            value.as_str().is_some_and(is_error_name) || status(value).is_some_and(|status| status >= 400)
        }
        "code" | "status" | "statuscode" | "httpstatus" | "httpcode" => {
            status(value).is_some_and(|status| status >= 400)
        }
        "baseresp" => {
            let code = value.get("status_code").and_then(Value::as_i64);
            code.is_some_and(|code| code != 0 && code != 200)
        }
        "success" | "ok" => *value == Value::Bool(false),
        "detail" | "errorcode" | "errormsg" | "errormessage" | "errortype" => says_something(value),
        key => key.ends_with("exception") && says_something(value),
    }
}

fn status(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// `statusCode`, `status_code` and `StatusCode` are one name.
fn squashed(key: &str) -> String {
    key.chars()
        .filter(|char| !matches!(char, '_' | '-'))
        .map(|char| char.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_is_one_in_every_spelling() {
        for mut event in [
            json!({"code": 500, "msg": "a"}),
            json!({"statusCode": 500, "message": "a"}),
            json!({"type": "about:blank", "title": "a", "status": 500}),
            json!({"status": "error", "msg": "a"}),
            json!({"status": "failed"}),
            json!({"type": "response.failed", "response": {}}),
            json!({"ErrorCode": "a"}),
            json!({"Error": "a"}),
            json!({"err": "a"}),
            json!({"internalServerException": {"message": "a"}}),
            json!({"success": false}),
            json!({"base_resp": {"status_code": 1002}}),
        ] {
            assert!(error_in(&mut event).is_some(), "{event}");
        }
        for mut event in [
            json!({"error": null, "code": 0, "status": 200, "msg": ""}),
            json!({"status": "in_progress", "type": "response.created"}),
            json!({"object": "chat.completion.chunk", "success": true}),
            json!([]),
        ] {
            assert_eq!(error_in(&mut event), None, "{event}");
        }
    }

    #[test]
    fn a_cut_event_may_hold_text() {
        assert!(matches!(
            json("{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"cho"),
            Err(Some(_))
        ));
        assert!(matches!(json("not json"), Err(None)));
        assert!(matches!(json("[ERROR] upstream timeout"), Err(None)));
    }
}
