//! The events of OpenAI's chat completions, as most servers send them. What is not of this form is read leniently.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error_response;
use super::lenient;
use crate::ai::error::Failure;
use crate::ai::protocol::content::says_something;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::reading::{Reading, is_error_name};
use crate::ai::protocol::reported_tokens::{reasoning_tokens, reported_tokens};
use crate::ai::stream::completion_stream::ProtocolEvent;
use crate::ai::stream::end_word::EndWord;
use crate::ai::stream::surrogates::Wtf8Text;

/// One event. Usage comes without choices.
#[derive(Deserialize)]
struct Chunk {
    choices: Vec<Choice>,
    /// Only its counts are read: a malformed one does not fail the answer.
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
    /// The model's own word, beside OpenRouter's.
    #[serde(default)]
    native_finish_reason: Option<String>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<Wtf8Text>,
    /// Sent by OpenAI instead of content when the model declines; it is meant to be shown.
    #[serde(default)]
    refusal: Option<Wtf8Text>,
    #[serde(default)]
    reasoning_content: Something,
    #[serde(default)]
    reasoning: Something,
    #[serde(default)]
    reasoning_text: Something,
    #[serde(default)]
    reasoning_details: Something,
    #[serde(default)]
    thinking: Something,
    #[serde(default)]
    tool_calls: Something,
    #[serde(default)]
    error: Something,
}

/// Reads an event of this name.
///
/// # Errors
/// The failure that the event tells of, or [`Failure::Protocol`] when it may hold text that cannot be read.
pub(super) fn read(name: &str, data: &str) -> Result<Reading, Failure> {
    if data.trim().trim_matches('"') == "[DONE]" {
        return Ok(Reading::event(ProtocolEvent {
            done: true,
            ..ProtocolEvent::default()
        }));
    }
    if !is_error_name(name)
        && let Ok(chunk) = serde_json::from_str::<Chunk>(data)
        && let Some(event) = chunk.into_event()
    {
        return Ok(Reading::event(event));
    }
    lenient::read(name, data)
}

/// What the word of a gateway says, or that of the model behind it where the gateway's is unknown.
pub(super) fn end_word(word: Option<&str>, native: Option<&str>) -> Option<EndWord> {
    match EndWord::of(word?)? {
        EndWord::Unknown(word) => native.and_then(EndWord::of).or(Some(EndWord::Unknown(word))),
        word => Some(word),
    }
}

/// What an error within an answer means.
pub(super) fn failure(error: Value) -> Failure {
    error_response::classify(&ErrorResponse::in_stream(error))
}

impl Chunk {
    /// `None` without text in the delta of the one choice: then it may be somewhere else.
    fn into_event(self) -> Option<ProtocolEvent> {
        let mut choices = self.choices.into_iter();
        let (Some(choice), None) = (choices.next(), choices.next()) else {
            return None;
        };
        if choice.index.is_some_and(|index| index > 0) || choice.delta.error.0 {
            return None;
        }
        let has_thoughts = choice.delta.has_thoughts();
        let content = choice.delta.content.filter(|content| !content.is_empty());
        let is_refusal = content.is_none();
        let text = content.or(choice.delta.refusal).filter(|text| !text.is_empty())?;
        let error = self.error.or(choice.error).filter(says_something);
        Some(ProtocolEvent {
            text: Some(text),
            is_refusal,
            has_thoughts,
            end_word: end_word(choice.finish_reason.as_deref(), choice.native_finish_reason.as_deref()),
            failure: error.map(failure),
            input_tokens: reported_tokens(&self.usage, "prompt_tokens"),
            output_tokens: reported_tokens(&self.usage, "completion_tokens"),
            reasoning_tokens: reasoning_tokens(&self.usage),
            model: self.model,
            ..ProtocolEvent::default()
        })
    }
}

impl Delta {
    fn has_thoughts(&self) -> bool {
        [
            &self.reasoning_content,
            &self.reasoning,
            &self.reasoning_text,
            &self.reasoning_details,
            &self.thinking,
            &self.tool_calls,
        ]
        .iter()
        .any(|something| something.0)
    }
}

/// Whether a field says anything, which is all we want to know of it.
#[derive(Default)]
struct Something(bool);

impl<'de> Deserialize<'de> for Something {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Says;

        impl<'de> Visitor<'de> for Says {
            type Value = bool;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
                Ok(value)
            }

            fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
                Ok(false)
            }

            fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
                Ok(false)
            }

            fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
                Ok(false)
            }

            fn visit_str<E>(self, text: &str) -> Result<bool, E> {
                Ok(!text.is_empty())
            }

            fn visit_unit<E>(self) -> Result<bool, E> {
                Ok(false)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<bool, A::Error> {
                let mut some = false;
                while values.next_element::<IgnoredAny>()?.is_some() {
                    some = true;
                }
                Ok(some)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
                let mut some = false;
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    some = true;
                }
                Ok(some)
            }
        }

        deserializer.deserialize_any(Says).map(Self)
    }
}
