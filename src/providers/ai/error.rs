//! Why a completion failed, in terms of what the caller can do about it.
//!
//! Messages contain only our own words, status codes and durations: a provider's error text may quote the prompt.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::request_form::RequestPart;

/// A failed completion, and whether it failed before its first event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{failure} ({})", if *.before_first_byte { "before the first event" } else { "within the answer" })]
pub struct AiError {
    failure: Failure,
    before_first_byte: bool,
    /// Whether the request is not made again, whatever failed.
    is_final: bool,
    /// Whether a request of our own has failed in the same way.
    is_confirmed: bool,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The connection failed or broke, or the provider answered 5xx.
    #[error("the provider is unavailable{}", status_note(*.status))]
    Unavailable {
        /// The HTTP status; `None` when the connection itself failed.
        status: Option<u16>,
        /// How long the provider asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The request was not sent: the provider failed repeatedly and its circuit breaker is open.
    #[error("the provider's circuit breaker is open")]
    CircuitOpen {
        /// When the request may be sent.
        retry_after: Duration,
    },
    /// The provider exceeded a deadline.
    #[error("the provider took more than {limit:?} {phase}")]
    Timeout {
        /// What it was doing.
        phase: TimeoutPhase,
        /// The limit that was reached.
        limit: Duration,
    },
    /// We sent too many requests.
    #[error("the provider limits our rate")]
    RateLimited {
        /// How long the provider asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The account behind the key has no credit left.
    #[error("the provider account's quota is used up")]
    QuotaExhausted,
    /// The key is missing, wrong, or may not use this model.
    #[error("the provider does not accept our key{}", status_note(*.status))]
    Unauthorized {
        /// The HTTP status; `None` when the error was an event of the answer.
        status: Option<u16>,
    },
    /// The prompt does not fit the model.
    #[error("the prompt is too long for the model")]
    ContextTooLong {
        /// Whether status, type or code of the refused request say so: then it holds for everybody's prompts. Words may be meant
        /// otherwise, and show something of one prompt only.
        for_everybody: bool,
    },
    /// The provider will not answer this request, now or later.
    #[error("the provider refused the request{}", status_note(*.status))]
    Refused {
        /// The HTTP status; `None` when the error was an event of the answer that states none.
        status: Option<u16>,
    },
    /// The provider's moderation will not have these words. Nothing else is wrong with the request.
    #[error("the provider's moderation refused the request{}", status_note(*.status))]
    Moderated {
        /// The HTTP status; `None` when the error was an event of the answer that states none.
        status: Option<u16>,
    },
    /// The provider refused a part of the request that it may accept it without. A backend asks again in another form, and
    /// fails with [`Failure::Refused`] if that is refused, too.
    #[error("the provider refused a part of the request{}", status_note(*.status))]
    RefusedPart {
        /// What it refused.
        part: RequestPart,
        /// The HTTP status.
        status: Option<u16>,
    },
    /// The answer has no text: only thoughts, tool calls or white space, or nothing at all.
    #[error("the provider's answer is empty")]
    EmptyAnswer,
    /// The response does not follow the protocol, or exceeds a limit of ours.
    #[error("the provider broke the protocol: {0}")]
    Protocol(&'static str),
    /// The request was not sent: the person has deleted the words.
    #[error("the person has deleted the words")]
    Withdrawn,
    /// The request was not sent: it could not be found out whether the person has deleted the words.
    #[error("it cannot be found out whether the words may be sent")]
    Unconfirmed,
    /// Our settings are wrong.
    #[error("the provider is misconfigured: {0}")]
    Misconfigured(&'static str),
}

/// A request that may not be sent yet, because circuit breakers are open. Ordered by the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("the circuit breaker is open for {retry_after:?}")]
pub struct CircuitOpen {
    /// When the request may be sent.
    pub retry_after: Duration,
}

/// The phase of a completion in which time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutPhase {
    /// Opening a connection.
    Connect,
    /// Waiting for the first event of the answer.
    FirstByte,
    /// Waiting for the next event of the answer.
    NextEvent,
    /// Receiving the whole answer.
    Total,
}

impl fmt::Display for TimeoutPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "to connect",
            Self::FirstByte => "to begin its answer",
            Self::NextEvent => "to continue its answer",
            Self::Total => "to finish its answer",
        })
    }
}

impl From<CircuitOpen> for AiError {
    fn from(CircuitOpen { retry_after }: CircuitOpen) -> Self {
        Self::new(Failure::CircuitOpen { retry_after }, true)
    }
}

impl AiError {
    /// A failure; `before_first_byte` when no event of the completion had been handed out.
    pub const fn new(failure: Failure, before_first_byte: bool) -> Self {
        Self {
            failure,
            before_first_byte,
            is_final: false,
            is_confirmed: false,
        }
    }

    /// The same failure of a request that is not made again.
    #[must_use]
    pub(crate) const fn finally(self) -> Self {
        Self { is_final: true, ..self }
    }

    /// The same failure, as a request of our own has confirmed it.
    #[must_use]
    pub(crate) const fn confirmed(self) -> Self {
        Self {
            is_confirmed: true,
            ..self
        }
    }

    /// The same failure of a completion of which nothing was handed out.
    #[must_use]
    pub(crate) const fn before_any_event(self) -> Self {
        Self {
            before_first_byte: true,
            ..self
        }
    }

    /// What went wrong.
    pub const fn failure(&self) -> &Failure {
        &self.failure
    }

    /// A stable code for clients and metrics.
    pub const fn code(&self) -> &'static str {
        match self.failure {
            Failure::Unavailable { .. } | Failure::CircuitOpen { .. } => "provider_unavailable",
            Failure::Timeout { .. } => "provider_timeout",
            Failure::RateLimited { .. } => "provider_rate_limited",
            Failure::QuotaExhausted => "provider_quota_exhausted",
            Failure::Unauthorized { .. } => "provider_unauthorized",
            Failure::ContextTooLong { .. } => "context_too_long",
            Failure::Refused { .. } | Failure::RefusedPart { .. } | Failure::Moderated { .. } => "provider_refused",
            Failure::EmptyAnswer => "empty_answer",
            Failure::Protocol(_) => "provider_protocol",
            Failure::Misconfigured(_) => "provider_misconfigured",
            Failure::Withdrawn | Failure::Unconfirmed => "generation_failed",
        }
    }

    /// Whether the same request may succeed later without a change of settings or prompt, and may be made again.
    pub const fn retryable(&self) -> bool {
        if self.is_final {
            return false;
        }
        match self.failure {
            // Most protocol errors are a proxy's page or a truncated body, which pass.
            Failure::Unavailable { .. }
            | Failure::CircuitOpen { .. }
            | Failure::Timeout { .. }
            | Failure::RateLimited { .. }
            | Failure::Unconfirmed
            | Failure::EmptyAnswer
            | Failure::Protocol(_) => true,
            Failure::QuotaExhausted
            | Failure::Unauthorized { .. }
            | Failure::ContextTooLong { .. }
            | Failure::Refused { .. }
            | Failure::RefusedPart { .. }
            | Failure::Moderated { .. }
            | Failure::Withdrawn
            | Failure::Misconfigured(_) => false,
        }
    }

    /// How long to wait: at most an hour if the provider asks for it, or until its circuit breaker lets a request through.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.failure {
            Failure::Unavailable { retry_after, .. } | Failure::RateLimited { retry_after } => retry_after,
            Failure::CircuitOpen { retry_after } => Some(retry_after),
            _ => None,
        }
    }

    /// Whether the request was not sent because its words may not be, or it is not known whether they may.
    pub const fn no_permission(&self) -> bool {
        matches!(self.failure, Failure::Withdrawn | Failure::Unconfirmed)
    }

    /// Whether requests keep failing until an operator acts.
    pub const fn needs_operator(&self) -> bool {
        matches!(
            self.failure,
            Failure::QuotaExhausted | Failure::Unauthorized { .. } | Failure::Misconfigured(_)
        )
    }

    /// Whether it may be that an operator has to act, and is being found out: until then waiting helps.
    pub const fn awaits_confirmation(&self) -> bool {
        self.needs_operator() && !self.is_confirmed && !self.is_final
    }

    /// Whether it failed before any event was handed out, so that another backend can answer without readers noticing.
    pub const fn before_first_byte(&self) -> bool {
        self.before_first_byte
    }
}

fn status_note(status: Option<u16>) -> String {
    status.map(|status| format!(" (HTTP {status})")).unwrap_or_default()
}
