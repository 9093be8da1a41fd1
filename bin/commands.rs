//! What the programs do: one file a command.

pub mod dev;
pub mod migrate;
pub mod openapi;
pub mod secret;
pub mod serve;
pub mod work;
