//! `cura-server`: serves the API; `cura-server dev` runs everything in one process.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cura_bin::commands::{dev, serve};
use cura_bin::{check_health, program, wiring};

/// The HTTP server of Cura. Settings come from the environment and `.env`; see `.env.example`.
#[derive(Parser)]
#[command(name = "cura-server", version = cura_bin::build_info::VERSION)]
struct Arguments {
    /// How many seconds to wait at the start for Postgres, its migrations, and Redis.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    wait: u64,
    /// Ask the server that runs with these settings whether it accepts requests: exit code 0 if it does, else 1.
    #[arg(long)]
    check_health: bool,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Run server, workers and a private Postgres in one process, with nothing to configure.
    Dev,
}

fn main() -> ExitCode {
    // Before anything else: this process may be the child that looks into a file, or the supervisor of a private Postgres.
    cura_inspection::run_child_if_asked();
    cura_devdb::run_supervisor_if_asked();
    let arguments = Arguments::parse();
    if arguments.check_health {
        return check_health::start();
    }
    match arguments.mode {
        None => program::run(wiring::faults_of_server, |settings| {
            serve::run(settings, Duration::from_secs(arguments.wait))
        }),
        Some(Mode::Dev) => dev::start(),
    }
}
