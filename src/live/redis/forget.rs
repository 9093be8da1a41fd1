//! Deletes every key of ours: for a database that is not the one they were written for.

use super::connection::Connection;
use super::request::Request;
use super::trouble::RedisTrouble;

/// About how many keys one call looks at.
const KEYS_A_CALL: u64 = 1000;

/// Deletes them on every server that must work; gives how many there were.
pub(super) async fn all(connection: &Connection) -> Result<u64, RedisTrouble> {
    let mut deleted = 0;
    for tag in connection.tags().await? {
        let at = format!("cura:probe:{{{tag}}}:text");
        let mut cursor = "0".to_owned();
        loop {
            let scan = Request::command("SCAN", &at).arg(&cursor).arg("MATCH").arg("cura:*");
            let scan = scan.arg("COUNT").arg(KEYS_A_CALL);
            let (next, keys): (String, Vec<String>) = connection.call(&scan).await?;
            for key in keys {
                // One by one: keys of a cluster's node need not be of one slot.
                deleted += connection
                    .call::<u64>(&Request::command("UNLINK", &key).arg(&key))
                    .await?;
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
    }
    Ok(deleted)
}
