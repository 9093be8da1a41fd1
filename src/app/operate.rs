//! What operators can do, one module for each noun: with the locks, triggers and events of people's own acts, and
//! without reading anybody's words.

pub mod acts;
pub mod ai;
pub mod announcements;
pub mod backup;
pub mod devices;
pub mod explain;
pub mod files;
pub mod jobs;
mod named_user;
pub mod page_sessions;
pub mod switches;
pub mod usage;
pub mod users;

pub use acts::{Act, Acts, OperateError, Via};
pub use named_user::NamedUser;
