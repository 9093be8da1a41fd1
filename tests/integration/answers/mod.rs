//! The life of an answer: requested, written, cancelled, and finished whatever is lost on the way.

mod branching;
mod cancel;
mod competing_ends;
mod context;
mod deploy;
mod empty_answers;
mod fairness;
mod idle_timeouts;
mod lost_postgres;
mod lost_redis;
mod lost_server;
mod lost_worker;
mod model_replies;
mod notices;
mod paid_calls;
mod postgres_failover;
mod provider_circuit;
mod provider_fails_for_good;
mod provider_recovers;
mod quota;
mod random_kills;
mod resume;
mod sending;
mod shutdown;
mod thoughts;
mod usage;
