//! What was read of one event, and what an event is worth that cannot be read.

use serde_json::Value;

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
        let may_hold_text = ["content", "text", "delta", "choices"]
            .iter()
            .any(|word| event.contains(word));
        may_hold_text.then_some(Failure::Protocol("an event with text that cannot be read"))
    })
}

/// The error that the JSON of an event is or holds, if it is no part of an answer.
pub(crate) fn error_in(event: &mut Value) -> Option<Value> {
    use super::content::says_something;

    for key in ["error", "errors"] {
        if let Some(error) = event.get_mut(key).filter(|error| says_something(error)) {
            return Some(error.take());
        }
    }
    let says = |key: &str, word: &str| event.get(key).and_then(Value::as_str) == Some(word);
    let has = |key: &str| event.get(key).is_some_and(says_something);
    let code = |holder: Option<&Value>| {
        let code = holder
            .and_then(|holder| holder.get("status_code"))
            .and_then(Value::as_i64);
        code.is_some_and(|code| code != 0 && code != 200)
    };
    let is_error = says("object", "error")
        || says("type", "error")
        || has("error_code")
        || has("error_msg")
        || code(event.get("base_resp"))
        || event.get("success") == Some(&Value::Bool(false))
        || (has("message") && has("code"))
        || has("detail");
    is_error.then(|| event.take())
}
