//! Makes the archive of everything a user has: a file of JSON lines for each table that is exported, and a manifest with
//! their checksums.
//!
//! May run twice, even at once: the archive is written by whoever finishes first, in one transaction, and only while it
//! is wanted.

use std::io::{Read, Seek, SeekFrom};

use chrono::TimeDelta;
use cura_domain::UserId;
use cura_domain::event::Event;
use cura_domain::export::Archive;
use cura_live::Signal;
use cura_queue::{ExportAccount, JobError};
use cura_store::personal_data::{self, Export, TABLES};
use cura_store::{StoreError, events, exports, with_deadline};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::archive::{self, Finished, Piece};
use crate::{Parts, not_begun, store_error};

/// How long an archive can be fetched.
const KEEP: TimeDelta = TimeDelta::hours(1);
/// Lines read at once.
const PAGE: i64 = 500;
/// Bytes of a stored piece.
const PART_BYTES: usize = 256 * 1024;

pub(crate) async fn run(parts: &Parts, job: ExportAccount) -> Result<(), JobError> {
    let id = job.export_id;
    let wanted = with_deadline(async { exports::find_wanted(&mut *parts.database.pool().acquire().await?, id).await });
    let Some(user) = wanted.await.map_err(not_begun)? else {
        tracing::info!(
            export_id = id,
            "nothing to export: it is made, or nobody wants it any more"
        );
        return Ok(());
    };
    let failed = |reason: String| JobError::Retry { after: None, reason };
    let (pieces, received) = mpsc::channel(4);
    let about = json!({ "user_id": user.0, "created_at": parts.clock.now() });
    // Compressing is no work for an async thread.
    let packing = tokio::task::spawn_blocking(move || archive::pack(received, about));
    let read = read_all(parts, user, pieces).await;
    let packed = packing.await.map_err(|error| failed(error.to_string()))?;
    read.map_err(store_error)?;
    let archive = packed.map_err(|error| failed(format!("the archive cannot be written: {error}")))?;
    store(parts, id, user, archive).await
}

/// Reads every exported table as it was at one moment, and hands the lines on.
async fn read_all(parts: &Parts, user: UserId, pieces: mpsc::Sender<Piece>) -> Result<(), StoreError> {
    let mut transaction = parts.database.pool().begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *transaction)
        .await?;
    for table in TABLES {
        let Export::File { name, sql } = table.export else {
            continue;
        };
        if pieces.send(Piece::File(name)).await.is_err() {
            // The packer failed, and says why itself.
            return Ok(());
        }
        let mut after = 0;
        loop {
            let lines = with_deadline(personal_data::lines(&mut transaction, sql, user, after, PAGE)).await?;
            let Some((last, _)) = lines.last() else {
                break;
            };
            after = *last;
            let lines = lines.into_iter().map(|(_, line)| line).collect();
            if pieces.send(Piece::Lines(lines)).await.is_err() {
                return Ok(());
            }
        }
    }
    transaction.rollback().await?;
    Ok(())
}

async fn store(parts: &Parts, id: i64, user: UserId, mut archive: Finished) -> Result<(), JobError> {
    let unreadable = |error: std::io::Error| JobError::Retry {
        after: None,
        reason: format!("the archive cannot be read: {error}"),
    };
    archive.file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut transaction = parts
        .database
        .pool()
        .begin()
        .await
        .map_err(|error| store_error(error.into()))?;
    if !with_deadline(exports::lock_wanted(&mut transaction, id))
        .await
        .map_err(store_error)?
    {
        tracing::info!(
            export_id = id,
            "somebody else was faster, or nobody wants the archive any more"
        );
        return Ok(());
    }
    let (mut hash, mut size) = (Sha256::new(), 0_i64);
    for number in 0.. {
        let mut bytes = Vec::with_capacity(PART_BYTES);
        let read = (&mut archive.file)
            .take(PART_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hash.update(&bytes);
        size += i64::try_from(read).unwrap_or(i64::MAX);
        with_deadline(exports::insert_part(&mut transaction, id, number, &bytes))
            .await
            .map_err(store_error)?;
    }
    let now = parts.clock.now();
    let expires_at = now + KEEP;
    let made = Archive {
        size,
        sha256: hash.finalize().to_vec(),
    };
    let finish = with_deadline(async {
        exports::finish(&mut transaction, id, &made, expires_at).await?;
        let payload = json!({ "status": "ready", "size": size, "expires_at": expires_at });
        let seq = events::append(&mut transaction, user, &[Event::Export(payload)], now).await?;
        transaction.commit().await?;
        Ok(seq)
    });
    let seq = finish.await.map_err(store_error)?;
    // Connections that miss this find out at their next look at the log.
    let _ = parts.live.publish_to_user(user, Signal::Logged(seq)).await;
    Ok(())
}
