//! What every request goes through, whichever route it is for.

mod app_errors;
mod body;
pub(crate) mod caller;
pub(crate) mod client_address;
mod connection;
pub(crate) mod connection_permit;
pub(crate) mod fields;
mod framework_errors;
pub(crate) mod middleware;
pub(crate) mod operation;
pub(crate) mod paging;
mod parser_errors;
pub(crate) mod payload;
pub(crate) mod policy;
pub(crate) mod prefer;
pub(crate) mod problem;
pub(crate) mod rate_limit;
mod rate_limit_headers;
mod request_id;
pub(crate) mod server;
pub(crate) mod shutdown;
pub(crate) mod start_answer;
