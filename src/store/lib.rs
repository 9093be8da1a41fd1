//! Cura's data in Postgres.
//!
//! Queries are async functions on `&mut PgConnection`; the caller opens and commits the transaction ([`Database`]). Every
//! row of a user is read with the user's id in the WHERE, so the row of another user is the same as no row.

pub mod announcements;
pub mod answer_traces;
pub mod answers;
pub mod asking;
pub mod attachments;
pub mod attempts;
pub mod avatars;
pub mod backups;
pub mod conversations;
mod database;
pub mod devices;
pub mod erasures;
pub mod error;
pub mod events;
pub mod expired;
pub mod exported_files;
pub mod exports;
pub mod file_lifetimes;
pub mod files;
pub mod history;
pub mod idempotency;
pub mod invariants;
pub mod known_places;
mod listener;
pub mod messages;
pub mod model_calls;
pub mod object_deletions;
pub mod operator_actions;
pub mod owners;
pub mod personal_data;
pub mod prompt_files;
pub mod pushes;
pub mod restores;
pub mod resumable_uploads;
pub mod scans;
pub mod scratch;
pub mod served_files;
pub mod server_facts;
pub mod sessions;
pub mod snapshots;
pub mod switches;
pub mod tickets;
pub mod usage;
pub mod usage_sums;
pub mod users;

pub use database::{Database, Session, in_transaction, with_deadline};
pub use error::StoreError;
pub use listener::Listener;
pub use sqlx::{PgConnection, PgPool};

/// Cura's own migrations, compiled in. Run after the queue's (`cura_queue::migrator`), whose schema 0001 builds on.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");
