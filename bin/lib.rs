//! What the three programs share: settings, telemetry, commands, and the composition root ([`wiring`]).

mod allocator;
pub mod build_info;
pub mod check_health;
pub mod commands;
pub mod descriptors;
pub mod migrations;
pub mod program;
pub mod settings;
pub mod stop_signals;
pub mod telemetry;
pub mod wiring;
