//! Every integration test of Cura, one binary: it links once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod bad_requests;
mod conversations;
mod limits;
mod live;
mod outages;
mod programs;
mod providers;
mod queue;
mod sending;
mod sessions;
mod silence;
mod streaming;
