//! `cura-worker`: runs jobs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cura_bin::commands::work;
use cura_bin::{program, wiring};

/// A worker of Cura. Settings come from the environment and `.env`; see `.env.example`.
#[derive(Parser)]
#[command(name = "cura-worker", version = cura_bin::build_info::VERSION)]
struct Arguments {
    /// The queues to consume, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(cura_jobs::queues()))]
    queues: Vec<String>,
    /// How many seconds to wait at the start for Postgres, its migrations, and Redis.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    wait: u64,
}

fn main() -> ExitCode {
    // Before anything else: this process may be the child that looks into a file.
    cura_inspection::run_child_if_asked();
    let arguments = Arguments::parse();
    let wait = Duration::from_secs(arguments.wait);
    program::run(wiring::faults_of_worker, |settings| {
        work::run(settings, arguments.queues, wait)
    })
}
