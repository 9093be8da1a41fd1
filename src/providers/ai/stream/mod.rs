//! Turns a provider's response body into the events of an answer.

pub(crate) mod completion_stream;
pub(crate) mod sse_decoder;
pub(crate) mod surrogates;
