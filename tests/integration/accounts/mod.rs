//! Accounts: registration, sign-in, sessions, profile, and erasure.

mod erasure;
mod profile;
mod sessions;
mod sign_in;
