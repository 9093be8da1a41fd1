//! HTTP, SSE and the OpenAPI document: what clients see of Cura.

pub mod payload;
pub mod problem;
