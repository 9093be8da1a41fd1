//! What every request goes through, whichever route it is for.

pub(crate) mod caller;
pub(crate) mod client_address;
pub(crate) mod middleware;
pub(crate) mod paging;
mod parser_errors;
pub(crate) mod paths;
pub(crate) mod payload;
pub(crate) mod prefer;
pub(crate) mod problem;
pub(crate) mod rate_limit;
pub(crate) mod server;
pub(crate) mod shutdown;
