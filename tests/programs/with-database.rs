//! Runs a command with `DATABASE_URL` naming a migrated database that is gone afterwards: `with-database COMMAND…`.

use std::process::{Command, ExitCode};

use cura_tests::TestDatabase;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        return ExitCode::from(2);
    };
    let database = TestDatabase::create().await;
    let done = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", database.url())
        .status();
    match done {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}
