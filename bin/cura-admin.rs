//! `cura-admin`: the commands of operators. Data goes to stdout, messages to stderr.
#![expect(clippy::print_stdout, reason = "a command writes to its standard streams")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cura_bin::commands::migrate::{self, Migrate};
use cura_bin::commands::{openapi, secret};

/// Operator commands of Cura. Settings come from the environment and `.env`; see `.env.example`.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 migrations are pending (`migrate status`).
#[derive(Parser)]
#[command(name = "cura-admin", version = cura_bin::build_info::VERSION)]
struct Arguments {
    /// Write data as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Change or show the schema of the database.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Print the OpenAPI document.
    Openapi,
    /// Print a new random value for SECRET_KEY.
    Secret {
        /// Print a new value for VAPID_PRIVATE_KEY instead; its public half goes to stderr.
        #[arg(long)]
        vapid: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Openapi => {
            println!("{}", openapi::document());
            ExitCode::SUCCESS
        }
        Command::Secret { vapid } => secret::start(vapid, arguments.json),
        Command::Migrate(command) => migrate::start(command, arguments.json),
    }
}
