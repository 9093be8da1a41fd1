//! Why an answer did not come, in terms of what the caller can do about it.
//!
//! Messages are made of our own words, status codes and durations: a provider's prose may quote the prompt.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// A failed call, and whether anything of the answer had arrived.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{failure} ({})", if *.before_first_byte { "before the first piece" } else { "within the answer" })]
pub struct AiError {
    failure: Failure,
    before_first_byte: bool,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// Nobody answered, the connection broke, or the provider said 5xx.
    #[error("the provider is unavailable{}", status_note(*.status))]
    Unavailable {
        /// The HTTP status; `None` when the connection itself failed.
        status: Option<u16>,
        /// How long the provider asked us to wait.
        retry_after: Option<Duration>,
    },
    /// Nobody was asked: the providers failed too often and are given a rest.
    #[error("the provider is given a rest")]
    Resting {
        /// For how long.
        wait: Duration,
    },
    /// The provider took longer than allowed.
    #[error("the provider took more than {limit:?} {waiting}")]
    Timeout {
        /// What for.
        waiting: Waiting,
        /// The limit that was reached.
        limit: Duration,
    },
    /// Too many requests.
    #[error("the provider limits our rate")]
    RateLimited {
        /// How long the provider asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The account behind the key has no credit left.
    #[error("the provider account's quota is used up")]
    QuotaExhausted,
    /// The key is missing, wrong, or may not use this model.
    #[error("the provider does not accept our key{}", status_note(*.status))]
    Unauthorized {
        /// The HTTP status, when the failure was the whole answer.
        status: Option<u16>,
    },
    /// The prompt does not fit the model.
    #[error("the prompt is too long for the model")]
    ContextTooLong,
    /// The provider will not answer this request, now or later.
    #[error("the provider refused the request{}", status_note(*.status))]
    Refused {
        /// The HTTP status, when the failure was the whole answer.
        status: Option<u16>,
    },
    /// The provider does not speak the dialect, or broke a limit of ours.
    #[error("the provider broke the protocol: {0}")]
    Protocol(&'static str),
    /// Our settings cannot work.
    #[error("the provider is misconfigured: {0}")]
    Misconfigured(&'static str),
}

/// What was being waited for when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// A connection.
    Connect,
    /// The first event of the answer.
    FirstByte,
    /// The next event of an answer that had begun.
    NextPiece,
    /// The end of the answer.
    Total,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "to connect",
            Self::FirstByte => "to begin its answer",
            Self::NextPiece => "to go on with its answer",
            Self::Total => "to finish its answer",
        })
    }
}

impl AiError {
    /// A failure; `before_first_byte` when no piece of the answer had been handed out.
    pub const fn new(failure: Failure, before_first_byte: bool) -> Self {
        Self {
            failure,
            before_first_byte,
        }
    }

    /// What went wrong.
    pub const fn failure(&self) -> &Failure {
        &self.failure
    }

    /// A stable word for clients and metrics.
    pub const fn code(&self) -> &'static str {
        match self.failure {
            Failure::Unavailable { .. } | Failure::Resting { .. } => "provider_unavailable",
            Failure::Timeout { .. } => "provider_timeout",
            Failure::RateLimited { .. } => "provider_rate_limited",
            Failure::QuotaExhausted => "provider_quota_exhausted",
            Failure::Unauthorized { .. } => "provider_unauthorized",
            Failure::ContextTooLong => "context_too_long",
            Failure::Refused { .. } => "provider_refused",
            Failure::Protocol(_) => "provider_protocol",
            Failure::Misconfigured(_) => "provider_misconfigured",
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub const fn retryable(&self) -> bool {
        match self.failure {
            // A protocol error is most often a proxy's page or a cut body, which pass.
            Failure::Unavailable { .. }
            | Failure::Resting { .. }
            | Failure::Timeout { .. }
            | Failure::RateLimited { .. }
            | Failure::Protocol(_) => true,
            Failure::QuotaExhausted
            | Failure::Unauthorized { .. }
            | Failure::ContextTooLong
            | Failure::Refused { .. }
            | Failure::Misconfigured(_) => false,
        }
    }

    /// How long the provider asked us to wait, at most an hour.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.failure {
            Failure::Unavailable { retry_after, .. } | Failure::RateLimited { retry_after } => retry_after,
            Failure::Resting { wait } => Some(wait),
            _ => None,
        }
    }

    /// Whether nothing gets better until an operator does something.
    pub const fn needs_operator(&self) -> bool {
        matches!(
            self.failure,
            Failure::QuotaExhausted | Failure::Unauthorized { .. } | Failure::Misconfigured(_)
        )
    }

    /// Whether it failed before any piece was handed out, so that another provider can answer unnoticed.
    pub const fn before_first_byte(&self) -> bool {
        self.before_first_byte
    }
}

fn status_note(status: Option<u16>) -> String {
    status.map(|status| format!(" (HTTP {status})")).unwrap_or_default()
}
