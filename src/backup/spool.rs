//! The objects that the database names, in a file without a name: they are copied after the snapshot has ended, because a snapshot that
//! lasts keeps Postgres from cleaning up.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Lines, Seek as _, Write as _};

use cura_store::snapshots::NamedObject;
use cura_store::{PgConnection, StoreError, snapshots};
use futures_util::TryStreamExt as _;

use crate::error::BackupError;
use crate::manifest::{ObjectLine, ObjectPlace, hex};

/// How much of the list is written at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// A list of objects, to be read once.
pub(crate) struct Spool(Lines<BufReader<File>>);

impl Spool {
    /// Reads the list from a snapshot.
    pub(crate) async fn of_snapshot(snapshot: &mut PgConnection) -> Result<Self, BackupError> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile().map_err(BackupError::Unwritable)?);
        let mut objects = std::pin::pin!(snapshots::list_objects(snapshot));
        while let Some(object) = objects.try_next().await? {
            write(&mut file, object).map_err(BackupError::Unwritable)?;
        }
        let rewound = || {
            let mut file = file.into_inner()?;
            file.rewind()?;
            Ok(file)
        };
        let file = rewound().map_err(BackupError::Unwritable)?;
        Ok(Self(BufReader::new(file).lines()))
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Result<Option<ObjectLine>, BackupError> {
        let line = self.0.next().transpose().map_err(BackupError::Unwritable)?;
        let parse = |line: String| serde_json::from_str(&line).map_err(|_| StoreError::UnknownWord("object").into());
        line.map(parse).transpose()
    }
}

fn write(file: &mut BufWriter<File>, object: NamedObject) -> io::Result<()> {
    let line = ObjectLine {
        key: object.key.as_str().to_owned(),
        size: object.size.unsigned_abs(),
        sha256: object.sha256.map(|sha256| hex(&sha256)),
        place: ObjectPlace::Missing,
        archived: None,
    };
    serde_json::to_writer(&mut *file, &line)?;
    file.write_all(b"\n")
}
