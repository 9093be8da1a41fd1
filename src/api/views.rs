//! Resources as clients see them, wherever they appear: in responses and in events.

pub(crate) mod attachment;
pub(crate) mod conversation;
pub(crate) mod device;
pub(crate) mod message;
pub(crate) mod user;
