//! Truth: everything Cura knows for certain, in Postgres.
//!
//! Plain async functions on `&mut PgConnection`; whoever opened the transaction commits it. Every row of a user is
//! reached with the user's id in the WHERE, so somebody else's row is the same as no row.

pub mod answers;
pub mod attempts;
pub mod conversations;
pub mod error;
pub mod events;
pub mod expired;
pub mod exports;
pub mod history;
pub mod idempotency;
pub mod messages;
pub mod personal_data;
pub mod pool;
pub mod sessions;
pub mod usage;
pub mod users;

pub use error::{StoreError, is_unavailable};
pub use pool::in_time;
pub use sqlx::{PgConnection, PgPool};

/// Cura's own migrations, compiled in. Run after the queue's (`cura_queue::migrator`), whose schema 0001 builds on.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");
