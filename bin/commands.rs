//! What the programs do: one file a command.

pub mod ai;
pub mod announce;
pub mod arguments;
pub mod audit;
pub mod completions;
pub mod config;
pub mod dev;
pub mod devices;
pub mod doctor;
pub mod explain;
pub mod failure;
pub mod files;
pub mod jobs;
pub mod manual;
pub mod migrate;
pub mod openapi;
pub mod operating;
pub mod output;
pub mod password;
pub mod secret;
pub mod serve;
pub mod switch;
pub mod text;
pub mod usage;
pub mod users;
pub mod work;
