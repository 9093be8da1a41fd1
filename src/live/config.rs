//! The limits and lifetimes of `live`, each defined once; everything else that depends on them is derived.

use std::time::Duration;

use cura_domain::answer::{MAX_ANSWER_BYTES, MAX_ATTEMPT_DURATION};

/// How much later than [`LiveConfig::idle_ttl`] a text may disappear: clocks differ, and tables are swept now and then.
const RETENTION_MARGIN: Duration = Duration::from_secs(5 * 60);

/// Limits and lifetimes of `live`.
#[derive(Debug, Clone, Copy)]
pub struct LiveConfig {
    /// How long a finished text is kept for late readers.
    pub ended_ttl: Duration,
    /// How long an unfinished text is kept at least, counted from the beginning of its attempt: on Redis, appending does
    /// not prolong it. Hence twice as long as an attempt may take. As long, a forgotten text cannot be written again.
    pub idle_ttl: Duration,
    /// The longest text of an answer, in bytes.
    pub max_text_bytes: usize,
    /// How long one call may take.
    pub timeout: Duration,
}

impl LiveConfig {
    /// How long after its last change an answer's text may still be in `live`.
    pub fn retention(&self) -> Duration {
        self.idle_ttl.max(self.ended_ttl) + RETENTION_MARGIN
    }
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            ended_ttl: Duration::from_secs(60),
            idle_ttl: MAX_ATTEMPT_DURATION * 2,
            max_text_bytes: MAX_ANSWER_BYTES,
            timeout: Duration::from_millis(500),
        }
    }
}
