//! Services outside Cura. AI providers: their protocols, and which one answers. File stores. The scanner. Push services: what they get,
//! and what they answer.

mod anthropic;
mod corpus;
mod failover;
mod files;
mod kept_connections;
mod openai;
mod provider_dialects;
mod push_fcm;
mod push_web;
mod real_model;
mod request_form;
pub(crate) mod scan;
