//! Work that is larger than a statement may be: done in batches, each committed by itself, so that whatever was done stays done.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::{ConversationId, UserId};
use cura_queue::JobError;
use cura_store::devices::Pruned;
use cura_store::expired::Expired;
use cura_store::file_lifetimes::{self, DeletedFiles};
use cura_store::personal_data::Table;
use cura_store::{PgConnection, StoreError, conversations};
use tokio::time::Instant;

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// The rows of the first batch.
const FIRST_BATCH: i64 = 250;
/// The rows of the largest batch.
const MAX_BATCH: i64 = 1000;
/// A batch that is faster than this is followed by a larger one.
const QUICK: Duration = Duration::from_millis(500);

/// Rows to be deleted, or changed so that they are not found again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows {
    /// Those of this kind that have expired by then.
    Expired(Expired, DateTime<Utc>),
    /// Those of a user in a table.
    OfUser(UserId, Table),
    /// The messages of a deleted conversation.
    OfConversation(ConversationId),
    /// The files of a deleted conversation that belong to no other; the moment is now.
    FilesOfConversation(ConversationId, DateTime<Utc>),
    /// Files that belong to no message for long; the moment is now.
    UnattachedFiles(DateTime<Utc>),
    /// Devices that are so since the first moment; the second one is now.
    Devices(Pruned, DateTime<Utc>, DateTime<Utc>),
}

impl Rows {
    /// Deletes at most `limit`.
    async fn delete(self, connection: &mut PgConnection, limit: i64) -> Result<Batch, StoreError> {
        let rows = match self {
            Self::Expired(kind, by) => kind.delete_expired(connection, by, limit).await?,
            Self::OfUser(user, table) => table.erase(connection, user, limit).await?,
            Self::OfConversation(id) => conversations::purge_messages(connection, id, limit).await?,
            Self::FilesOfConversation(id, now) => {
                let deleted = file_lifetimes::purge_of_conversation(connection, id, limit, now).await?;
                return Ok(Batch::of_files(deleted));
            }
            Self::UnattachedFiles(now) => {
                let deleted = file_lifetimes::delete_unattached(connection, limit, now).await?;
                return Ok(Batch::of_files(deleted));
            }
            Self::Devices(which, before, now) => which.prune(connection, before, now, limit).await?,
        };
        Ok(Batch { rows, event: None })
    }
}

/// What one batch has done.
struct Batch {
    /// 0 when none is left.
    rows: u64,
    /// Its person's devices learn of it by this event.
    event: Option<(UserId, i64)>,
}

impl Batch {
    fn of_files(deleted: Option<DeletedFiles>) -> Self {
        Self {
            rows: deleted.map_or(0, |deleted| deleted.count),
            event: deleted.map(|deleted| (deleted.user, deleted.seq)),
        }
    }
}

/// How a slice of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slice {
    /// Nothing is left.
    Done,
    /// The time was up before everything was done.
    TimeUp,
}

/// Batches of one run, until its time is up. They are halved when the database does not finish one in time, and grow again.
pub(crate) struct Batches<'a> {
    context: &'a JobContext,
    size: i64,
    until: Instant,
    /// The rows of all batches.
    pub(crate) rows: u64,
}

impl<'a> Batches<'a> {
    /// Batches for this long, and one more.
    pub(crate) fn new(context: &'a JobContext, time: Duration) -> Self {
        Self {
            context,
            size: FIRST_BATCH,
            until: Instant::now() + time,
            rows: 0,
        }
    }

    /// Deletes batches of `rows` until none is left or the time is up.
    ///
    /// # Errors
    /// [`JobError::Snooze`] while the database is unavailable; [`JobError::Retry`] when it does not even delete a single row
    /// in time, or refuses.
    pub(crate) async fn delete(&mut self, rows: Rows) -> Result<Slice, JobError> {
        loop {
            let (begun, size) = (Instant::now(), self.size);
            let batch = self
                .context
                .database
                .batch(async |connection| rows.delete(connection, size).await);
            match batch.await {
                Ok(Batch { rows: 0, .. }) => return Ok(Slice::Done),
                Ok(Batch { rows, event }) => {
                    if let Some((user, seq)) = event {
                        self.context.live.publish_event(user, seq).await;
                    }
                    self.rows += rows;
                    if begun.elapsed() < QUICK {
                        self.size = (self.size * 2).min(MAX_BATCH);
                    }
                }
                Err(StoreError::TookTooLong) if self.size > 1 => {
                    // Whatever the time: a run that ends without having deleted anything would be repeated for ever.
                    self.size /= 2;
                    tracing::info!(size = self.size, "deleting rows took too long; trying fewer at a time");
                    continue;
                }
                Err(error) => return Err(snooze_if_unavailable(error)),
            }
            if Instant::now() >= self.until {
                return Ok(Slice::TimeUp);
            }
        }
    }
}
