//! All keys of ours, page by page: for operators, not for requests.

use super::connection::Connection;
use super::request::Request;
use super::trouble::RedisTrouble;

/// About how many keys one call looks at.
const KEYS_A_CALL: u64 = 1000;

/// A walk through the keys of one server.
pub(super) struct Scan {
    /// A key that this server has.
    at: String,
    /// Where the next page begins; `None` behind the last one.
    cursor: Option<String>,
}

impl Scan {
    /// Walks through every server that must work.
    pub(super) async fn all(connection: &Connection) -> Result<Vec<Self>, RedisTrouble> {
        let tags = connection.tags().await?;
        let scans = tags.into_iter().map(|tag| Self {
            at: format!("cura:probe:{{{tag}}}:text"),
            cursor: Some("0".to_owned()),
        });
        Ok(scans.collect())
    }

    /// The next page, which may be empty; `None` behind the last one. A key may come twice.
    pub(super) async fn next(&mut self, connection: &Connection) -> Result<Option<Vec<String>>, RedisTrouble> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let scan = Request::command("SCAN", &self.at)
            .arg(&cursor)
            .arg("MATCH")
            .arg("cura:*");
        let scan = scan.arg("COUNT").arg(KEYS_A_CALL);
        let (next, keys): (String, Vec<String>) = connection.call(&scan).await?;
        self.cursor = (next != "0").then_some(next);
        Ok(Some(keys))
    }
}
