//! Exports: an archive of all data of a user, made by a job and kept for an hour.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::Clock;
use cura_queue::{EnqueueOptions, ExportAccount, JobOwner};
use cura_store::{Database, StoreError, exports};

use crate::caller::Caller;

/// How long making an archive may take. After that, the next request starts another one.
const MAKE_TIMEOUT: TimeDelta = TimeDelta::minutes(30);

/// The state of a requested archive.
#[derive(Debug, Clone)]
pub enum Export {
    /// A job is making it.
    Making,
    /// It can be downloaded.
    Ready(ReadyExport),
}

/// An archive that can be downloaded.
#[derive(Debug, Clone)]
pub struct ReadyExport {
    id: i64,
    /// Its size in bytes.
    pub size: i64,
    /// Its SHA-256 hash.
    pub sha256: Vec<u8>,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
}

/// The use cases of exports. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    database: Database,
    clock: Clock,
}

impl Exports {
    /// Puts the parts together.
    pub fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// The caller's archive; when there is none, making one is started.
    pub async fn get_or_start(&self, caller: Caller) -> Result<Export, StoreError> {
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
                if let Some(export) = exports::find_locked(connection, caller.user).await?
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
                let export_id = exports::start(connection, caller.user, now, now + MAKE_TIMEOUT).await?;
                let options = EnqueueOptions {
                    owner: Some(JobOwner::user(caller.user)),
                    ..EnqueueOptions::default()
                };
                cura_queue::enqueue_with(connection, &ExportAccount { export_id }, options).await?;
                Ok(Export::Making)
            })
            .await
    }

    /// Deletes the caller's archive, finished or not.
    pub async fn delete(&self, caller: Caller) -> Result<(), StoreError> {
        self.database
            .transaction(async |connection| exports::delete(connection, caller.user).await)
            .await
    }

    /// Part `number` of an archive, counted from 0; `None` after the last.
    pub async fn part(&self, export: &ReadyExport, number: i32) -> Result<Option<Vec<u8>>, StoreError> {
        self.database
            .connection(async |connection| exports::find_part(connection, export.id, number).await)
            .await
    }
}
