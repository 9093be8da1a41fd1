//! Sessions: the devices a user is signed in on.

use chrono::{DateTime, Utc};

use crate::SessionId;

/// A signed-in place, as its user sees it.
#[derive(Debug, Clone)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// What the client called the device.
    pub device_name: Option<String>,
    /// When somebody signed in there.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed.
    pub last_used_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}
