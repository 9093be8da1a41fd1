//! AI providers: their protocols, and which one answers.

mod anthropic;
mod corpus;
mod failover;
mod kept_connections;
mod openai;
mod provider_dialects;
mod real_model;
mod request_form;
