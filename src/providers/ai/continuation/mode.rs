//! How a model is asked to continue an interrupted answer.

/// How a backend continues an interrupted answer, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// The last message of the request is the model's own unfinished answer; the model goes on with its next token.
    Prefill,
    /// A further message asks the model to continue.
    Prompt,
    /// The backend cannot continue an answer.
    Off,
}

/// How one request asks for a continuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContinuationMode {
    /// As [`Continuation::Prefill`].
    Prefill,
    /// As [`Continuation::Prompt`].
    Prompt,
}
