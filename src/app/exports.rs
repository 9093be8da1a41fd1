//! Exports: an archive of all data of a user, made by a job and kept in the file store for an hour.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::Clock;
use cura_domain::object_key::ObjectKey;
use cura_providers::files::{FileStore, FileStoreError, OpenedFile};
use cura_queue::{DeleteObjects, EnqueueOptions, ExportAccount, JobOwner};
use cura_store::{Database, PgConnection, StoreError, exports, users};
use futures_util::{StreamExt as _, stream};
use thiserror::Error;
use tokio::time::Instant;

use crate::caller::Caller;

/// How long making an archive may take. After that, the next request starts another one.
const MAKE_TIMEOUT: TimeDelta = TimeDelta::hours(1);

/// After how many bytes a download asks whether its archive is still there, and after how long.
const ASK_AFTER_BYTES: usize = 4 * 1024 * 1024;
const ASK_AFTER: Duration = Duration::from_secs(2);

/// The state of a requested archive.
pub enum Export {
    /// A job is making it.
    Making,
    /// It can be downloaded.
    Ready(ReadyExport),
}

/// An archive that can be downloaded.
pub struct ReadyExport {
    /// Its bytes, as the file store gives them: all of them, or an error, also once it is deleted.
    pub content: OpenedFile,
    /// Its SHA-256 hash.
    pub sha256: Vec<u8>,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
}

/// Why there is no archive.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The file store does not give it, or takes none.
    #[error("the file store is not available")]
    FileStoreUnavailable,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An archive that the file store is said to have.
struct Kept {
    key: ObjectKey,
    size: i64,
    sha256: Vec<u8>,
    created_at: DateTime<Utc>,
}

/// What there is of an archive.
enum Found {
    /// A job is making it.
    Making,
    /// The file store takes none.
    Refused,
    /// The file store is said to have it.
    Kept(Kept),
}

/// The use cases of exports. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    database: Database,
    clock: Clock,
    store: FileStore,
}

impl Exports {
    /// Puts the parts together.
    pub fn new(database: Database, clock: Clock, store: FileStore) -> Self {
        Self { database, clock, store }
    }

    /// The caller's archive; when there is none, making one is started.
    ///
    /// # Errors
    /// [`ExportError`]
    pub async fn get_or_start(&self, caller: Caller) -> Result<Export, ExportError> {
        let found = self
            .database
            .transaction(async |connection| self.find_or_start(connection, caller).await);
        let kept = match found.await? {
            Found::Making => return Ok(Export::Making),
            Found::Refused => return Err(ExportError::FileStoreUnavailable),
            Found::Kept(kept) => kept,
        };
        let content = match self.store.open(&kept.key, None).await {
            Ok(opened) if u64::try_from(kept.size) == Ok(opened.size) => opened,
            Ok(_) | Err(FileStoreError::Missing) => return self.start_in_place_of(caller, &kept.key).await,
            Err(error) => {
                tracing::warn!(store = self.store.name(), %error, "the file store does not give an archive");
                return Err(ExportError::FileStoreUnavailable);
            }
        };
        Ok(Export::Ready(ReadyExport {
            content: self.until_deleted(content, kept.key),
            sha256: kept.sha256,
            created_at: kept.created_at,
        }))
    }

    /// The bytes of an archive, as long as it is not deleted: whoever deletes it, or something that is in it, ends a download that has begun.
    fn until_deleted(&self, content: OpenedFile, key: ObjectKey) -> OpenedFile {
        let database = self.database.clone();
        let begun = (content.bytes, Instant::now(), 0);
        let bytes = stream::unfold(Some(begun), move |download| {
            let (database, key) = (database.clone(), key.clone());
            async move {
                let (mut pieces, mut asked_at, mut unasked) = download?;
                if unasked >= ASK_AFTER_BYTES || asked_at.elapsed() >= ASK_AFTER {
                    let kept = database.connection(async |connection| exports::is_kept(connection, &key).await);
                    if !kept.await.unwrap_or(false) {
                        return Some((Err(FileStoreError::Missing), None));
                    }
                    (asked_at, unasked) = (Instant::now(), 0);
                }
                let piece = pieces.next().await?;
                unasked += piece.as_ref().map_or(0, |piece| piece.len());
                let rest = piece.is_ok().then_some((pieces, asked_at, unasked));
                Some((piece, rest))
            }
        });
        OpenedFile {
            size: content.size,
            bytes: bytes.boxed(),
        }
    }

    async fn find_or_start(&self, connection: &mut PgConnection, caller: Caller) -> Result<Found, StoreError> {
        let now = self.clock.now_micros();
        if let Some(export) = exports::find_locked(connection, caller.user).await?
            && export.expires_at > now
        {
            return Ok(match export.ready {
                Some(archive) => Found::Kept(Kept {
                    key: archive.key,
                    size: archive.size,
                    sha256: archive.sha256,
                    created_at: export.created_at,
                }),
                None if export.is_refused => Found::Refused,
                None => Found::Making,
            });
        }
        let export_id = exports::start(connection, caller.user, now, now + MAKE_TIMEOUT).await?;
        let options = EnqueueOptions {
            owner: Some(JobOwner::user(caller.user)),
            ..EnqueueOptions::default()
        };
        cura_queue::enqueue_with(connection, &ExportAccount { export_id }, options).await?;
        Ok(Found::Making)
    }

    /// Starts another archive, because the file store does not have this one.
    async fn start_in_place_of(&self, caller: Caller, lost: &ObjectKey) -> Result<Export, ExportError> {
        tracing::warn!(
            store = self.store.name(),
            "an archive is not in the file store as it was; it is made again"
        );
        let started = self.database.transaction(async |connection| {
            // Before the archive, in the order of locks.
            users::hold_alone(connection, caller.user).await?;
            exports::delete_lost(connection, caller.user, lost).await?;
            // By whoever was first.
            self.find_or_start(connection, caller).await
        });
        started.await?;
        Ok(Export::Making)
    }

    /// Deletes the caller's archive, finished or not; a job deletes its bytes.
    pub async fn delete(&self, caller: Caller) -> Result<(), StoreError> {
        let now = self.clock.now_micros();
        let deleted = self.database.transaction(async |connection| {
            exports::delete(connection, caller.user).await?;
            cura_queue::enqueue(connection, &DeleteObjects::of_export(now.timestamp_micros())).await?;
            Ok(())
        });
        deleted.await
    }
}
