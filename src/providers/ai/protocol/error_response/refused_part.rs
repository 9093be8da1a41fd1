//! Which part of a request an error refuses, that another request can do without.

use super::stated::Stated;
use super::words::Words;
use crate::ai::request_form::RequestPart;

/// What says that the value of an output limit is the fault, not the parameter.
const TOO_MUCH: [&str; 9] = [
    "too large",
    "too big",
    "at most",
    "maximum",
    "less than",
    "greater than",
    "must be in",
    "exceed",
    "valid range",
];

/// What says that a model's template has no system. Ours alternate otherwise.
const NO_SYSTEM_ROLE: [&str; 7] = [
    // Gemma
    "system role not supported",
    "system role is not supported",
    // OpenAI's o1-mini
    "role does not support system",
    // Gemma, behind Gemini
    "developer instruction is not enabled",
    // Mistral's templates
    "only user and assistant roles are supported",
    "conversation roles must alternate",
    "system messages are not supported",
];

/// The names of the output limit.
const OUTPUT_LIMITS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// The part of a request that a refusal with this status names. What is left out then is left out for everybody, so words
/// count only beside a quotation: within an answer, the field that names a parameter does.
pub(super) fn refused_part(status: Option<u16>, stated: &Stated, words: &Words) -> Option<RequestPart> {
    let status = status?;
    // llama.cpp refuses a prefilled answer to a model that thinks with a 500.
    if words.say_of_everybody(&[
        "prefill",
        "must end with a user message",
        "last message must be from the user",
    ]) && (400..=500).contains(&status)
    {
        return Some(RequestPart::Prefill);
    }
    // Templates fail with any of these.
    if matches!(status, 400 | 422 | 424 | 500) && words.say_of_everybody(&NO_SYSTEM_ROLE) {
        return Some(RequestPart::SystemRole);
    }
    if !matches!(status, 400 | 404 | 422) {
        return None;
    }
    if names(stated, words, "stream_options") || names(stated, words, "include_usage") {
        return Some(RequestPart::StreamOptions);
    }
    if OUTPUT_LIMITS.iter().any(|name| names(stated, words, name)) {
        let unknown = [
            "unsupported",
            "not supported",
            "unrecognized",
            "unknown",
            "not permitted",
            "unexpected",
        ];
        let is_too_much = words.say(&TOO_MUCH) && !words.say(&unknown);
        return Some(if is_too_much {
            RequestPart::LargeOutputLimit
        } else {
            RequestPart::OutputLimit
        });
    }
    None
}

/// Whether the parameter is named in a field of its own, or in words that are no quotation.
fn names(stated: &Stated, words: &Words, parameter: &str) -> bool {
    stated.names(parameter)
        || (stated.text.contains(parameter) && words.say_of_everybody(&[&format!(" {} ", parameter.replace('_', " "))]))
}
