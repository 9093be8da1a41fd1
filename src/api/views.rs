//! Resources as clients see them, wherever they appear: in the answers of routes and in events.

pub(crate) mod conversation;
pub(crate) mod message;
