//! The channels on which Postgres notifies workers.

/// A job was inserted; apalis' trigger sends it.
pub(crate) const INSERT_CHANNEL: &str = "apalis::job::insert";
/// A job became ready some other way.
pub(crate) const WAKE_CHANNEL: &str = "cura_queue_wake";
/// The running job with the id in the payload is to be cancelled.
pub(crate) const CANCEL_CHANNEL: &str = "cura_queue_cancel";
/// A queue was paused or resumed; the trigger of migration 0063 sends it.
pub(crate) const PAUSE_CHANNEL: &str = "cura_queue_paused";
