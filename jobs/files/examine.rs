//! What a file is found to be: its bytes are fetched from the file store, a confined child looks into them, and then the scanner, if there
//! is one.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use cura_domain::file::FileReason;
use cura_inspection::{Inspected, Wanted};
use cura_providers::files::FileStoreError;
use cura_providers::scan::{Inspection, Inspector, ScanError, Scanner, Verdict};
use cura_store::scans::UnscannedFile;
use futures_util::StreamExt as _;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use crate::context::JobContext;

/// What scans files.
pub struct ScanConfig {
    /// Starts the children.
    pub inspector: Inspector,
    /// Asked after the child.
    pub scanner: Scanner,
    /// Where files lie while they are looked at, without a name.
    pub folder: PathBuf,
}

/// What a file was found to be.
pub(super) enum Examined {
    /// It can be given out.
    Clean(Box<Inspected>),
    /// This was found in it.
    Infected(String),
    /// It cannot be looked into.
    Failed(FileReason),
}

/// Nothing is known of a file, through no fault of its own. For operators; nothing of the file is in it.
pub(super) struct NotNow {
    pub(super) reason: String,
    /// Whether others can be looked at meanwhile.
    pub(super) is_about_file: bool,
    /// Whether its bytes are gone: the file store answers, and has not what it had taken.
    pub(super) is_without_bytes: bool,
}

impl NotNow {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            is_about_file: false,
            is_without_bytes: false,
        }
    }

    pub(super) fn of_file(reason: impl Into<String>) -> Self {
        Self {
            is_about_file: true,
            ..Self::new(reason)
        }
    }
}

/// Looks into a file.
pub(super) async fn examine(context: &JobContext, file: &UnscannedFile) -> Result<Examined, NotNow> {
    let scans = &context.scans;
    // Before anything is fetched: others may be waiting by the thousand.
    scans.scanner.check().await.map_err(scanner_away)?;
    let (mut content, size) = fetch(context, file).await?;
    let looking = scans
        .inspector
        .inspect(file.file_type, Wanted::Scan, &mut content, size);
    let inspected = match looking.await {
        Ok(Inspection::Inspected(inspected)) => inspected,
        Ok(Inspection::Refused(reason)) => return Ok(Examined::Failed(reason)),
        Ok(Inspection::Died(death)) => {
            tracing::warn!(file_type = file.file_type.as_str(), %death, "a file has ended the child that looked into it");
            return Ok(Examined::Failed(death.reason()));
        }
        Ok(Inspection::NoSandbox(why)) => {
            tracing::error!(%why, "files wait: this machine cannot confine the process that looks into them");
            return Err(NotNow::new("there is no sandbox"));
        }
        Err(error) => {
            tracing::warn!(%error, "a file cannot be looked into at the moment");
            return Err(NotNow::new("no child has looked into it"));
        }
    };
    let Some(clamd) = scans.scanner.as_clamd() else {
        return Ok(Examined::Clean(inspected));
    };
    content.seek(SeekFrom::Start(0)).await.map_err(disk)?;
    Ok(match clamd.scan(&mut content, size).await.map_err(not_judged)? {
        Verdict::Clean => Examined::Clean(inspected),
        Verdict::Infected { signature } => Examined::Infected(signature),
        Verdict::LimitsExceeded => Examined::Failed(FileReason::LimitsExceeded),
        Verdict::Encrypted => Examined::Failed(FileReason::Encrypted),
    })
}

/// The bytes of a file, in one without a name, and their number.
async fn fetch(context: &JobContext, file: &UnscannedFile) -> Result<(File, u64), NotNow> {
    let away = |error| {
        tracing::warn!(store = context.files.name(), %error, "a file cannot be fetched to be scanned");
        NotNow::new("the file store does not give it")
    };
    let mut opened = match context.files.open(&file.key, None).await {
        Ok(opened) if u64::try_from(file.size) == Ok(opened.size) => opened,
        Ok(_) | Err(FileStoreError::Missing) => return Err(without_bytes(context).await),
        Err(error) => return Err(away(error)),
    };
    let mut content = unnamed(context).await.map_err(disk)?;
    while let Some(piece) = opened.bytes.next().await {
        content.write_all(&piece.map_err(away)?).await.map_err(disk)?;
    }
    // What the disk says to the last of it.
    content.flush().await.map_err(disk)?;
    content.seek(SeekFrom::Start(0)).await.map_err(disk)?;
    Ok((content, opened.size))
}

/// The file store does not have a file as it was. Whether it has any is asked, too: a folder that is away for the moment has none.
async fn without_bytes(context: &JobContext) -> NotNow {
    let store = context.files.name();
    if let Err(error) = context.files.check().await {
        tracing::warn!(store, %error, "a file cannot be fetched to be scanned");
        return NotNow::new("the file store does not give it");
    }
    tracing::warn!(
        store,
        "a file that waits for its scan is not in the file store as it was"
    );
    NotNow {
        is_without_bytes: true,
        ..NotNow::of_file("the file store has not all of it")
    }
}

/// A new file without a name.
pub(super) async fn unnamed(context: &JobContext) -> io::Result<File> {
    let folder = context.scans.folder.clone();
    let making = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder));
    Ok(File::from_std(making.await.map_err(io::Error::from)??))
}

pub(super) fn disk(error: io::Error) -> NotNow {
    tracing::error!(error = %error.kind(), "a file that is scanned cannot be written to DATA_DIR");
    NotNow::new("the disk does not take it")
}

/// The scanner has just answered, and not judged this file.
fn not_judged(error: ScanError) -> NotNow {
    NotNow::of_file(scanner_away(error).reason)
}

fn scanner_away(error: ScanError) -> NotNow {
    match error {
        ScanError::TooLarge => {
            tracing::error!(%error, "files wait: the scanner does not take them");
        }
        ScanError::Source(_) | ScanError::Unavailable(_) => {
            tracing::warn!(%error, "files wait: the scanner has not judged one");
        }
    }
    NotNow::new(error.to_string())
}
