//! What the jobs of a process depend on, of which workers tell each other with their heartbeats.

use std::time::Duration;

use serde_json::Value;

/// For how long a success is told to those who wait for one: some heartbeats, of which a few may be late.
pub(crate) const SUCCESS_TOLD_FOR: Duration = Duration::from_secs(5);

/// A service that the jobs of this process depend on, as the process knows it. Its methods are called with every heartbeat, and
/// must not block.
pub trait Dependency: Send + Sync + 'static {
    /// What keeps this process from its work: a stable word. [`crate::health`] shows it until it is over or the process is dead.
    fn fault(&self) -> Option<&'static str>;

    /// Services that fail without keeping this process from its other work: stable words. [`crate::health`] shows them, too.
    fn failing_services(&self) -> Vec<&'static str>;

    /// More about it for operators, who read it with the workers: no secret and nobody's words, a few hundred bytes.
    fn report(&self) -> Value;

    /// How often the service has worked for this process: a number that never becomes smaller.
    fn successes(&self) -> u64;

    /// Whether this process would like to hear of a success anywhere.
    fn awaits_success(&self) -> bool;

    /// The service has worked a few seconds ago, here or in another process. Called while [`Self::awaits_success`] says so.
    fn worked_somewhere(&self);
}

/// For processes whose jobs depend on nothing but Postgres.
pub(crate) struct Nothing;

impl Dependency for Nothing {
    fn fault(&self) -> Option<&'static str> {
        None
    }

    fn failing_services(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn report(&self) -> Value {
        Value::Null
    }

    fn successes(&self) -> u64 {
        0
    }

    fn awaits_success(&self) -> bool {
        false
    }

    fn worked_somewhere(&self) {}
}
