//! Every integration test of Cura, one binary: it links once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod abuse;
mod accounts;
mod answers;
mod contract;
mod conversations;
mod database_connections;
mod devices;
mod files;
mod programs;
mod providers;
mod queue;
mod realtime;
mod redis;
mod scan;
