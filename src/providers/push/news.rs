//! How long what a service said last says something about it.

use chrono::{DateTime, TimeDelta, Utc};

/// A failure that nobody has heard of for this long is over, as far as is known: as long as Firebase is left alone when its answers
/// are not its own. With pushes to send there is news much sooner.
const NEWS_FOR: TimeDelta = TimeDelta::minutes(5);

/// Whether what happened at `then` still says something. A clock that was set back makes it old.
pub(super) fn is_news(then: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (TimeDelta::zero()..NEWS_FOR).contains(&(now - then))
}
