//! How patient workers are. The defaults are for people who wait; tests use shorter ones.

use std::time::Duration;

/// Durations of the worker side.
#[derive(Debug, Clone, Copy)]
pub struct WorkersConfig {
    /// How often ready jobs are looked for when nobody announces any.
    pub poll: Duration,
    /// How long the connection that listens may hear nothing before it is asked whether it lives.
    pub check_listening: Duration,
    /// How often an instance renews its lease, whatever its jobs do.
    pub renew: Duration,
    /// How long an instance may be silent before its jobs are given to others.
    pub dead_after: Duration,
    /// How long an instance must have seen Postgres without a gap before it declares others dead.
    pub witness: Duration,
    /// How long jobs go on while Postgres cannot be reached.
    pub isolation: Duration,
    /// The first back-off after a failure; doubles with each attempt.
    pub backoff: Duration,
    /// The longest back-off.
    pub max_backoff: Duration,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            check_listening: Duration::from_secs(10),
            renew: Duration::from_millis(500),
            dead_after: Duration::from_secs(2),
            witness: Duration::from_secs(2),
            isolation: Duration::from_secs(15),
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(5 * 60),
        }
    }
}
