//! Uploads that arrive in parts: whatever arrived is kept until the day is over, whichever server it came to, and once all is there it
//! becomes a file as any other upload does, with the same id.
//!
//! Nothing of them is in a process. Bytes are added only where the last ones ended ([`appending`]), and a file is made by at most one
//! try at a time ([`completing`]). The room that an upload will take is its person's from the beginning, so that it is not refused at its end.

mod appending;
mod completing;
mod metadata;

use std::time::Duration;

use cura_domain::FileId;
use cura_domain::file::{MAX_FILE_BYTES, MAX_FILES_OF_A_MESSAGE, MIN_COUNTED_BYTES};
use cura_domain::file_type;
use cura_store::resumable_uploads::{self, ResumableUpload};
use cura_store::{PgConnection, StoreError, files};
use thiserror::Error;

use super::keep::signed;
use super::upload::UploadError;
use super::{FileError, Files};
use crate::caller::Caller;
use crate::still_signed_in;

pub use appending::Appending;
pub use metadata::{MalformedMetadata, UploadMetadata};

/// How long an upload is there: an unfinished one, and what is known of one that is a file.
const UPLOAD_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The most uploads that a person has begun and not completed.
pub const MAX_UNFINISHED_UPLOADS: i64 = 20;

/// Why an upload that arrives in parts does not go on.
#[derive(Debug, Error)]
pub enum ResumableError {
    /// The caller has begun as many as a person may; the first of them expires after this long.
    #[error("too many unfinished uploads")]
    TooManyUnfinished(Duration),
    /// Not exactly what came before has arrived.
    #[error("the offset is another one")]
    WrongOffset,
    /// It is longer than was said at its beginning, or than a file may be.
    #[error("the upload is too large")]
    TooLarge,
    /// Another request makes a file of it, and has not done so yet.
    #[error("another request makes the file")]
    Busy,
    /// As of any upload. The upload is gone when it can never be kept, and is there to go on with otherwise.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl From<StoreError> for ResumableError {
    fn from(error: StoreError) -> Self {
        Self::Upload(error.into())
    }
}

impl Files {
    /// Begins an upload of so many bytes.
    ///
    /// # Errors
    /// Whatever can be known now: it would be too large, take too much room, belong to a message that is not the caller's, or be one too
    /// many. [`UploadError::Refused`] if it is empty.
    pub async fn begin_resumable(
        &self,
        caller: Caller,
        length: u64,
        metadata: &UploadMetadata,
    ) -> Result<ResumableUpload, ResumableError> {
        if length > MAX_FILE_BYTES {
            return Err(ResumableError::TooLarge);
        }
        if length == 0 {
            // No file is empty, and clients send no part of an empty one, which would be refused.
            file_type::signature(b"").map_err(UploadError::from)?;
        }
        let begun = self.database.transaction(async |connection| {
            self.check_room(connection, caller, signed(length), metadata).await?;
            let upload =
                resumable_uploads::insert(connection, caller.user, metadata.raw(), signed(length), UPLOAD_LIFETIME);
            Ok::<_, ResumableError>(upload.await?)
        });
        begun.await
    }

    /// Whether an upload may begin. Holds the person alone, so that two do not both take the last of the room.
    async fn check_room(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        length: i64,
        metadata: &UploadMetadata,
    ) -> Result<(), ResumableError> {
        let now = self.clock.now_micros();
        still_signed_in::hold(connection, caller, now)
            .await
            .map_err(UploadError::from)?;
        if let Some(message) = metadata.message() {
            if !files::hold_message(connection, caller.user, message).await? {
                return Err(UploadError::MessageNotFound.into());
            }
            if files::count_of_message(connection, message).await? >= MAX_FILES_OF_A_MESSAGE {
                return Err(UploadError::MessageIsFull.into());
            }
        }
        let unfinished = resumable_uploads::count_unfinished(connection, caller.user).await?;
        if unfinished.count >= MAX_UNFINISHED_UPLOADS {
            let first_expires_in = u64::try_from(unfinished.first_expires_in).unwrap_or_default();
            return Err(ResumableError::TooManyUnfinished(Duration::from_secs(first_expires_in)));
        }
        if let Some(most) = self.max_kept_bytes {
            let kept = files::kept_bytes(connection, caller.user).await?;
            if kept.saturating_add(length.max(MIN_COUNTED_BYTES)) > most {
                return Err(UploadError::QuotaExceeded.into());
            }
        }
        Ok(())
    }

    /// An upload of the caller that was begun and has not expired.
    ///
    /// # Errors
    /// [`UploadError::FileNotFound`] also when it belongs to another user, or its file was deleted.
    pub async fn find_resumable(&self, caller: Caller, id: FileId) -> Result<ResumableUpload, ResumableError> {
        let found = self
            .database
            .connection(async |connection| resumable_uploads::find(connection, caller.user, id).await);
        Ok(found.await?.ok_or(UploadError::FileNotFound)?)
    }

    /// Ends an upload: what has arrived is deleted, and the file, if it is one.
    ///
    /// # Errors
    /// As of [`Self::find_resumable`].
    pub async fn terminate_resumable(&self, caller: Caller, id: FileId) -> Result<(), ResumableError> {
        let deleted = self
            .database
            .connection(async |connection| resumable_uploads::delete(connection, caller.user, id).await);
        if deleted.await? {
            return Ok(());
        }
        self.find_resumable(caller, id).await?;
        self.delete(caller, id).await.map_err(|error| match error {
            FileError::NotFound => UploadError::FileNotFound.into(),
            FileError::Store(error) => error.into(),
        })
    }
}
