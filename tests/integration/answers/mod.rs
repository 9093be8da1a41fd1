//! The life of an answer: requested, written, cancelled, and finished whatever is lost on the way.

mod branching;
mod budgets;
mod cancel;
mod competing_ends;
mod context;
mod deploy;
mod idle_timeouts;
mod lost_postgres;
mod lost_redis;
mod lost_server;
mod lost_worker;
mod notices;
mod provider_circuit;
mod provider_errors;
mod provider_failures;
mod random_kills;
mod resume;
mod sending;
mod shutdown;
