//! The intervals and time limits of workers. The defaults suit people who wait for answers; tests use shorter ones.

use std::time::Duration;

/// How long an instance may miss heartbeats before its jobs are released.
const LEASE: Duration = Duration::from_secs(2);

/// Durations of the worker side.
#[derive(Debug, Clone, Copy)]
pub struct WorkersConfig {
    /// How often ready jobs are looked for when no notification arrives.
    pub poll_interval: Duration,
    /// How long the listening connection may be silent before it is probed.
    pub listener_check_interval: Duration,
    /// How often an instance renews its lease, whatever its jobs do.
    pub heartbeat_interval: Duration,
    /// How long an instance may miss heartbeats before its jobs are released, by the clock of the peer that looks for them;
    /// and how long peers have to send another one after an outage of Postgres.
    pub lease: Duration,
    /// How long jobs go on while Postgres cannot be reached.
    pub isolation_timeout: Duration,
    /// The longest back-off after a first failure; doubles with each attempt.
    pub first_backoff: Duration,
    /// The longest back-off after any failure.
    pub max_backoff: Duration,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            listener_check_interval: Duration::from_secs(10),
            heartbeat_interval: LEASE / 4,
            lease: LEASE,
            isolation_timeout: Duration::from_secs(15),
            first_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(5 * 60),
        }
    }
}
