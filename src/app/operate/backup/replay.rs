//! Erases again whom a backup has brought back. The list of erasures is in the database that is replaced, if there is one, and in the
//! file store, which may be all that is left.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use cura_backup::{BackupError, Listed, list_erasure};
use cura_domain::erasure::Erasure;
use cura_providers::files::FileStore;
use cura_store::{PgConnection, Session, StoreError, erasures, in_transaction};

use crate::erasure;

/// How many erasures are looked at between two questions to the database.
const PAGE: i64 = 1000;

/// Adds what was kept and what the file store lists to the list of the database, and what the file store lacks to its list, so that both know
/// everybody.
///
/// # Errors
/// When Postgres or the file store does not answer; it can be begun again.
pub(super) async fn join_lists(
    session: &mut Session,
    files: &FileStore,
    kept: Vec<Erasure>,
    stored: Vec<Erasure>,
) -> Result<(), BackupError> {
    let in_store: HashSet<Erasure> = stored.iter().copied().collect();
    let listed = [kept, stored].concat();
    in_transaction(session, async |connection| erasures::add(connection, &listed).await).await?;
    let mut last = 0;
    loop {
        let page = erasures::list_behind(session, last, PAGE).await?;
        let Some(end) = page.last() else {
            return Ok(());
        };
        last = end.number;
        for erasure in page.into_iter().filter(|erasure| !in_store.contains(erasure)) {
            if list_erasure(files, &erasure).await? == Listed::NumberTaken {
                // It comes again, with a number that nobody has.
                in_transaction(session, async |connection| {
                    erasures::renumber(connection, &erasure).await
                })
                .await?;
            }
        }
    }
}

/// Begins the erasure of everybody on the list who is there; gives how many. Their jobs run when their queue is resumed.
pub(super) async fn erase(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let returned = erasures::list_returned(connection).await?;
    for user in &returned {
        // Texts of their answers are in no Redis any more.
        erasure::begin(connection, *user, now).await?;
    }
    Ok(returned.len())
}
