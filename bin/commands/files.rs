//! `cura-admin files`: which files there are, what is known of one, scanning again and deleting. Never a name, nor what is in a file.

mod text;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use cura_app::operate::OperateError as _;
use cura_app::operate::files::{FailedFiles, FileFilter, Files as UseCases, Interrupted, OperateFilesError, Rescanned};
use cura_domain::FileId;
use cura_domain::file::{FileReason, FileStatus};

use super::arguments::{MomentArgument, UserArgument};
use super::failure::{Exit, Failure};
use super::operating;
use super::output::{GlobalArguments, Output, PageArguments};
use crate::settings::Settings;
use crate::wiring;

/// What to do with the files that people have uploaded.
#[derive(Debug, Subcommand)]
pub enum Files {
    /// List files, newest first.
    List {
        /// Only those of this user: an id, or an e-mail address.
        #[arg(long, value_name = "ID|EMAIL")]
        user: Option<UserArgument>,
        /// Only those of this status.
        #[arg(long)]
        status: Option<Status>,
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
    /// Show a file: what was found in it and made of it, where it is attached, and whether its bytes are kept.
    Show {
        /// The id of the file.
        id: i64,
    },
    /// Have files scanned again.
    ///
    /// Nobody can download them until their scans have ended. A file that waits for its scan gets a job if it has none. One that
    /// is infected cannot be scanned again: its bytes are deleted. Nor can one whose bytes are not in the file store.
    Rescan {
        /// The ids of the files.
        #[arg(required_unless_present = "status", conflicts_with = "status", num_args = 1..=1000)]
        ids: Vec<i64>,
        /// All of this status instead.
        #[arg(long)]
        status: Option<Rescannable>,
        /// Of those, only the ones that failed for this reason.
        #[arg(long, requires = "status", conflicts_with = "ids")]
        reason: Option<Reason>,
        /// Of those, only the ones that have failed since then: a moment (RFC 3339) or a day.
        #[arg(long, requires = "status", conflicts_with = "ids", value_name = "MOMENT")]
        since: Option<MomentArgument>,
    },
    /// Delete a file, as its person can.
    ///
    /// It is gone at once, from its messages, too, and from the export of its person; a job deletes its bytes.
    Delete {
        /// The id of the file.
        id: i64,
    },
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Status {
    /// On its way into the file store.
    Storing,
    /// Waiting for its scan.
    Scanning,
    /// Given out to its person.
    Clean,
    /// Deleted but for its row.
    Infected,
    /// Kept, and given out to nobody.
    Failed,
}

/// What is scanned again without being named.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Rescannable {
    /// What could not be scanned.
    Failed,
}

/// Why a file could not be scanned.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Reason {
    /// Unpacking it would take more than is allowed.
    LimitsExceeded,
    /// It has a password.
    Encrypted,
    /// It is not what it says it is, or is broken.
    Unreadable,
    /// The scanner was away for a day.
    ScannerUnavailable,
}

impl From<Status> for FileStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Storing => Self::Storing,
            Status::Scanning => Self::Scanning,
            Status::Clean => Self::Clean,
            Status::Infected => Self::Infected,
            Status::Failed => Self::Failed,
        }
    }
}

impl From<Reason> for FileReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::LimitsExceeded => Self::LimitsExceeded,
            Reason::Encrypted => Self::Encrypted,
            Reason::Unreadable => Self::Unreadable,
            Reason::ScannerUnavailable => Self::ScannerUnavailable,
        }
    }
}

impl From<OperateFilesError> for Failure {
    fn from(error: OperateFilesError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            OperateFilesError::NoSuchUser | OperateFilesError::NotFound(_) => Self::new(Exit::NotFound, code, text),
            OperateFilesError::Storing(_) => Self::new(Exit::No, code, text)
                .cure("run the command again in a moment; what is not stored within minutes is deleted by itself"),
            OperateFilesError::Infected(_) => Self::new(Exit::No, code, text)
                .cure("if the scanner was wrong, correct that, and have its person upload it again"),
            OperateFilesError::WithoutBytes(_) => Self::new(Exit::No, code, text)
                .cure("bring them back from a backup of the file store, or delete the file: its person has to upload it again"),
            OperateFilesError::Store(error) => error.into(),
        }
    }
}

/// Runs the command; gives the exit code.
pub fn start(command: Files, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| {
        let store = match command {
            Files::Show { .. } | Files::Rescan { .. } => store_to_look_at(&operating.settings),
            // Nothing else asks the file store.
            Files::List { .. } | Files::Delete { .. } => None,
        };
        let live = operating.live()?;
        let files = UseCases::new(operating.acts, live, store);
        run(&files, command, operating.output).await
    })
}

/// The file store, to ask what it has. It may be away, or not be usable from here: then nothing is known of it, and all else is done.
fn store_to_look_at(settings: &Settings) -> Option<cura_providers::files::FileStore> {
    wiring::file_store_if_there(settings).unwrap_or_else(|error| {
        tracing::warn!(%error, "the file store cannot be asked");
        None
    })
}

async fn run(files: &UseCases, command: Files, output: Output) -> Result<(), Failure> {
    match command {
        Files::List { user, status, page } => {
            let filter = FileFilter {
                user: user.map(UserArgument::into_user),
                status: status.map(FileStatus::from),
                before: page.after()?.map(FileId),
            };
            let listed = files.list(&filter, page.limit).await?;
            output.page(listed, |file| file.id.0, text::list)
        }
        Files::Show { id } => output.value(&files.show(FileId(id)).await?, text::details),
        Files::Rescan {
            status: Some(Rescannable::Failed),
            reason,
            since,
            ..
        } => {
            let which = FailedFiles {
                reason: reason.map(FileReason::from),
                since: since.map_or(chrono::DateTime::UNIX_EPOCH, |since| since.0),
            };
            match files.rescan_failed(which).await {
                Ok(rescanned) => output.value(&rescanned, text::rescanned),
                Err(Interrupted { rescanned, error }) => {
                    // They stay begun.
                    output.value(&rescanned, text::rescanned)?;
                    Err(error.into())
                }
            }
        }
        Files::Rescan { ids, status: None, .. } => rescan(files, ids, output).await,
        Files::Delete { id } => {
            output.confirm(&format!("this deletes file {id} and its bytes, also from its messages"))?;
            files.delete(FileId(id)).await?;
            output.value(&serde_json::json!({ "deleted": id }), |_| {
                format!("file {id} is deleted")
            })
        }
    }
}

/// Has each of these files scanned again. One that cannot be does not keep the others from it; the first of them is what the command
/// fails for.
async fn rescan(files: &UseCases, ids: Vec<i64>, output: Output) -> Result<(), Failure> {
    let (mut rescanned, mut refused) = (Rescanned::default(), None);
    for id in ids {
        match files.rescan(FileId(id)).await {
            Ok(rescan) => rescanned.count(rescan),
            Err(error @ OperateFilesError::Store(_)) => {
                refused = Some(Failure::from(error));
                break;
            }
            Err(error) => {
                let failure = Failure::from(error);
                refused = Some(match refused.take() {
                    None => failure,
                    Some(first) => first.and(&failure),
                });
            }
        }
    }
    if rescanned != Rescanned::default() || refused.is_none() {
        output.value(&rescanned, text::rescanned)?;
    }
    refused.map_or(Ok(()), Err)
}
