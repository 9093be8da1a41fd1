//! Making a file of an upload of which all has arrived, exactly as of one that arrived in one request (`keep`), and under its id.
//!
//! Whoever asks takes the right to it for a short while and renews it as long as it works, so that a second request waits for the first,
//! and one after a server that died goes on where that one began. The row of the file carries the id, and its key says whose try it is:
//! a try that was taken for dead changes nothing.

use std::convert::Infallible;
use std::time::Duration;

use cura_domain::FileId;
use cura_store::resumable_uploads::{self, Claim, ResumableUpload};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::ResumableError;
use super::metadata::UploadMetadata;
use crate::caller::Caller;
use crate::files::Files;
use crate::files::arrival::Arrived;
use crate::files::keep::signed;
use crate::files::upload::{NewUpload, UploadError};

/// How long nobody else tries when nothing is heard of who does, and how often that one says that it lives.
const LEASE: Duration = Duration::from_secs(15);
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// How long nobody tries after the file store has not taken the file: a try reads all of it.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a request waits for another one that makes the file, and how often it looks.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

impl Files {
    /// Makes a file of an upload of the caller, of which all has arrived; nothing is done if it is one. Goes on when its caller does not
    /// wait for it any more, and drops `place` at its end.
    ///
    /// # Errors
    /// [`ResumableError`]: the upload is gone if it can never be a file; else it is as it was, and the caller can ask again.
    /// [`ResumableError::Busy`] if another request is at it for long.
    pub async fn complete_resumable(
        &self,
        caller: Caller,
        id: FileId,
        place: impl Send + 'static,
    ) -> Result<(), ResumableError> {
        let files = self.clone();
        let task = TaskTracker::new().spawn(async move {
            let completed = files.complete(caller, id).await;
            drop(place);
            completed
        });
        task.await.map_err(|_| UploadError::Panicked)?
    }

    async fn complete(&self, caller: Caller, id: FileId) -> Result<(), ResumableError> {
        let begun = Instant::now();
        loop {
            let claimed = self
                .database
                .connection(async |connection| resumable_uploads::claim(connection, caller.user, id, LEASE).await);
            if let Some(claim) = claimed.await? {
                match self.make_file(caller, &claim).await {
                    Err(UploadError::Superseded) => {}
                    made => return made.map_err(ResumableError::from),
                }
            }
            let ResumableUpload {
                is_file,
                received,
                length,
                ..
            } = self.find_resumable(caller, id).await?;
            if is_file {
                return Ok(());
            }
            if received < length {
                return Err(ResumableError::WrongOffset);
            }
            if begun.elapsed() >= OTHERS_TIMEOUT {
                return Err(ResumableError::Busy);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn make_file(&self, caller: Caller, claim: &Claim) -> Result<(), UploadError> {
        let making = async {
            let arrived = self.assemble(claim).await?;
            // It was read before.
            let metadata = UploadMetadata::parse(&claim.metadata).unwrap_or_default();
            let upload = NewUpload {
                size: arrived.size,
                sha256: arrived.sha256,
                raw_name: metadata.raw_name().to_owned(),
                message: metadata.message(),
                key: None,
            };
            self.keep(caller, arrived.content, upload, Some(claim)).await
        };
        let made = tokio::select! {
            made = making => made,
            never = self.renew(claim) => match never {},
        };
        if let Err(error) = &made {
            let may_pass = error.may_pass();
            let pause = match error {
                UploadError::FileStoreUnavailable => PAUSE,
                _ => Duration::ZERO,
            };
            let ended = self.database.connection(async |connection| match may_pass {
                true => resumable_uploads::release(connection, claim, pause).await,
                false => resumable_uploads::delete_claimed(connection, claim).await,
            });
            if let Err(error) = ended.await {
                tracing::info!(%error, "an upload that was not kept is left until it expires or is asked for again");
            }
        }
        made.map(drop)
    }

    /// Puts the parts of an upload together, in a file without a name.
    async fn assemble(&self, claim: &Claim) -> Result<Arrived, UploadError> {
        let mut arrival = self.arrival();
        while signed(arrival.size()) < claim.length {
            let start = signed(arrival.size());
            let part = self
                .database
                .connection(async |connection| resumable_uploads::find_part(connection, claim.id, start).await);
            // Only whoever has superseded this try, or the end of the upload, has taken them away.
            let part: Vec<u8> = part.await?.ok_or(UploadError::Superseded)?;
            arrival.write(&part).await?;
        }
        Ok(arrival.end().await?)
    }

    /// Keeps the right to an upload as long as it is polled.
    async fn renew(&self, claim: &Claim) -> Infallible {
        loop {
            tokio::time::sleep(RENEW_INTERVAL).await;
            let renewed = self
                .database
                .connection(async |connection| resumable_uploads::renew(connection, claim, LEASE).await);
            if let Err(error) = renewed.await {
                tracing::info!(%error, "the right to make a file of an upload was not renewed");
            }
        }
    }
}
