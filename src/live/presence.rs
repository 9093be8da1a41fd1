//! Presence: whether a user has a live connection on any server.
//!
//! Each server repeats every [`PRESENCE_INTERVAL`] which users are connected to it, and reports changes at once. A user of
//! a server that died counts as present until [`PRESENCE_TTL`] has passed.

use std::collections::HashSet;
use std::time::Duration;

use cura_domain::UserId;

/// How often a server repeats which users are connected to it.
pub const PRESENCE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a user counts as present after the last report. Two reports may be lost.
pub const PRESENCE_TTL: Duration = Duration::from_secs(3 * PRESENCE_INTERVAL.as_secs());

/// What a server has to report.
pub(crate) struct PresenceChanges {
    /// Users that have left.
    pub(crate) gone: Vec<UserId>,
    /// Users that are connected.
    pub(crate) connected: Vec<UserId>,
}

impl PresenceChanges {
    /// The differences between `reported` and `connected`; to repeat the whole report, all users connected.
    pub(crate) fn between(reported: &HashSet<UserId>, connected: &HashSet<UserId>, repeat: bool) -> Self {
        let gone = reported.difference(connected).copied().collect();
        let connected = if repeat {
            connected.iter().copied().collect()
        } else {
            connected.difference(reported).copied().collect()
        };
        Self { gone, connected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reports_the_differences_and_a_repetition_all_users() {
        let (reported, connected) = (
            HashSet::from([UserId(1), UserId(2)]),
            HashSet::from([UserId(2), UserId(3)]),
        );
        let change = PresenceChanges::between(&reported, &connected, false);
        assert_eq!((change.gone, change.connected), (vec![UserId(1)], vec![UserId(3)]));
        let mut repeated = PresenceChanges::between(&reported, &connected, true);
        repeated.connected.sort();
        assert_eq!(
            (repeated.gone, repeated.connected),
            (vec![UserId(1)], vec![UserId(2), UserId(3)])
        );
    }
}
