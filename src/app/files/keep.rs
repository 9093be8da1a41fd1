//! Keeping an upload: a row, the bytes, and then, in one transaction, all that makes it the person's.
//!
//! The row names the object before it exists, and is shown to nobody until the file store has it. Whoever dies in between leaves a row
//! that the job `prune-expired` deletes, and deleting a row lists its object for deletion.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cura_domain::FileId;
use cura_domain::event::Event;
use cura_domain::file::{MAX_FILES_OF_A_MESSAGE, MIN_COUNTED_BYTES};
use cura_domain::file_name::FileName;
use cura_domain::file_type::FileType;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::object_key::ObjectKey;
use cura_providers::files::FileStoreError;
use cura_providers::scan;
use cura_queue::{EnqueueOptions, JobOwner, ScanUpload};
use cura_store::files::NewFile;
use cura_store::idempotency::UploadKeyUse;
use cura_store::resumable_uploads::{self, Claim};
use cura_store::{PgConnection, StoreError, events, files, idempotency, object_deletions};
use tokio_util::task::TaskTracker;

use super::Files;
use super::upload::{NewUpload, UploadError, Uploaded};
use crate::caller::Caller;
use crate::chat::KEY_LIFETIME;
use crate::still_signed_in;

/// How long the file store may go on with an upload that it has failed: putting one takes ten minutes at most.
pub(super) const STILL_PUTTING: Duration = Duration::from_secs(15 * 60);

/// What was found before an upload is kept.
enum Checked {
    /// It can be.
    Fine,
    /// Its key was used before.
    KeyUsed(UploadKeyUse),
}

/// What became of an upload whose bytes are stored.
enum Ended {
    /// It is the person's; with the number of its event.
    Kept(Uploaded, i64),
    /// Its key was used meanwhile, and its row is deleted.
    KeyUsed(UploadKeyUse),
    /// It is refused after all, and its row is deleted.
    Refused(UploadError),
}

impl Files {
    /// Keeps an upload, whose bytes are in `content`. If an earlier request with the same key has done so, nothing is kept, and what that
    /// one kept is returned. Goes on when its caller does not wait for it any more, and drops `place` at its end.
    ///
    /// # Errors
    /// [`UploadError`]; then nothing is kept.
    pub async fn upload(
        &self,
        caller: Caller,
        content: File,
        upload: NewUpload,
        place: impl Send + 'static,
    ) -> Result<Uploaded, UploadError> {
        let files = self.clone();
        // In a task: a client that leaves now finds its file when it comes back with its key.
        let task = TaskTracker::new().spawn(async move {
            let kept = files.keep(caller, content, upload, None).await;
            drop(place);
            kept
        });
        task.await.map_err(|_| UploadError::Panicked)?
    }

    /// [`Self::upload`] in the task; of an upload that arrived in parts, with the claim to it: then the file has its id.
    pub(super) async fn keep(
        &self,
        caller: Caller,
        content: File,
        upload: NewUpload,
        claim: Option<&Claim>,
    ) -> Result<Uploaded, UploadError> {
        let hash = upload.hash();
        // Before anything else: arriving may have taken minutes.
        let checked = self
            .database
            .transaction(async |connection| self.check(connection, caller, &upload, claim).await);
        if let Checked::KeyUsed(first) = checked.await? {
            return self.replay(caller, &hash, &first).await;
        }
        let (content, file_type) = self.detect(content, upload.size).await?;
        let key = ObjectKey::new(caller.user, self.entropy.bytes(), file_type.extension()).map_err(io::Error::other)?;
        let begun = self
            .database
            .transaction(async |connection| self.begin(connection, caller, &upload, file_type, &key, claim).await);
        let id = match begun.await? {
            Ok(id) => id,
            Err(first) => return self.replay(caller, &hash, &first).await,
        };
        let ended = match self.put(&key, content, upload.size, file_type.media_type()).await {
            Ok(()) => {
                self.database
                    .transaction(async |connection| self.finish(connection, caller, &upload, id, &key, claim).await)
                    .await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(Ended::Kept(uploaded, seq)) => {
                self.live.publish_event(caller.user, seq).await;
                Ok(uploaded)
            }
            Ok(Ended::KeyUsed(first)) => self.replay(caller, &hash, &first).await,
            Ok(Ended::Refused(error)) => Err(error),
            Err(error) => {
                // What arrived in parts is still there, and counts already.
                let counted = if claim.is_some() { 0 } else { upload.size };
                self.forget(caller, id, &key, counted).await;
                Err(error)
            }
        }
    }

    /// Inserts the row of an upload, if it may be kept; else the first use of its key.
    async fn begin(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        upload: &NewUpload,
        file_type: FileType,
        key: &ObjectKey,
        claim: Option<&Claim>,
    ) -> Result<Result<FileId, UploadKeyUse>, UploadError> {
        if let Checked::KeyUsed(first) = self.check(connection, caller, upload, claim).await? {
            return Ok(Err(first));
        }
        let size = signed(upload.size);
        if let Some(claim) = claim {
            // Its room is taken since its beginning. An earlier try may have died here.
            files::delete_unstored(connection, claim.id, None).await?;
        } else if let Some(most) = self.max_kept_bytes {
            let kept = files::kept_bytes(connection, caller.user).await?;
            if kept.saturating_add(size.max(MIN_COUNTED_BYTES)) > most {
                // A repetition of a request that is under way must not be told that there is no room for its file.
                let is_under_way = files::is_being_stored(connection, caller.user, &upload.sha256).await?;
                return Err(if is_under_way {
                    UploadError::FileStoreUnavailable
                } else {
                    UploadError::QuotaExceeded
                });
            }
        }
        let name = FileName::new(&upload.raw_name, file_type);
        let new = NewFile {
            id: claim.map(|claim| claim.id),
            user: caller.user,
            key,
            name: name.as_str(),
            file_type,
            size,
            sha256: &upload.sha256,
        };
        Ok(Ok(files::insert(connection, new, self.clock.now_micros()).await?))
    }

    pub(super) async fn put(
        &self,
        key: &ObjectKey,
        content: File,
        size: u64,
        media_type: &str,
    ) -> Result<(), UploadError> {
        let put = self.store.put(key, content, size, media_type).await;
        put.map_err(|error| {
            let store = self.store.name();
            if matches!(error, FileStoreError::Refused(_)) {
                tracing::error!(store, %error, "the file store refuses an upload: check STORAGE_PROVIDER and what belongs to it");
            } else {
                tracing::warn!(store, %error, "the file store did not take an upload");
            }
            UploadError::FileStoreUnavailable
        })
    }

    /// Makes an upload the person's whose bytes are stored. What is not kept is deleted by the same transaction, which commits.
    async fn finish(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        upload: &NewUpload,
        id: FileId,
        key: &ObjectKey,
        claim: Option<&Claim>,
    ) -> Result<Ended, UploadError> {
        let now = self.clock.now_micros();
        // Everything may have changed while the bytes were stored.
        let checked = self.check(connection, caller, upload, claim).await;
        if let Err(UploadError::Store(error)) = checked {
            return Err(error.into());
        }
        if !files::mark_stored(connection, id, key, now).await? {
            // So long that it was taken for abandoned, or its person is erased. What was listed then may have been deleted before it was
            // there.
            object_deletions::list_unnamed(connection, caller.user, key, signed(upload.size), Duration::ZERO).await?;
            return Ok(Ended::Refused(
                checked.err().unwrap_or(UploadError::FileStoreUnavailable),
            ));
        }
        match checked {
            Ok(Checked::Fine) => {}
            Ok(Checked::KeyUsed(first)) => {
                files::delete(connection, id).await?;
                return Ok(Ended::KeyUsed(first));
            }
            Err(error) => {
                files::delete(connection, id).await?;
                return Ok(Ended::Refused(error));
            }
        }
        if let Some(message) = upload.message {
            files::attach(connection, id, message).await?;
        }
        if let Some(key) = &upload.key {
            idempotency::insert_upload(connection, caller.user, key.as_str(), &upload.hash(), id, now).await?;
        }
        if claim.is_some() {
            resumable_uploads::become_file(connection, id).await?;
        }
        let file = files::find_owned(connection, caller.user, id).await?;
        let file = file.ok_or(UploadError::FileNotFound)?;
        let job = ScanUpload {
            file_id: id.0,
            round: 0,
        };
        let options = EnqueueOptions {
            owner: Some(JobOwner::user(caller.user)),
            ..EnqueueOptions::default()
        };
        let enqueued = cura_queue::enqueue_with(connection, &job, options).await;
        enqueued.map_err(StoreError::from)?;
        let seq = events::append(connection, caller.user, &[Event::Upload(id)], now).await?;
        let uploaded = Uploaded {
            file: self.links.link(file),
            replayed: false,
        };
        Ok(Ended::Kept(uploaded, seq))
    }

    /// Whether an upload may be kept, its size aside. Holds its person alone, and the session, the message and the claim as they are, until
    /// the transaction ends.
    async fn check(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        upload: &NewUpload,
        claim: Option<&Claim>,
    ) -> Result<Checked, UploadError> {
        let now = self.clock.now_micros();
        // In the order of locks: the user, the session, the message, the upload.
        still_signed_in::hold(connection, caller, now).await?;
        if let Some(first) = self.find_key(connection, caller, upload.key.as_ref()).await? {
            return Ok(Checked::KeyUsed(first));
        }
        if let Some(message) = upload.message {
            if !files::hold_message(connection, caller.user, message).await? {
                return Err(UploadError::MessageNotFound);
            }
            if files::count_of_message(connection, message).await? >= MAX_FILES_OF_A_MESSAGE {
                return Err(UploadError::MessageIsFull);
            }
        }
        if let Some(claim) = claim
            && !resumable_uploads::hold(connection, claim).await?
        {
            return Err(UploadError::Superseded);
        }
        Ok(Checked::Fine)
    }

    async fn find_key(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<UploadKeyUse>, StoreError> {
        let Some(key) = key else {
            return Ok(None);
        };
        let not_before = self.clock.now_micros() - KEY_LIFETIME;
        idempotency::find_upload(connection, caller.user, key.as_str(), not_before).await
    }

    /// What the first request with a key has kept.
    async fn replay(&self, caller: Caller, hash: &[u8; 32], first: &UploadKeyUse) -> Result<Uploaded, UploadError> {
        if first.request_hash != hash {
            return Err(UploadError::KeyReused);
        }
        let id = first.file.ok_or(UploadError::FileNotFound)?;
        let found = self
            .database
            .connection(async |connection| files::find_owned(connection, caller.user, id).await);
        let file = found.await?.ok_or(UploadError::FileNotFound)?;
        Ok(Uploaded {
            file: self.links.link(file),
            replayed: true,
        })
    }

    /// The type of a file by its content, which is looked at outside of async threads, few files at a time.
    pub(super) async fn detect(&self, mut content: File, size: u64) -> Result<(File, FileType), UploadError> {
        // Never closed.
        let permit = Arc::clone(&self.detecting).acquire_owned().await;
        let looking = tokio::task::spawn_blocking(move || {
            let found = scan::detect(&mut content, size)?;
            drop(permit);
            Ok::<_, io::Error>((content, found))
        });
        let (content, found) = looking.await.map_err(|_| UploadError::Panicked)??;
        Ok((content, found?))
    }

    /// Deletes the row of an upload that failed, unless its last transaction has committed without our knowing.
    async fn forget(&self, caller: Caller, id: FileId, key: &ObjectKey, counted: u64) {
        let deleted = self.database.transaction(async |connection| {
            files::delete_unstored(connection, id, Some(key)).await?;
            // If others deleted it long ago: the file store may still be at it.
            object_deletions::list_unnamed(connection, caller.user, key, signed(counted), STILL_PUTTING).await
        });
        if let Err(error) = deleted.await {
            tracing::info!(%error, "the row of a failed upload is left to the job that prunes");
        }
    }
}

pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
