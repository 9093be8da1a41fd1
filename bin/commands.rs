//! What the programs do: one file a command.

pub mod arguments;
pub mod dev;
pub mod devices;
pub mod files;
pub mod migrate;
pub mod openapi;
pub mod output;
pub mod secret;
pub mod serve;
pub mod work;
