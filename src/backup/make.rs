//! Makes an archive: one task reads from Postgres and the file store, and a thread writes, so that neither has more than a few pieces.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cura_devdb::ClientProgram;
use cura_domain::object_key::ObjectKey;
use cura_providers::files::{Bytes, FileStore, FileStoreError};
use cura_store::{Database, snapshots};
use futures_util::StreamExt as _;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::archive::writer::Writer;
use crate::error::BackupError;
use crate::manifest::{AppliedMigration, FORMAT_VERSION, Manifest, ObjectCounts, ObjectLine, ObjectPlace, TableRows};
use crate::names::PARTIAL_END;
use crate::patience::open_patiently;
use crate::pg_dump;
use crate::pg_restore::is_too_new;
use crate::seal::{Recipient, Sealed};
use crate::spool::Spool;

/// How many pieces wait to be written.
const WAITING_PIECES: usize = 2;
/// How long the end of the snapshot is waited for.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// From how many objects on it is no accident that all are missing.
const MIN_MISSING: u64 = 10;
/// How much is written at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// Of what a backup is made.
pub struct Source<'a> {
    /// The database, without limits of time: a connection of its own.
    pub database: &'a Database,
    /// The same, for `pg_dump`.
    pub url: &'a str,
    /// Where the objects are; `None` if that is a folder which is not on this machine.
    pub files: Option<&'a FileStore>,
    /// The version of Cura.
    pub version: &'static str,
}

/// Where an archive is written.
#[derive(Debug, Clone)]
pub enum Target {
    /// A file that does not exist yet, and has its name once it is whole.
    File(PathBuf),
    /// The standard output.
    Stdout,
}

/// What the writing thread is given.
enum Piece {
    Dump(Vec<u8>),
    /// An object of this size, whose bytes follow.
    Object(ObjectKey, ObjectLine, u64),
    Bytes(Bytes),
    Line(ObjectLine),
    End(Box<Manifest>),
}

/// Makes a backup. When `stop` is cancelled, nothing is left of it.
///
/// # Errors
/// [`BackupError`], and then there is no archive.
pub async fn make(
    source: Source<'_>,
    target: Target,
    recipient: Option<Recipient>,
    stop: &CancellationToken,
) -> Result<(Manifest, u64), BackupError> {
    let store = source.files.map_or("elsewhere", FileStore::name);
    let (pieces, waiting) = mpsc::channel(WAITING_PIECES);
    let writing = tokio::task::spawn_blocking(move || write(&target, recipient.as_ref(), store, waiting));
    let feeding = async {
        tokio::select! {
            fed = feed(&source, &pieces) => fed,
            () = stop.cancelled() => Err(BackupError::Interrupted),
        }
    };
    let fed = feeding.await;
    // Without an end, the thread removes what it has written.
    drop(pieces);
    let written = writing.await.map_err(|error| BackupError::Unwritable(error.into()))?;
    match (fed, written) {
        (Ok(()), written) => written,
        // The thread has ended first, and knows why.
        (Err(BackupError::Unwritable(broken)), Err(error)) if broken.kind() == io::ErrorKind::BrokenPipe => Err(error),
        (Err(error), _) => Err(error),
    }
}

async fn feed(source: &Source<'_>, pieces: &mpsc::Sender<Piece>) -> Result<(), BackupError> {
    let variables = cura_postgres::libpq_environment(source.url).ok_or(BackupError::Url(pg_dump::NAME))?;
    let mut connection = source.database.own_connection().await?;
    let snapshot = snapshots::begin(&mut connection).await?;
    let server = snapshot.server_major;
    let program = tokio::task::spawn_blocking(move || ClientProgram::find(pg_dump::NAME, server)).await;
    let program = program.map_err(|error| BackupError::Unwritable(error.into()))??;
    if program.major < server || is_too_new(program.major, server) {
        return Err(BackupError::OtherClient {
            program: pg_dump::NAME,
            client: program.major,
            server,
        });
    }
    let mut migrations = Vec::new();
    for (set, table) in [
        ("apalis", cura_queue::migrator().table_name),
        ("cura", cura_store::MIGRATOR.table_name.clone()),
    ] {
        let applied = snapshots::list_migrations(&mut connection, &table).await?;
        let applied = applied.into_iter();
        migrations.extend(applied.map(|applied| AppliedMigration::new(set, applied.version, &applied.checksum)));
    }
    let mut tables = Vec::new();
    for table in snapshots::list_tables(&mut connection).await? {
        let rows = snapshots::count_rows(&mut connection, &table).await?;
        tables.push(TableRows { table, rows });
    }
    let mut objects = Spool::of_snapshot(&mut connection).await?;
    let others = snapshots::list_other_schemas(&mut connection).await?;
    let extension_schemas = snapshots::list_extension_schemas(&mut connection).await?;
    let dumped = pg_dump::dump(&program, &variables, &snapshot.id, &others, pieces, Piece::Dump);
    dumped.await?;
    // The dump is whole, whatever has become of this connection meanwhile.
    let _ = tokio::time::timeout(END_TIMEOUT, snapshots::end(connection)).await;
    let mut found = Found::default();
    while let Some(line) = objects.next()? {
        send_object(source.files, line, pieces, &mut found).await?;
    }
    if found.missing >= MIN_MISSING && found.named == found.missing {
        return Err(BackupError::NoFiles(found.named));
    }
    let manifest = Manifest {
        format: FORMAT_VERSION,
        cura: source.version.to_owned(),
        taken_at: snapshot.taken_at,
        postgres: server,
        pg_dump: program.major,
        extension_schemas,
        migrations,
        tables,
        parts: Vec::new(),
        objects: ObjectCounts::default(),
    };
    send(pieces, Piece::End(Box::new(manifest))).await
}

/// How many objects were looked for.
#[derive(Default)]
struct Found {
    named: u64,
    missing: u64,
}

async fn send(pieces: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), BackupError> {
    let sent = pieces.send(piece).await;
    sent.map_err(|_| BackupError::Unwritable(io::ErrorKind::BrokenPipe.into()))
}

/// Sends what there is of an object. One that is not there was deleted since the snapshot, or is lost: it is listed as missing.
async fn send_object(
    files: Option<&FileStore>,
    line: ObjectLine,
    pieces: &mpsc::Sender<Piece>,
    found: &mut Found,
) -> Result<(), BackupError> {
    found.named += 1;
    let key: ObjectKey = line
        .key
        .parse()
        .map_err(|_| cura_store::StoreError::UnknownWord("object_key"))?;
    let Some(files) = files else {
        return send(
            pieces,
            Piece::Line(ObjectLine {
                place: ObjectPlace::Elsewhere,
                ..line
            }),
        )
        .await;
    };
    let is_archived = files.name() == "disk";
    // Of an object elsewhere nothing but its size is asked for.
    let opened = match open_patiently(files, &key, (!is_archived).then_some(0..1)).await {
        Ok(opened) => opened,
        Err(FileStoreError::Missing) => {
            found.missing += 1;
            return send(pieces, Piece::Line(line)).await;
        }
        Err(error) => return Err(error.into()),
    };
    if !is_archived {
        let place = if opened.size == line.size {
            ObjectPlace::Elsewhere
        } else {
            ObjectPlace::Missing
        };
        return send(pieces, Piece::Line(ObjectLine { place, ..line })).await;
    }
    send(pieces, Piece::Object(key, line, opened.size)).await?;
    let mut bytes = opened.bytes;
    while let Some(piece) = bytes.next().await {
        send(pieces, Piece::Bytes(piece?)).await?;
    }
    Ok(())
}

/// Writes what comes, until it ends; gives the manifest and the size. Without an end, nothing is left. Blocks.
fn write(
    target: &Target,
    recipient: Option<&Recipient>,
    store: &str,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<(Manifest, u64), BackupError> {
    let path = match target {
        Target::Stdout => {
            return write_to(io::stdout(), recipient, store, &mut pieces).map(|(_, manifest, size)| (manifest, size));
        }
        Target::File(path) => path,
    };
    if path.exists() {
        return Err(BackupError::Exists);
    }
    let partial = partial(path).map_err(BackupError::Unwritable)?;
    let output = partial.as_file().try_clone().map_err(BackupError::Unwritable)?;
    let (output, manifest, size): (File, _, _) = write_to(output, recipient, store, &mut pieces)?;
    output.sync_all().map_err(BackupError::Unwritable)?;
    partial
        .persist_noclobber(path)
        .map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists,
            _ => BackupError::Unwritable(error.error),
        })?;
    if let Err(error) = File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        // Some mounts cannot. The archive is whole and has its name.
        tracing::warn!(%error, "the folder of the archive could not be synced");
    }
    Ok((manifest, size))
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// An empty file beside the target that only its owner can read, and that goes when it is dropped.
fn partial(path: &Path) -> io::Result<NamedTempFile> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut prefix = name.to_os_string();
    prefix.push(".");
    let private = Permissions::from_mode(0o600);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(PARTIAL_END).permissions(private);
    builder.tempfile_in(folder_of(path))
}

/// Counts the bytes that are written.
struct Counted<W> {
    output: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn write_to<W: Write>(
    output: W,
    recipient: Option<&Recipient>,
    store: &str,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<(W, Manifest, u64), BackupError> {
    let write = || {
        let output = BufWriter::with_capacity(BUFFER_BYTES, Counted { output, count: 0 });
        let mut writer = Writer::begin(Sealed::begin(output, recipient)?, store)?;
        let manifest = loop {
            match pieces.blocking_recv() {
                Some(Piece::Dump(bytes)) => writer.dump(&bytes)?,
                Some(Piece::Object(key, line, size)) => {
                    let bytes = Received {
                        pieces,
                        left: Bytes::new(),
                    };
                    writer.object(&key, line, size, bytes)?;
                }
                Some(Piece::Line(line)) => writer.list(&line)?,
                Some(Piece::End(manifest)) => break *manifest,
                Some(Piece::Bytes(_)) | None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        };
        let (sealed, manifest) = writer.finish(manifest)?;
        let counted = sealed.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        let Counted { mut output, count } = counted;
        output.flush()?;
        Ok((output, manifest, count))
    };
    write().map_err(BackupError::Unwritable)
}

/// The bytes of an object, as they arrive.
struct Received<'p> {
    pieces: &'p mut mpsc::Receiver<Piece>,
    left: Bytes,
}

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.left = bytes,
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let taken = self.left.split_to(self.left.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    #[tokio::test]
    async fn a_worker_can_make_one() {
        let database = Database::connect_lazy("postgres://127.0.0.1:1/none", "test", 1).unwrap();
        let source = Source {
            database: &database,
            url: "postgres://127.0.0.1:1/none",
            files: None,
            version: "test",
        };
        let stop = CancellationToken::new();
        is_send(&make(source, Target::Stdout, None, &stop));
    }
}
