//! What a rate limit decides about one request.

use std::time::Duration;

/// Whether the request may proceed, and the state of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateDecision {
    /// Whether the request may proceed.
    pub allowed: bool,
    /// The whole budget, in requests.
    pub limit: u32,
    /// How many requests may follow at once.
    pub remaining: u32,
    /// How long until the whole budget is available again.
    pub reset: Duration,
    /// How long until the next request is allowed; zero if it is allowed now.
    pub retry_after: Duration,
}
