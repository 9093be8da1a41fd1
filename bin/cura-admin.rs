//! `cura-admin`: the commands of operators. Data goes to stdout, messages to stderr.
#![expect(clippy::print_stdout, reason = "a command writes to its standard streams")]

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cura_bin::commands::devices::{self, Devices};
use cura_bin::commands::files::{self, Files};
use cura_bin::commands::migrate::{self, Migrate};
use cura_bin::commands::{openapi, output, secret};

/// Operator commands of Cura. Settings come from the environment and `.env`; see `.env.example`.
///
/// Exit codes: 0 done, 1 failed or not confirmed, 2 wrong usage, 3 the answer is no (`migrate status`: migrations are
/// pending), 4 not found, 5 a dependency is away.
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
    /// Look at the devices that pushes go to, and prune them.
    #[command(subcommand)]
    Devices(Devices),
    /// Look at the files that people have uploaded, scan them again, and delete them.
    #[command(subcommand)]
    Files(Files),
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
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&given) {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error, &given),
    };
    match arguments.command {
        Command::Openapi => {
            println!("{}", openapi::document());
            ExitCode::SUCCESS
        }
        Command::Secret { vapid } => secret::start(vapid, arguments.json),
        Command::Devices(command) => devices::start(command, arguments.json),
        Command::Files(command) => files::start(command, arguments.json),
        Command::Migrate(command) => migrate::start(command, arguments.json),
    }
}
