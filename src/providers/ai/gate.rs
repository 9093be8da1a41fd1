//! Whether a process sends requests to a provider, and why not, as operators see it.

use serde::{Deserialize, Serialize};

/// One provider, as one process knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The provider, as it is named in the settings.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// Whether requests are sent.
    pub state: GateState,
    /// The code of the failure because of which none are sent.
    pub reason: Option<String>,
    /// The milliseconds until one may be sent.
    pub retry_after_ms: Option<u64>,
    /// How many persons have to wait because their own requests have failed; 256 at most.
    pub held_persons: usize,
    /// Complete answers that it gave to this process.
    pub answers: u64,
}

/// Whether requests are sent: the state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// They are.
    Closed,
    /// They are, and a small request of our own finds out whether the provider fails for everybody.
    Suspect,
    /// They are not, for a while.
    Open,
    /// They are not, until an operator repairs the key, the account or the settings.
    NeedsRepair,
}
