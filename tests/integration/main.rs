//! Every integration test of Cura, one binary: it links once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod anthropic;
mod bad_requests;
mod branching;
mod budgets;
mod cancelling;
mod conformance;
mod context;
mod conversations;
mod crashes;
mod deploys;
mod erasing;
mod events;
mod failover;
mod faults;
mod limits;
mod live;
mod logs;
mod notices;
mod outages;
mod plans;
mod profile;
mod programs;
mod providers;
mod queue;
mod resume;
mod sending;
mod sessions;
mod silence;
mod socket_ends;
mod sockets;
mod strangers;
mod streaming;
