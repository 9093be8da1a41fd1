//! Rules that hold for the API as a whole: every operation, every list, every header.

mod bodies;
mod browsers;
mod cursors;
mod http_protocol;
mod invalid_fields;
mod kept_connections;
mod logs;
mod migrations;
mod openapi;
mod operations_document;
mod policies;
mod problem_snapshots;
mod query_plans;
mod rate_limits;
mod security_document;
mod tenant_isolation;
mod wire_snapshots;
