//! Packs everything a user has into an archive: a file of JSON lines for each exported table, and a manifest.
//!
//! May run twice, even at once: the first run to finish stores its archive in one transaction, if the export is still
//! wanted; a later one stores nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::pin;
use std::sync::Arc;

use chrono::TimeDelta;
use cura_domain::UserId;
use cura_domain::event::Event;
use cura_domain::export::{Archive, ReadyExport};
use cura_queue::{ExportAccount, JobError, Run};
use cura_store::personal_data::{self, Export, TABLES};
use cura_store::{PgConnection, StoreError, events, exports, owners, users, with_deadline};
use futures_util::TryStreamExt as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::archive::{self, ArchivePart};
use crate::context::JobContext;
use crate::errors::{retry_on_store_error, snooze_if_unavailable};
use crate::words::unless_stopped;

/// How long an archive is kept.
const TTL: TimeDelta = TimeDelta::hours(1);
/// How many bytes of lines are handed to the packer at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// How many bytes of an archive are stored in one row.
const PART_BYTES: usize = 256 * 1024;

/// Why an export failed.
enum ExportError {
    Store(StoreError),
    File(io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<ExportError> for JobError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => retry_on_store_error(error),
            ExportError::File(error) => Self::Retry {
                after: None,
                reason: format!("the archive's file failed: {error}"),
            },
        }
    }
}

pub(crate) async fn run(context: Arc<JobContext>, job: ExportAccount, run: Run) -> Result<(), JobError> {
    let exported = unless_stopped(&run, export(&context, job.export_id));
    exported.await.map(|_| ())
}

async fn export(context: &JobContext, id: i64) -> Result<(), JobError> {
    let wanted = context
        .database
        .connection(async |connection| exports::find_pending(connection, id).await);
    let Some(user) = wanted.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(export_id = id, "nothing to export: it is ready, or no longer wanted");
        return Ok(());
    };
    let file = pack(context, user).await?;
    let Some(seq) = store(context, id, user, file).await? else {
        tracing::info!(
            export_id = id,
            "archive discarded: another run was faster, or it is no longer wanted"
        );
        return Ok(());
    };
    context.live.publish_event(user, seq).await;
    Ok(())
}

async fn pack(context: &JobContext, user: UserId) -> Result<File, ExportError> {
    let (sender, receiver) = mpsc::channel(4);
    let about = json!({ "user_id": user.0, "created_at": context.clock.now() });
    // Compressing would block an async thread.
    let packing = tokio::task::spawn_blocking(move || archive::pack(receiver, about));
    let read = read_tables(context, user, sender).await;
    let packed = packing.await.map_err(io::Error::other)?;
    read?;
    Ok(packed?)
}

/// Reads every exported table as it was at one moment, and sends its lines.
async fn read_tables(context: &JobContext, user: UserId, parts: mpsc::Sender<ArchivePart>) -> Result<(), StoreError> {
    context
        .database
        .snapshot(async |connection| {
            let owner = with_deadline(owners::find_account(connection, user)).await?;
            let owner = owner.ok_or(StoreError::UserGone)?;
            for table in TABLES {
                let Export::File { name, sql } = table.export else {
                    continue;
                };
                if parts.send(ArchivePart::File(name)).await.is_err() {
                    // The packer has failed, and returns why.
                    return Ok(());
                }
                with_deadline(personal_data::open_lines(connection, sql, &owner)).await?;
                while with_deadline(send_next_lines(connection, &parts)).await? {}
                with_deadline(personal_data::close_lines(connection)).await?;
            }
            Ok(())
        })
        .await
}

/// Sends the next lines in chunks, so that no more than a chunk and a line is held; `false` after the last.
async fn send_next_lines(connection: &mut PgConnection, parts: &mpsc::Sender<ArchivePart>) -> Result<bool, StoreError> {
    let mut lines = pin!(personal_data::next_lines(connection));
    let (mut chunk, mut bytes, mut any) = (Vec::new(), 0, false);
    while let Some(line) = lines.try_next().await? {
        any = true;
        bytes += line.len();
        chunk.push(line);
        if bytes >= CHUNK_BYTES {
            bytes = 0;
            if parts
                .send(ArchivePart::Lines(std::mem::take(&mut chunk)))
                .await
                .is_err()
            {
                // The packer has failed, and returns why.
                return Ok(false);
            }
        }
    }
    Ok(any && parts.send(ArchivePart::Lines(chunk)).await.is_ok())
}

/// Stores the archive and appends its event; `None` if the export is no longer wanted, or another run has stored it.
async fn store(context: &JobContext, id: i64, user: UserId, mut file: File) -> Result<Option<i64>, ExportError> {
    file.seek(SeekFrom::Start(0))?;
    context
        .database
        .long_transaction(async |connection| {
            if !with_deadline(exports::lock_pending(connection, id)).await? {
                return Ok(None);
            }
            let archive = store_parts(connection, id, &mut file).await?;
            let now = context.clock.now();
            let expires_at = now + TTL;
            let ready = Event::Export(ReadyExport {
                size: archive.size,
                expires_at,
            });
            let finished = with_deadline(async {
                // Last, so that an erasure waits for this statement and not for the whole archive.
                if users::hold(connection, user).await?.is_none() {
                    return Err(StoreError::UserGone);
                }
                exports::finish(connection, id, &archive, expires_at).await?;
                events::append(connection, user, &[ready], now).await
            });
            Ok(Some(finished.await?))
        })
        .await
}

async fn store_parts(connection: &mut PgConnection, id: i64, file: &mut File) -> Result<Archive, ExportError> {
    let (mut hash, mut size) = (Sha256::new(), 0_i64);
    for number in 0.. {
        let mut bytes = Vec::with_capacity(PART_BYTES);
        let read = file.take(PART_BYTES as u64).read_to_end(&mut bytes)?;
        if read == 0 {
            break;
        }
        hash.update(&bytes);
        size += i64::try_from(read).unwrap_or(i64::MAX);
        with_deadline(exports::insert_part(connection, id, number, &bytes)).await?;
    }
    Ok(Archive {
        size,
        sha256: hash.finalize().to_vec(),
    })
}
