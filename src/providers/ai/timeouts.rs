//! How long we wait for a provider.

use std::time::Duration;

/// How long we wait for a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For TCP and TLS.
    pub connect: Duration,
    /// From the call to the first event of the answer. Generous: local models load and think before their first token.
    pub first_byte: Duration,
    /// Between two events of the answer; keepalives do not count.
    pub idle: Duration,
    /// From the call to the end of the answer.
    pub total: Duration,
}
