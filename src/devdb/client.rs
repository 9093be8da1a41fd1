//! Uses a private Postgres until its stdin ends: `devdb-client DATA_ROOT durable|throwaway`. Prints the URL when the server
//! is ready.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for tests, which read its output"
)]

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use cura_devdb::{PrivatePostgres, Profile};

fn main() -> ExitCode {
    cura_devdb::run_supervisor_if_asked();
    let mut arguments = std::env::args().skip(1);
    let data_root: PathBuf = arguments.next().expect("DATA_ROOT").into();
    let profile = if arguments.next().as_deref() == Some("throwaway") {
        Profile::Throwaway
    } else {
        Profile::Durable
    };
    match PrivatePostgres::start(&data_root, profile, None) {
        Ok(postgres) => {
            println!("{}", postgres.url("cura"));
            std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
