//! The authenticated user of a request.

use chrono::{DateTime, Utc};
use cura_domain::{SessionId, UserId};

/// The authenticated user of a request, and the session that authenticated it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// When the credentials of the request expire; streams that it opened end then.
    pub until: DateTime<Utc>,
    /// The oldest living generation of the session's tokens when it was looked up. A new password moves it on, and ends the streams
    /// that were opened before.
    pub oldest_generation: i32,
}
