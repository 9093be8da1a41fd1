//! Deletes every key of ours: for a database that is not the one they were written for.

use super::connection::Connection;
use super::request::Request;
use super::scan::Scan;
use super::trouble::RedisTrouble;

/// Deletes them on every server that must work; gives how many there were.
pub(super) async fn all(connection: &Connection) -> Result<u64, RedisTrouble> {
    let mut deleted = 0;
    for mut scan in Scan::all(connection).await? {
        while let Some(keys) = scan.next(connection).await? {
            for key in keys {
                // One by one: keys of a cluster's node need not be of one slot.
                deleted += connection
                    .call::<u64>(&Request::command("UNLINK", &key).arg(&key))
                    .await?;
            }
        }
    }
    Ok(deleted)
}
