//! The test harness: a real Postgres, a real Redis, real servers and workers, and an AI provider that follows a script.

pub mod attacker;
pub mod client;
pub mod completion;
pub mod corpus;
pub mod cura;
pub mod database;
pub mod event_source;
pub mod eventually;
pub mod interrupted_answer;
pub mod invariants;
pub mod model_server;
pub mod operations;
pub mod problem;
pub mod program;
pub mod provider;
pub mod proxy;
pub mod raw_socket;
pub mod redacted;
pub mod redis;
pub mod socket;
pub mod view;

pub use attacker::Attacker;
pub use client::{Client, Event, Reply};
pub use cura::{Cura, CuraBuilder};
pub use database::TestDatabase;
pub use eventually::eventually;
pub use interrupted_answer::{InterruptedAnswer, interrupted_answer};
pub use model_server::ModelServer;
pub use program::Program;
pub use provider::{ScriptedProvider, Step};
pub use proxy::Proxy;
pub use redacted::redacted;
pub use redis::TestRedis;
pub use socket::Socket;
pub use view::View;
