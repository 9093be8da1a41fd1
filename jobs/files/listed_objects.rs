//! Deletes from the file store what is listed for deletion, a few objects at a time.

use std::time::Duration;

use cura_domain::UserId;
use cura_providers::files::{FileStore, FileStoreError};
use cura_store::object_deletions::ListedObject;
use cura_store::{Database, StoreError, object_deletions};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

/// How many objects are read from the list at once.
const BATCH: i64 = 100;
/// How many objects the store deletes at a time.
const AT_ONCE: usize = 8;
/// After how long an object is tried again that the store has not deleted once; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);
/// An object that was not deleted so often, in about half a day, is worth an operator's time.
const ALERT_AFTER: i32 = 20;

/// What became of those that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// All of them are deleted.
    All,
    /// The time was up.
    TimeUp,
    /// The store does not delete now; what it has not deleted is due later.
    NotNow,
}

/// Deletes the objects that are due, of one user or of all, for about this long.
pub(crate) async fn delete_due(
    database: &Database,
    files: &FileStore,
    user: Option<UserId>,
    time: Duration,
) -> Result<Deleted, StoreError> {
    let until = Instant::now() + time;
    loop {
        let due = database
            .connection(async |connection| object_deletions::list_due(connection, user, BATCH).await)
            .await?;
        if due.is_empty() {
            return Ok(Deleted::All);
        }
        if delete(database, files, due).await? > 0 {
            return Ok(Deleted::NotNow);
        }
        if Instant::now() >= until {
            return Ok(Deleted::TimeUp);
        }
    }
}

/// Deletes these objects, and returns how many of them the store has not deleted.
async fn delete(database: &Database, files: &FileStore, objects: Vec<ListedObject>) -> Result<usize, StoreError> {
    let deletions = objects.into_iter().map(async |object| {
        let deleted = files.delete(&object.key).await;
        (object, deleted)
    });
    let outcomes: Vec<_> = stream::iter(deletions).buffer_unordered(AT_ONCE).collect().await;
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    for (object, deleted) in outcomes {
        match deleted {
            Ok(()) => gone.push(object),
            Err(error) => left.push((object, error)),
        }
    }
    if !gone.is_empty() {
        database
            .connection(async |connection| object_deletions::remove(connection, &gone).await)
            .await?;
    }
    if let Some((_, error)) = left.first() {
        report(files, error, &left);
    }
    for (object, _) in &left {
        let pause = pause_after(object.attempts);
        database
            .connection(async |connection| object_deletions::postpone(connection, &object.key, pause).await)
            .await?;
    }
    Ok(left.len())
}

fn pause_after(attempts: i32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.unsigned_abs());
    FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE)
}

fn report(files: &FileStore, error: &FileStoreError, left: &[(ListedObject, FileStoreError)]) {
    let (store, objects) = (files.name(), left.len());
    let is_old = left.iter().any(|(object, _)| object.attempts >= ALERT_AFTER);
    if is_old || matches!(error, FileStoreError::Refused(_)) {
        tracing::error!(store, objects, %error, "deleted files are still in the file store; look at its rights");
    } else {
        tracing::warn!(store, objects, %error, "deleted files are still in the file store; trying again later");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let seconds = [0, 1, 2, 8, 9, 1000, i32::MAX].map(|attempts| pause_after(attempts).as_secs());
        assert_eq!(seconds, [10, 20, 40, 2560, 3600, 3600, 3600]);
    }
}
