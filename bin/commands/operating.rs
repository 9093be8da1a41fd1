//! How commands run: with the settings alone, or with the database and the name of who acts.

use std::process::ExitCode;
use std::time::Duration;

use cura_app::operate::{Acts, Via};
use cura_domain::operator::OperatorName;
use cura_live::Live;
use cura_store::Database;

use super::failure::{Exit, Failure};
use super::output::{GlobalArguments, Output};
use crate::program::{self, StartError};
use crate::settings::Settings;
use crate::{migrations, wiring};

/// How long Postgres may take to say which migrations it has.
const MIGRATIONS_TIMEOUT: Duration = Duration::from_secs(2);

/// What a command works with.
pub struct Operating {
    /// The settings.
    pub settings: Settings,
    /// The database, which is there and has every migration.
    pub database: Database,
    /// Where what it changes is recorded.
    pub acts: Acts,
    /// Where it writes.
    pub output: Output,
}

impl Operating {
    /// Where connections learn of changes at once. `cura-server dev` can do without, and its connections look by themselves. It connects when
    /// it is first used: without Redis, what needs only Postgres works.
    ///
    /// # Errors
    /// When `REDIS_URL` is wrong.
    pub fn live(&self) -> Result<Option<Live>, Failure> {
        if self.settings.redis.url.is_none() {
            return Ok(None);
        }
        let live = wiring::redis_live(&self.settings).map_err(StartError::from)?;
        Ok(Some(live))
    }
}

/// Runs a command that needs no database; gives the exit code.
pub fn with_settings(
    global: GlobalArguments,
    command: impl AsyncFnOnce(Settings, Output) -> Result<(), Failure>,
) -> ExitCode {
    let mut done = Ok(());
    let outcome = Settings::from_environment()
        .map_err(StartError::from)
        .and_then(|settings| {
            program::start(settings, async |settings| {
                done = command(settings, global.into()).await;
                Ok(())
            })
        });
    match outcome.map_err(Failure::from).and(done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(global.json),
    }
}

/// Runs a command that needs the database; gives the exit code.
pub fn with_database(global: GlobalArguments, command: impl AsyncFnOnce(Operating) -> Result<(), Failure>) -> ExitCode {
    with_settings(global, async |settings, output| {
        let database = wiring::database(&settings, "cura-admin")?;
        check(&database).await?;
        let acts = acts(&settings, &database);
        command(Operating {
            settings,
            database,
            acts,
            output,
        })
        .await
    })
}

/// The acts of whoever has given the command: `CURA_OPERATOR`, or the system's user and host.
pub fn acts(settings: &Settings, database: &Database) -> Acts {
    let operator = settings.process.operator.clone().unwrap_or_else(system_user);
    Acts::new(database.clone(), wiring::clock(), operator, Via::Command)
}

fn system_user() -> OperatorName {
    let or_unknown = |name: whoami::Result<String>| name.unwrap_or_else(|_| "unknown".to_owned());
    OperatorName::of_system(&or_unknown(whoami::username()), &or_unknown(whoami::hostname()))
}

/// Whether a command can work with the database. Takes ten seconds at most.
async fn check(database: &Database) -> Result<(), Failure> {
    let checked = database.check().await;
    checked.map_err(|problem| Failure::of_database(&problem, "DATABASE_URL"))?;
    refuse_if_being_restored(database).await?;
    match tokio::time::timeout(MIGRATIONS_TIMEOUT, migrations::pending(database.pool())).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(_)) => Err(
            Failure::new(Exit::Failed, "migrations_pending", "the database lacks migrations")
                .cure("run `cura-admin migrate up`"),
        ),
        Ok(Err(_)) | Err(_) => Err(Failure::new(
            Exit::Failed,
            "migrations_unknown",
            "DATABASE_URL names a Postgres that does not say which migrations it has",
        )
        .cure("grant this user to read all tables")),
    }
}

/// Refuses a database in which a restore has not ended. Takes two seconds at most.
///
/// # Errors
/// When one has not.
pub async fn refuse_if_being_restored(database: &Database) -> Result<(), Failure> {
    let asked = migrations::is_being_restored(database.pool());
    match tokio::time::timeout(MIGRATIONS_TIMEOUT, asked).await {
        Ok(Ok(true)) => Err(Failure::new(
            Exit::Failed,
            "restore_unfinished",
            "a restore of the database has not ended",
        )
        .cure("run `cura-admin restore` again")),
        Ok(Ok(false)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Failure::new(
            Exit::Away,
            "database_away",
            "Postgres does not say whether a restore has ended",
        )
        .cure("run the command again")),
    }
}
