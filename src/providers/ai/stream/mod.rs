//! Turns a provider's response body into the events of an answer.

pub(crate) mod answer_end;
pub(crate) mod completion_stream;
pub(crate) mod end_word;
mod said;
pub(crate) mod sse_decoder;
pub(crate) mod surrogates;
pub(crate) mod thoughts;
