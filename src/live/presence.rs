//! What it takes for a watcher to count, and for how long anything about it is known.

use std::time::Duration;

/// How often a server repeats which watchers it has.
pub(crate) const PRESENCE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a watcher counts after the last report. Two reports may be lost.
pub(crate) const PRESENCE_TTL: Duration = Duration::from_secs(3 * PRESENCE_INTERVAL.as_secs());
/// How long a watcher that has to show signs of life counts after the last one, as the contract says.
pub(crate) const SIGN_OF_LIFE_TTL: Duration = Duration::from_secs(25);
/// How long it is remembered who watched at the end of an answer, and who left in order.
pub(crate) const LOOK_TTL: Duration = Duration::from_secs(300);

/// What a watcher needs in order to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Nothing: it counts as long as it exists.
    Assumed,
    /// Nothing, but a proxy stands between: it may keep a connection open whose client is long gone. It counts as long as it exists,
    /// but one of the end of an answer does not at the last look.
    Proxied,
    /// Signs of life: it does not count 25 s after the last one.
    Shown,
}

/// What the last look after the end of an answer finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastLook {
    /// Whether somebody watches now; of those who watched at the end, only who is known to live.
    pub is_watched: bool,
    /// Whether a watcher of the end has left in order since.
    pub closed_in_order: bool,
}
