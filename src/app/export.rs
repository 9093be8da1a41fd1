//! Exports: everything of a person in one archive, made by a job and kept for an hour.

use chrono::{DateTime, TimeDelta, Utc};
use cura_queue::ExportAccount;
use cura_store::{StoreError, exports};

use crate::{App, Caller, stamp};

/// How long an archive may take; then it is begun anew.
const MAKING: TimeDelta = TimeDelta::minutes(30);

/// An archive somebody asked for.
#[derive(Debug, Clone)]
pub enum Export {
    /// It is being made.
    Making,
    /// It is ready.
    Ready(ReadyExport),
}

/// An archive that can be fetched.
#[derive(Debug, Clone)]
pub struct ReadyExport {
    id: i64,
    /// Its bytes.
    pub size: i64,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

impl App {
    /// The caller's archive; when there is none, it is begun.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn export(&self, caller: Caller) -> Result<Export, StoreError> {
        let now = stamp(&self.0.clock);
        self.write(async |connection| {
            if let Some(export) = exports::find_and_lock(connection, caller.user).await?
                && export.expires_at > now
            {
                return Ok(match export.ready {
                    None => Export::Making,
                    Some(archive) => Export::Ready(ReadyExport {
                        id: export.id,
                        size: archive.size,
                        sha256: archive.sha256,
                        created_at: export.created_at,
                    }),
                });
            }
            let export_id = exports::begin(connection, caller.user, now, now + MAKING).await?;
            cura_queue::enqueue(connection, &ExportAccount { export_id })
                .await
                .map_err(StoreError::from)?;
            Ok(Export::Making)
        })
        .await
    }

    /// Throws the caller's archive away; the next one holds what there is then.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_export(&self, caller: Caller) -> Result<(), StoreError> {
        self.read(async |connection| exports::forget(connection, caller.user).await)
            .await
    }

    /// Piece `number` of an archive, from 0; `None` after the last.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn export_part(&self, export: &ReadyExport, number: i32) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(async |connection| exports::find_part(connection, export.id, number).await)
            .await
    }
}
