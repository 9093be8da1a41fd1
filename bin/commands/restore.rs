//! `cura-admin restore`: a backup becomes the database again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cura_app::operate::backup::{Allowed, Checked, OperateBackupError, Restore as UseCase, Restored};
use cura_app::operate::{Act, OperateError as _};

use super::failure::Failure;
use super::operating;
use super::output::{GlobalArguments, Output};
use super::text::{fields, time};
use crate::program::StartError;
use crate::settings::Settings;
use crate::{migrations, wiring};

/// How long Postgres is waited for.
const WAIT: Duration = Duration::from_secs(3);

/// What to restore.
#[derive(Debug, Args)]
pub struct Restore {
    /// The archive.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The file with the secret key of age, if it is encrypted.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Delete what is in the database, and replace other bytes under the keys of files.
    #[arg(long)]
    replace: bool,
    /// Accept that people who were erased since come back, because the file store that was in use is lost with its list of them.
    #[arg(long)]
    without_erasure_list: bool,
}

/// Runs the command; gives the exit code.
pub fn start(command: Restore, global: GlobalArguments) -> ExitCode {
    operating::with_settings(global, async |settings, output| {
        restore(&settings, command, output).await
    })
}

async fn restore(settings: &Settings, command: Restore, output: Output) -> Result<(), Failure> {
    let unlimited = wiring::database_for_migrations(settings, "cura-admin")?;
    let (setting, url) = settings.database.session_url().map_err(StartError::from)?;
    let reached = wiring::reach_database(&unlimited, WAIT).await;
    reached.map_err(|problem| Failure::of_database(&problem, setting))?;
    let identities = super::backup::identities(command.identity.as_deref())?;
    output.progress("reading the archive");
    let archive = Checked::read(&command.input, identities, &migrations::known()).await;
    output.progress("");
    let acts = operating::acts(settings, &wiring::database(settings, "cura-admin")?);
    let allowed = Allowed {
        replace: command.replace,
        no_erasure_list: command.without_erasure_list,
    };
    let done = async {
        let archive = archive?;
        let files = wiring::file_store(settings).map_err(StartError::from)?;
        let live = match &settings.redis.url {
            Some(_) => Some(wiring::redis_live(settings).map_err(StartError::from)?),
            None => None,
        };
        let mut restore = UseCase::look(acts.clone(), files, live, (&unlimited, url), &archive, allowed).await?;
        output.confirm(&question(settings, url, &archive, command.replace))?;
        output.progress("restoring");
        let objects = restore.load(&archive).await?;
        // With a session of its own: the other one holds the lock.
        let migrating = wiring::database_for_migrations(settings, "cura-admin")?;
        let migrated = migrations::up(migrating.pool()).await;
        migrated.map_err(|error| OperateBackupError::Migrations(error.to_string()))?;
        let restored = restore.finish(&archive, objects).await?;
        Ok::<_, Stopped>(restored)
    };
    let done = done.await;
    output.progress("");
    match done {
        Ok(restored) => output.value(&restored, text),
        Err(Stopped::Told(failure)) => Err(failure),
        Err(Stopped::Failed(error)) => {
            // An empty database has no record, and what is being restored is not whole.
            let pool = unlimited.pool();
            let has_record = matches!(migrations::pending(pool).await, Ok(0))
                && matches!(migrations::is_being_restored(pool).await, Ok(false));
            if has_record {
                acts.failed(Act::new("restore").with("replaced", command.replace), error.code())
                    .await;
            }
            Err(error.into())
        }
    }
}

/// What is asked before anything is deleted: where it goes, because settings may be those of another place.
fn question(settings: &Settings, url: &str, archive: &Checked, replaces: bool) -> String {
    let database = cura_postgres::place_of(url).unwrap_or_else(|| "the database".to_owned());
    let deleted = match replaces {
        true => format!("this deletes everything in the schemas public and apalis of {database}, and restores it"),
        false => format!("this restores {database}"),
    };
    let redis = match &settings.redis.url {
        Some(_) => "Redis of REDIS_URL forgets everything of Cura",
        None => "no Redis is told, because REDIS_URL is not set",
    };
    format!(
        "{deleted} as it was at {}; {redis}; files go to {}",
        time(archive.manifest.taken_at),
        wiring::place_of_files(settings)
    )
}

/// Why a restore stopped.
enum Stopped {
    Failed(OperateBackupError),
    Told(Failure),
}

impl From<OperateBackupError> for Stopped {
    fn from(error: OperateBackupError) -> Self {
        Self::Failed(error)
    }
}

impl From<StartError> for Stopped {
    fn from(error: StartError) -> Self {
        Self::Told(error.into())
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Told(failure)
    }
}

fn text(restored: &Restored) -> String {
    let objects = restored.objects;
    let head = fields(&[
        ("as it was at", time(restored.taken_at)),
        ("rows", restored.rows.to_string()),
        (
            "files",
            format!("{} put, {} there already", objects.put, objects.present),
        ),
        ("missing files", objects.missing.to_string()),
        ("erased again", restored.erased_again.to_string()),
        ("queues paused", restored.queues_paused.to_string()),
    ]);
    let undone: Vec<String> = restored
        .undone_acts
        .iter()
        .map(|act| {
            format!(
                "  {} {} {}\n",
                time(act.at),
                act.action,
                act.target.as_deref().unwrap_or("")
            )
        })
        .collect();
    let undone = match undone.is_empty() {
        true => String::new(),
        false => format!("operators did this since, and it is undone:\n{}", undone.concat()),
    };
    format!("{head}{undone}every session has ended; look at it, then resume each queue: cura-admin jobs resume QUEUE")
}
