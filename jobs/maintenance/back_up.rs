//! Makes the backup of a period into `BACKUP_DIR`, and deletes those beyond the newest that are kept.
//!
//! May run twice: each run makes an archive of its own, whole or not at all, and those of a period that has two are both good. A period
//! that is over gets none.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use cura_backup::{BackupError, Recipient, Source, Target, is_archive_name, is_partial_name, name_of};
use cura_providers::Secret;
use cura_queue::{BackUp, JobError, Run, StopReason, present_period};
use cura_store::backups::{self, Made};
use cura_store::{Database, StoreError};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// After how long a backup is tried again that failed: a disk that is full, a program that is missing.
const RETRY_AFTER: Duration = Duration::from_secs(5 * 60);
/// What has not been written to for so long was left by a process that was killed.
const LEFT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// After how long a worker without a schedule looks at the job again, which is another worker's.
const NO_SCHEDULE_PAUSE: Duration = Duration::from_secs(10);
/// The longest that `BACKUP_EVERY` may be: after it, no worker has a schedule any more.
const LONGEST_PERIOD: TimeDelta = TimeDelta::days(1);

/// Which backups are made, and where they are kept.
#[derive(Clone)]
pub struct BackupSchedule {
    /// The time between two.
    pub every: Duration,
    /// The folder.
    pub folder: PathBuf,
    /// How many are kept.
    pub keep: usize,
    /// For whom they are encrypted.
    pub recipient: Option<Recipient>,
    /// The database, without limits of time.
    pub database: Database,
    /// The same, for `pg_dump`.
    pub url: Secret,
    /// The version of Cura.
    pub version: &'static str,
}

pub(crate) async fn run(context: Arc<JobContext>, job: BackUp, run: Run) -> Result<(), JobError> {
    let Some(schedule) = &context.backups else {
        return no_schedule(&context, &run);
    };
    if is_past(&context, schedule.every, job).await? {
        // Resuming a queue after days must not make as many backups, which would take the place of those that are kept.
        let reason = "its period is over";
        return match run.attempt {
            1 => Ok(()),
            _ => Err(JobError::Discard {
                reason: reason.to_owned(),
            }),
        };
    }
    let begun = Instant::now();
    let is_encrypted = schedule.recipient.is_some();
    let mut name = name_of(context.clock.now());
    if is_encrypted {
        name.push_str(".age");
    }
    let folder = schedule.folder.clone();
    // First, so that a disk which is full of them has room again.
    let swept = tokio::task::spawn_blocking(move || remove_partial(&folder)).await;
    if !matches!(swept, Ok(Ok(_))) {
        tracing::warn!("what was left of other backups cannot be removed: check BACKUP_DIR");
    }
    let source = Source {
        database: &schedule.database,
        url: schedule.url.expose_secret(),
        files: Some(&context.files),
        version: schedule.version,
    };
    let target = Target::File(schedule.folder.join(&name));
    let stop = CancellationToken::new();
    let making = cura_backup::make(source, target, schedule.recipient.clone(), &stop);
    let mut making = std::pin::pin!(making);
    let made = tokio::select! {
        made = &mut making => made,
        reason = run.cancelled() => {
            stop.cancel();
            // It removes what it has written, unless it was whole just then.
            match making.await {
                Err(_) => return stopped(reason),
                made => made,
            }
        }
    };
    let (manifest, size) = made.map_err(retry)?;
    let row = Made {
        taken_at: manifest.taken_at,
        finished_at: context.clock.now_micros(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        is_encrypted,
        is_scheduled: true,
    };
    let recorded = context
        .database
        .transaction(async |connection| backups::insert(connection, &row).await);
    if let Err(error) = recorded.await {
        // The archive is whole all the same: another one would be no better.
        tracing::error!(%error, size, "a backup was made, and could not be recorded");
    }
    let (folder, keep) = (schedule.folder.clone(), schedule.keep);
    let removed = tokio::task::spawn_blocking(move || remove_old(&folder, &name, keep)).await;
    if manifest.objects.missing + manifest.objects.different > 0 {
        tracing::warn!(
            missing = manifest.objects.missing,
            different = manifest.objects.different,
            "the file store lacks files that the database names, or has others: see `cura-admin files list`"
        );
    }
    match removed {
        Ok(Ok(removed)) => tracing::info!(size, seconds = begun.elapsed().as_secs(), removed, "a backup was made"),
        _ => tracing::error!(
            size,
            "a backup was made, and old ones cannot be removed: check BACKUP_DIR"
        ),
    }
    Ok(())
}

/// Leaves the job to a worker that has a schedule; nobody may have one any more.
fn no_schedule(context: &JobContext, run: &Run) -> Result<(), JobError> {
    if run.made_at().is_none_or(|at| context.clock.now() - at > LONGEST_PERIOD) {
        return Ok(());
    }
    Err(JobError::Snooze {
        after: NO_SCHEDULE_PAUSE,
        reason: "BACKUP_EVERY is not set for this worker".to_owned(),
    })
}

/// Whether the period of a job has ended.
async fn is_past(context: &JobContext, every: Duration, job: BackUp) -> Result<bool, JobError> {
    let present = context
        .database
        .connection(async |connection| Ok::<_, StoreError>(present_period(connection, every).await?));
    Ok(job.period < present.await.map_err(snooze_if_unavailable)?)
}

fn stopped(reason: StopReason) -> Result<(), JobError> {
    match reason {
        StopReason::Cancelled => Ok(()),
        StopReason::Draining | StopReason::Release => Err(JobError::Release),
        StopReason::Lost => Err(JobError::Retry {
            after: None,
            reason: "another worker has this job".to_owned(),
        }),
    }
}

fn retry(error: BackupError) -> JobError {
    match error {
        BackupError::Store(error @ StoreError::Unavailable(_)) => snooze_if_unavailable(error),
        error => JobError::Retry {
            after: Some(RETRY_AFTER),
            reason: format!("no backup was made: {error}"),
        },
    }
}

/// Removes what was left of archives by processes that were killed; gives how many. Blocks.
fn remove_partial(folder: &Path) -> std::io::Result<usize> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_partial_name(&name.to_string_lossy()) {
            continue;
        }
        // Another worker may remove it, too.
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        if written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > LEFT_AFTER)) {
            left.push(name);
        }
    }
    remove(folder, &left)
}

/// Removes all but the newest archives of a folder, and never the one that was just made; gives how many. Other files stay. Blocks.
fn remove_old(folder: &Path, made: &str, keep: usize) -> std::io::Result<usize> {
    let mut archives: Vec<OsString> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if is_archive_name(&text) && text != made {
            archives.push(name);
        }
    }
    // By age, because their names begin with the time.
    archives.sort_unstable();
    archives.truncate((archives.len() + 1).saturating_sub(keep));
    remove(folder, &archives)
}

fn remove(folder: &Path, names: &[OsString]) -> std::io::Result<usize> {
    for name in names {
        match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_other_files_too() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "cura-20261129T000000Z.tar",
            "cura-20261130T000000Z.tar",
            "cura-20261130T060000Z.tar.age",
            "notes.txt",
            "cura-old.tar",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let made = "cura-20261130T060000Z.tar.age";
        assert_eq!(remove_old(folder.path(), made, 2).unwrap(), 1);
        assert!(!folder.path().join("cura-20261129T000000Z.tar").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
        assert_eq!(remove_old(folder.path(), made, 2).unwrap(), 0);
        // A clock that was once ahead does not make it the oldest.
        assert_eq!(remove_old(folder.path(), "cura-20261130T000000Z.tar", 1).unwrap(), 1);
        assert!(folder.path().join("cura-20261130T000000Z.tar").exists());
    }
}
