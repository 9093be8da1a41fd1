//! Avatars: of a picture that a person uploads, two squares are made anew by a confined child, and nothing else is kept. Whoever knows
//! the key of an avatar can see it, as long as it is shown.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cura_domain::avatar::{AvatarKey, AvatarSize};
use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use cura_domain::user::User;
use cura_inspection::{Encoding, Inspected, Picture, Wanted};
use cura_providers::scan::{Inspection, Inspector};
use cura_queue::DeleteObjects;
use cura_store::avatars::NewAvatarPicture;
use cura_store::{StoreError, avatars, object_deletions, users};
use futures_util::future::try_join_all;
use thiserror::Error;
use tokio::io::AsyncSeekExt as _;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::Files;
use super::arrival::Arrived;
use super::keep::{STILL_PUTTING, signed};
use super::serve::{Lifetime, ServeError, ServedFile};
use super::upload::UploadError;
use crate::caller::Caller;
use crate::still_signed_in;

/// How many pictures are looked into at a time, each by a child that takes some hundred MiB.
const AVATARS_AT_ONCE: usize = 2;
/// How long a picture may wait for that, and be looked into.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an avatar is not set. The one before is shown then.
#[derive(Debug, Error)]
pub enum AvatarError {
    /// As with any upload.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The file is no picture.
    #[error("not a picture")]
    NotAPicture,
    /// It has more pixels or frames than a picture may have.
    #[error("the picture is too large")]
    TooLarge,
    /// It cannot be read.
    #[error("the picture is damaged")]
    Damaged,
    /// Pictures cannot be looked into here at the moment.
    #[error("pictures cannot be looked into")]
    Unavailable,
}

impl From<StoreError> for AvatarError {
    fn from(error: StoreError) -> Self {
        Self::Upload(error.into())
    }
}

impl From<still_signed_in::NotAnyMore> for AvatarError {
    fn from(error: still_signed_in::NotAnyMore) -> Self {
        Self::Upload(error.into())
    }
}

/// The use cases of avatars. Cheap to clone.
#[derive(Clone)]
pub struct Avatars {
    files: Files,
    inspector: Arc<Inspector>,
}

/// A picture that was made, and where it will be.
struct Made {
    size: AvatarSize,
    object: ObjectKey,
    picture: Picture,
}

impl Made {
    fn bytes(&self) -> u64 {
        self.picture.bytes.len() as u64
    }
}

impl Avatars {
    /// Puts the parts together. The program that runs this begins with [`cura_inspection::run_child_if_asked`].
    pub fn new(files: Files) -> Self {
        Self {
            files,
            inspector: Arc::new(Inspector::new(AVATARS_AT_ONCE)),
        }
    }

    /// Makes a picture that has arrived the avatar of the caller, instead of the one before, and gives the new profile. Goes on when its
    /// caller does not wait for it any more, and drops `place` at its end.
    ///
    /// # Errors
    /// [`AvatarError`]; then nothing has changed.
    pub async fn set(&self, caller: Caller, arrived: Arrived, place: impl Send + 'static) -> Result<User, AvatarError> {
        let avatars = self.clone();
        let task = TaskTracker::new().spawn(async move {
            let set = avatars.make_and_show(caller, arrived).await;
            drop(place);
            set
        });
        task.await.map_err(|_| UploadError::Panicked)?
    }

    /// Deletes the avatar of the caller, if there is one.
    ///
    /// # Errors
    /// When the session has ended, or the store fails.
    pub async fn delete(&self, caller: Caller) -> Result<(), AvatarError> {
        let now = self.files.clock.now_micros();
        let deleted = self.files.database.transaction(async |connection| {
            still_signed_in::hold(connection, caller, now).await?;
            if avatars::delete(connection, caller.user).await? {
                let job = DeleteObjects::of_moment(now.timestamp_micros());
                cura_queue::enqueue(connection, &job).await.map_err(StoreError::from)?;
            }
            Ok::<_, AvatarError>(())
        });
        deleted.await
    }

    /// The picture of an avatar, as it came in a path.
    ///
    /// # Errors
    /// [`ServeError`]. [`ServeError::Forged`] before anybody is asked.
    pub async fn find_served(&self, key: &str, size: AvatarSize) -> Result<ServedFile, ServeError> {
        let key: AvatarKey = key.parse().map_err(|_| ServeError::Forged)?;
        let found = self
            .files
            .database
            .connection(async |connection| avatars::find_shown(connection, &key, size).await);
        let shown = found.await?.ok_or(ServeError::NotFound)?;
        Ok(ServedFile::made(
            shown.object,
            "avatar",
            shown.media_type,
            shown.bytes,
            Lifetime::Forever,
        ))
    }

    async fn make_and_show(&self, caller: Caller, arrived: Arrived) -> Result<User, AvatarError> {
        let size = arrived.size;
        let now = self.files.clock.now_micros();
        // Before anything else: arriving may have taken minutes.
        let checked = self
            .files
            .database
            .transaction(async |connection| still_signed_in::hold(connection, caller, now).await);
        checked.await?;
        let (content, file_type) = self.files.detect(arrived.content, size).await?;
        if !file_type.is_picture() {
            return Err(AvatarError::NotAPicture);
        }
        let inspected = self.look_into(content, file_type, size).await?;
        let made = self.name(caller, inspected)?;
        let key = URL_SAFE_NO_PAD.encode(self.files.entropy.bytes::<16>());
        let key: AvatarKey = key
            .parse()
            .map_err(|error| UploadError::Content(io::Error::other(error)))?;
        let now = self.files.clock.now_micros();
        let begun = self.files.database.transaction(async |connection| {
            still_signed_in::hold(connection, caller, now).await?;
            for made in &made {
                let picture = NewAvatarPicture {
                    size: made.size,
                    object: &made.object,
                    media_type: made.picture.encoding.media_type(),
                    bytes: signed(made.bytes()),
                };
                avatars::insert(connection, caller.user, &key, picture).await?;
            }
            Ok::<_, AvatarError>(())
        });
        begun.await?;
        let shown = match self.put(&made).await {
            Ok(()) => self.show(caller, &key, &made).await,
            Err(error) => Err(error),
        };
        if shown.is_err() {
            self.forget(caller, &key, &made).await;
        }
        shown
    }

    /// Has a child make the two squares.
    async fn look_into(&self, content: File, file_type: FileType, size: u64) -> Result<Inspected, AvatarError> {
        let mut content = tokio::fs::File::from_std(content);
        content.rewind().await.map_err(UploadError::Content)?;
        let looking = self.inspector.inspect(file_type, Wanted::Avatar, &mut content, size);
        match timeout(LOOK_TIMEOUT, looking).await {
            Ok(Ok(Inspection::Inspected(inspected))) => Ok(*inspected),
            Ok(Ok(Inspection::Refused(FileReason::LimitsExceeded))) => Err(AvatarError::TooLarge),
            Ok(Ok(Inspection::Refused(_))) => Err(AvatarError::Damaged),
            Ok(Ok(Inspection::Died(death))) => {
                tracing::warn!(file_type = file_type.as_str(), %death, "an avatar has ended the child that looked into it");
                Err(match death.reason() {
                    FileReason::LimitsExceeded => AvatarError::TooLarge,
                    _ => AvatarError::Damaged,
                })
            }
            Ok(Ok(Inspection::NoSandbox(why))) => {
                tracing::error!(%why, "avatars are refused: this machine cannot confine the process that looks into them");
                Err(AvatarError::Unavailable)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "an avatar cannot be looked into at the moment");
                Err(AvatarError::Unavailable)
            }
            Err(_) => {
                tracing::warn!("an avatar was not looked into in time: too many are");
                Err(AvatarError::Unavailable)
            }
        }
    }

    /// Gives the pictures that were made their places.
    fn name(&self, caller: Caller, inspected: Inspected) -> Result<Vec<Made>, AvatarError> {
        let pictures = [
            (AvatarSize::Large, inspected.large),
            (AvatarSize::Small, inspected.small),
        ];
        let name = |(size, picture): (AvatarSize, Option<Picture>)| {
            let picture = picture.ok_or(AvatarError::Damaged)?;
            let extension = match picture.encoding {
                Encoding::Jpeg => "jpg",
                Encoding::Png => "png",
            };
            let object = ObjectKey::new(caller.user, self.files.entropy.bytes(), extension);
            let object = object.map_err(|error| UploadError::Content(io::Error::other(error)))?;
            Ok(Made { size, object, picture })
        };
        pictures.into_iter().map(name).collect()
    }

    /// Both at once: the rows are given up after what one may take.
    async fn put(&self, made: &[Made]) -> Result<(), AvatarError> {
        try_join_all(made.iter().map(|made| self.put_one(made))).await.map(drop)
    }

    async fn put_one(&self, made: &Made) -> Result<(), AvatarError> {
        let folder = Arc::clone(&self.files.arrivals);
        let bytes = made.picture.bytes.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut file = tempfile::tempfile_in(folder.as_path())?;
            file.write_all(&bytes)?;
            file.rewind()?;
            Ok::<_, io::Error>(file)
        });
        let file = written.await.map_err(|_| UploadError::Panicked)?;
        let file = file.map_err(UploadError::Content)?;
        let media_type = made.picture.encoding.media_type();
        Ok(self.files.put(&made.object, file, made.bytes(), media_type).await?)
    }

    async fn show(&self, caller: Caller, key: &AvatarKey, made: &[Made]) -> Result<User, AvatarError> {
        let now = self.files.clock.now_micros();
        let shown = self.files.database.transaction(async |connection| {
            // It may have ended while the pictures were stored.
            still_signed_in::hold(connection, caller, now).await?;
            if !avatars::show(connection, caller.user, key).await? {
                // So long that it was taken for abandoned. What was listed then may have been deleted before it was there.
                for made in made {
                    let bytes = signed(made.bytes());
                    object_deletions::list_unnamed(connection, caller.user, &made.object, bytes, Duration::ZERO)
                        .await?;
                }
                return Ok(None);
            }
            let job = DeleteObjects::of_moment(now.timestamp_micros());
            cura_queue::enqueue(connection, &job).await.map_err(StoreError::from)?;
            Ok::<_, AvatarError>(users::find(connection, caller.user).await?)
        });
        shown
            .await?
            .ok_or(AvatarError::Upload(UploadError::FileStoreUnavailable))
    }

    /// Deletes the rows of an avatar that failed, unless the last transaction has committed without our knowing.
    async fn forget(&self, caller: Caller, key: &AvatarKey, made: &[Made]) {
        let deleted = self.files.database.transaction(async |connection| {
            avatars::delete_unshown(connection, key).await?;
            for made in made {
                let bytes = signed(made.bytes());
                // If others deleted them long ago: the file store may still be at it.
                object_deletions::list_unnamed(connection, caller.user, &made.object, bytes, STILL_PUTTING).await?;
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = deleted.await {
            tracing::info!(%error, "the rows of a failed avatar are left to the job that prunes");
        }
    }
}
