//! What is kept of a person, to see that nothing is left when they are erased.

use std::time::Duration;

use cura_domain::MessageId;

/// What is kept of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces {
    /// How many keys name the person: who watched, and what was counted of their requests.
    pub keys: u64,
    /// Until all of these have expired; `None` if there are none, or one never does.
    pub keys_expire_within: Option<Duration>,
    /// The texts of answers of anybody: whose they are, only Postgres knows. An ended one is kept for a minute, one that is forgotten for
    /// good is none.
    pub texts: Vec<MessageId>,
    /// Whether there are more texts than are listed.
    pub has_more_texts: bool,
}
