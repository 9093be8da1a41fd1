//! `cura-admin backup`: one archive of the database and the files, and whether one can be restored.

mod failure;
mod scratch;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use cura_app::operate::backup::{self, Checked, MadeBackup, Verified};
use cura_backup::{Identities, Recipient, Source, Target};
use tokio_util::task::TaskTracker;

use self::scratch::ScratchDatabase;
use super::failure::{Exit, Failure};
use super::operating::{self, Operating};
use super::output::{GlobalArguments, Output};
use super::text::{fields, time};
use crate::program::StartError;
use crate::settings::Settings;
use crate::{build_info, migrations, stop_signals, wiring};

/// What to do with backups.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    #[command(subcommand)]
    command: Option<Command>,
    /// The file to write, which must not exist; `-` for stdout.
    #[arg(long, required = true, value_name = "FILE|-")]
    output: Option<PathBuf>,
    /// Encrypt it for this public key of age.
    #[arg(long, value_name = "age1…")]
    recipient: Option<Recipient>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Restore an archive into a database of its own, and compare all of it.
    ///
    /// It is made next to ours and dropped afterwards, or on a private PostgreSQL if we may not make one. Exit code 3 if the archive is not
    /// whole, or does not hold what was backed up.
    Verify {
        /// The archive.
        file: PathBuf,
        /// The file with the secret key of age, if it is encrypted.
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
}

/// Runs the command; gives the exit code.
pub fn start(command: Backup, global: GlobalArguments) -> ExitCode {
    match (command.command, command.output) {
        (Some(Command::Verify { file, identity }), _) => operating::with_settings(global, async |settings, output| {
            verify(&settings, &file, identity.as_deref(), output).await
        }),
        (None, output) => operating::with_database(global, async |operating| {
            let output = output.ok_or_else(|| Failure::usage("--output is missing"))?;
            make(operating, output, command.recipient).await
        }),
    }
}

async fn make(operating: Operating, file: PathBuf, recipient: Option<Recipient>) -> Result<(), Failure> {
    let Operating {
        settings, acts, output, ..
    } = operating;
    let is_stdout = file == Path::new("-");
    if is_stdout && io::stdout().is_terminal() {
        return Err(Failure::usage(
            "stdout is a terminal; name a file, or pipe it into a program",
        ));
    }
    if recipient.is_none() {
        output.say("the archive is not encrypted: whoever has it can read everything (--recipient encrypts it)");
    }
    let tasks = TaskTracker::new();
    let stop = stop_signals::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    // A connection of its own, without the limits of others.
    let database = wiring::database_for_migrations(&settings, "cura-admin")?;
    let (_, url) = settings.database.session_url().map_err(StartError::from)?;
    let files = wiring::file_store_if_there(&settings).map_err(StartError::from)?;
    if files.is_none() {
        output.say("DATA_DIR/files is not on this machine: files are listed, but not in the archive");
    }
    let source = Source {
        database: &database,
        url,
        files: files.as_ref(),
        version: build_info::VERSION,
    };
    let target = if is_stdout { Target::Stdout } else { Target::File(file) };
    let made = backup::make(&acts, source, target, recipient, &stop).await?;
    if is_stdout {
        output.say(&text(&made));
        return Ok(());
    }
    output.value(&made, text)
}

fn text(made: &MadeBackup) -> String {
    let objects = &made.objects;
    fields(&[
        ("taken at", time(made.taken_at)),
        ("bytes", made.size.to_string()),
        ("encrypted", if made.is_encrypted { "yes" } else { "no" }.to_owned()),
        ("tables", made.tables.to_string()),
        ("rows", made.rows.to_string()),
        (
            "files",
            format!(
                "{} in the archive, {} elsewhere ({})",
                objects.archived, objects.elsewhere, objects.store
            ),
        ),
        ("missing files", objects.missing.to_string()),
        ("damaged files", objects.different.to_string()),
    ])
}

/// The secret keys of a file; none without a file.
pub(super) fn identities(file: Option<&Path>) -> Result<Identities, Failure> {
    let Some(file) = file else {
        return Ok(Identities::none());
    };
    let read = Identities::of_file(file);
    read.map_err(|error| {
        Failure::new(
            Exit::Failed,
            "identity",
            format!("--identity names a file that cannot be used: {error}"),
        )
    })
}

async fn verify(settings: &Settings, file: &Path, identity: Option<&Path>, output: Output) -> Result<(), Failure> {
    let checked = Checked::read(file, identities(identity)?, &migrations::known()).await?;
    let tasks = TaskTracker::new();
    let stop = stop_signals::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    let scratch = ScratchDatabase::make(settings).await?;
    let verifying = async {
        let database = scratch.connect()?;
        let scratch = backup::Scratch {
            database: &database,
            url: scratch.url(),
        };
        let verified = backup::verify(&checked, scratch).await;
        database.close().await;
        Ok::<_, Failure>(verified?)
    };
    let verified = tokio::select! {
        verified = verifying => verified,
        () = stop.cancelled() => Err(Failure::new(Exit::Failed, "interrupted", "it was interrupted")),
    };
    scratch.remove().await;
    output.value(&verified?, verified_text)
}

fn verified_text(verified: &Verified) -> String {
    let head = fields(&[
        ("taken at", time(verified.taken_at)),
        ("made by", verified.version.clone()),
        (
            "tables",
            format!("{}, with as many rows as were backed up", verified.tables),
        ),
        ("rows", verified.rows.to_string()),
        ("rules", format!("{} hold", verified.rules)),
        (
            "files",
            format!(
                "{} in the archive, {} elsewhere",
                verified.objects.archived, verified.objects.elsewhere
            ),
        ),
        ("missing files", verified.objects.missing.to_string()),
    ]);
    format!("{head}the archive is whole and can be restored")
}
