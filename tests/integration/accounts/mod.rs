//! Accounts: registration, sign-in, sessions, profile, and erasure.

mod busy_sign_in;
mod erasure;
pub(crate) mod export;
mod export_runs;
mod exported_files;
mod key_rotation;
mod profile;
mod pruning;
mod refresh_tokens;
pub(crate) mod sessions;
mod sign_in;
mod stream_access;
mod stream_tokens;
mod suspended_meanwhile;
