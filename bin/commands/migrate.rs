//! `cura-admin migrate`: changes the schema.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use cura_app::operate::Act;
use serde_json::json;

use super::failure::{Exit, Failure};
use super::operating;
use super::output::{GlobalArguments, Output};
use super::text::table;
use crate::program::StartError;
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
    },
    /// Show which migrations have been applied.
    Status,
}

/// How long a command waits for Postgres that takes no `--wait`.
const DEFAULT_WAIT: Duration = Duration::from_secs(3);

/// Runs the command; gives the exit code.
pub fn start(command: Migrate, global: GlobalArguments) -> ExitCode {
    operating::with_settings(global, async |settings, output| {
        migrate(&settings, command, output).await
    })
}

async fn migrate(settings: &Settings, command: Migrate, output: Output) -> Result<(), Failure> {
    let database = wiring::database_for_migrations(settings, "cura-admin")?;
    let (setting, _) = settings.database.session_url().map_err(StartError::from)?;
    let wait = match command {
        Migrate::Up { wait } => Duration::from_secs(wait),
        Migrate::Down { .. } => {
            output.confirm("this deletes what only the newest migrations can hold")?;
            DEFAULT_WAIT
        }
        Migrate::Status => DEFAULT_WAIT,
    };
    let reached = wiring::reach_database(&database, wait).await;
    reached.map_err(|problem| Failure::of_database(&problem, setting))?;
    if !matches!(command, Migrate::Status) {
        operating::refuse_if_being_restored(&database).await?;
    }
    let failed = |error: sqlx::migrate::MigrateError| {
        Failure::new(Exit::Failed, "failed", format!("migrating failed: {error}")).cure("see the log of Postgres")
    };
    let acts = operating::acts(settings, &database);
    match command {
        Migrate::Up { .. } => {
            let applied = migrations::pending(database.pool()).await.map_err(failed)?;
            if let Err(error) = migrations::up(database.pool()).await {
                acts.failed(Act::new("migrate.up"), "failed").await;
                return Err(failed(error));
            }
            if applied > 0 {
                acts.record(Act::new("migrate.up").with("applied", applied)).await;
            }
            output.value(&json!({ "applied": applied }), |_| {
                format!("{applied} migrations applied; the database is up to date")
            })
        }
        Migrate::Down { steps } => {
            // Before it: the record itself may be what is reverted.
            acts.record(Act::new("migrate.down").with("steps", steps)).await;
            let reverted = match migrations::down(database.pool(), steps).await {
                Ok(reverted) => reverted,
                Err(error) => {
                    acts.failed(Act::new("migrate.down").with("steps", steps), "failed")
                        .await;
                    return Err(failed(error));
                }
            };
            output.value(&json!({ "reverted": reverted }), |_| format!("reverted: {reverted:?}"))
        }
        Migrate::Status => {
            let all = migrations::status(database.pool()).await.map_err(failed)?;
            let pending = all.iter().filter(|state| !state.applied).count();
            output.value(
                &json!({ "items": all, "next_cursor": null, "pending": pending }),
                |_| {
                    let rows: Vec<[String; 4]> = all
                        .iter()
                        .map(|state| {
                            let mark = if state.applied { "applied" } else { "pending" };
                            let (set, version) = (state.set.to_string(), state.version.to_string());
                            [mark.to_owned(), set, version, state.description.to_string()]
                        })
                        .collect();
                    table(["STATE", "SET", "VERSION", "WHAT"], &rows)
                },
            )?;
            match pending {
                0 => Ok(()),
                _ => Err(Failure::new(
                    Exit::No,
                    "migrations_pending",
                    format!("{pending} migrations are pending"),
                )
                .cure("run `cura-admin migrate up`")),
            }
        }
    }
}
