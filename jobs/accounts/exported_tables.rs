//! What of Postgres goes into an archive: the lines of every exported table as they were at one moment, and which files there were then.

use std::pin::pin;

use cura_domain::{FileId, UserId};
use cura_store::owners::{self, AccountOwner};
use cura_store::personal_data::{self, Export, TABLES};
use cura_store::{PgConnection, StoreError, exported_files, with_deadline};
use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;

use super::archive::ArchivePart;
use crate::context::JobContext;

/// How many bytes of lines are handed to the packer at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// How many ids of files are read at once.
const IDS: i64 = 1000;

/// Reads every exported table as it was at one moment, and sends its lines. Gives the files that there were.
pub(super) async fn read_tables(
    context: &JobContext,
    user: UserId,
    parts: &mpsc::Sender<ArchivePart>,
) -> Result<Vec<FileId>, StoreError> {
    context
        .database
        .snapshot(async |connection| {
            let owner = with_deadline(owners::find_account(connection, user)).await?;
            let owner = owner.ok_or(StoreError::UserGone)?;
            for table in TABLES {
                let Export::File { name, sql } = table.export else {
                    continue;
                };
                if parts.send(ArchivePart::Table(name)).await.is_err() {
                    // The packer has failed, and returns why.
                    return Ok(Vec::new());
                }
                with_deadline(personal_data::open_lines(connection, sql, &owner)).await?;
                while with_deadline(send_next_lines(connection, parts)).await? {}
                with_deadline(personal_data::close_lines(connection)).await?;
            }
            list_files(connection, &owner).await
        })
        .await
}

/// The ids of all files: eight bytes for each, of which a person keeps at most a quarter of a million in a gigabyte.
async fn list_files(connection: &mut PgConnection, owner: &AccountOwner) -> Result<Vec<FileId>, StoreError> {
    let mut files = Vec::new();
    loop {
        let after = files.last().copied().unwrap_or(FileId(0));
        let page = with_deadline(exported_files::list_ids(connection, owner, after, IDS)).await?;
        if page.is_empty() {
            return Ok(files);
        }
        files.extend(page);
    }
}

/// Sends the next lines in chunks, so that no more than a chunk and a line is held; `false` after the last.
async fn send_next_lines(connection: &mut PgConnection, parts: &mpsc::Sender<ArchivePart>) -> Result<bool, StoreError> {
    let mut lines = pin!(personal_data::next_lines(connection));
    let (mut chunk, mut bytes, mut any) = (Vec::new(), 0, false);
    while let Some(line) = lines.try_next().await? {
        any = true;
        bytes += line.len();
        chunk.push(line);
        if bytes >= CHUNK_BYTES {
            bytes = 0;
            if parts
                .send(ArchivePart::Lines(std::mem::take(&mut chunk)))
                .await
                .is_err()
            {
                // The packer has failed, and returns why.
                return Ok(false);
            }
        }
    }
    Ok(any && parts.send(ArchivePart::Lines(chunk)).await.is_ok())
}
