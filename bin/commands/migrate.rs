//! `cura-admin migrate`: changes the schema. Data goes to stdout, messages to stderr.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command writes to its standard streams"
)]

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use crate::program::{self, StartError};
use crate::settings::Settings;
use crate::{migrations, wiring};

/// What to do with the schema.
#[derive(Debug, Subcommand)]
pub enum Migrate {
    /// Apply every pending migration.
    Up {
        /// How many seconds to wait for Postgres.
        #[arg(long, default_value_t = 3, value_name = "SECONDS")]
        wait: u64,
    },
    /// Revert the newest migrations and delete their data.
    Down {
        /// How many migrations to revert.
        #[arg(long, default_value_t = 1)]
        steps: usize,
        /// Confirm that the data may be deleted.
        #[arg(long)]
        yes: bool,
    },
    /// Show which migrations have been applied.
    Status,
}

/// How long a command waits for Postgres that takes no `--wait`.
const DEFAULT_WAIT: Duration = Duration::from_secs(3);
/// The exit code of `migrate status` when migrations are pending.
const PENDING: u8 = 3;

/// Runs the command; gives the exit code.
pub fn start(command: Migrate, as_json: bool) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let outcome = Settings::from_environment()
        .map_err(StartError::from)
        .and_then(|settings| {
            program::start(settings, async |settings| {
                code = migrate(&settings, command, as_json).await?;
                Ok(())
            })
        });
    outcome.map_or_else(|error| program::fail(&error), |()| code)
}

async fn migrate(settings: &Settings, command: Migrate, as_json: bool) -> Result<ExitCode, StartError> {
    let database = wiring::database_for_migrations(settings, "cura-admin")?;
    let (setting, _) = settings.database.session_url()?;
    let failed = |error: sqlx::migrate::MigrateError| StartError::Other(format!("migrating failed: {error}"));
    match command {
        Migrate::Up { wait } => {
            wiring::wait_for_database(&database, setting, Duration::from_secs(wait)).await?;
            let applied = migrations::pending(database.pool()).await.map_err(failed)?;
            migrations::up(database.pool()).await.map_err(failed)?;
            if as_json {
                println!("{}", json!({ "applied": applied }));
            } else {
                eprintln!("{applied} migrations applied; the database is up to date");
            }
        }
        Migrate::Down { yes: false, .. } => {
            return Err(StartError::Other("this deletes data; pass --yes to confirm".to_owned()));
        }
        Migrate::Down { steps, yes: true } => {
            wiring::wait_for_database(&database, setting, DEFAULT_WAIT).await?;
            let reverted = migrations::down(database.pool(), steps).await.map_err(failed)?;
            if as_json {
                println!("{}", json!({ "reverted": reverted }));
            } else {
                eprintln!("reverted: {reverted:?}");
            }
        }
        Migrate::Status => {
            wiring::wait_for_database(&database, setting, DEFAULT_WAIT).await?;
            let all = migrations::status(database.pool()).await.map_err(failed)?;
            let pending = all.iter().filter(|state| !state.applied).count();
            if as_json {
                println!("{}", json!({ "migrations": all, "pending": pending }));
            } else {
                for state in &all {
                    let mark = if state.applied { "applied" } else { "pending" };
                    println!("{mark}  {:<6}  {:>14}  {}", state.set, state.version, state.description);
                }
            }
            if pending > 0 {
                return Ok(ExitCode::from(PENDING));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
