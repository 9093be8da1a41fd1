//! Sessions: the devices a user is signed in on.

use chrono::{DateTime, Utc};

use crate::SessionId;

/// A session, as its user sees it.
#[derive(Debug, Clone)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// The client's name for the device.
    pub device_name: Option<String>,
    /// When the user signed in.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed.
    pub last_used_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}
