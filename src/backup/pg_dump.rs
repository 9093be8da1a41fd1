//! Runs `pg_dump` on an exported snapshot, and gives what it writes in pieces.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use cura_devdb::ClientProgram;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::archive::MAX_PIECE_BYTES;
use crate::error::BackupError;
use crate::program_output::{command, first_error, listen};

/// The program.
pub(crate) const NAME: &str = "pg_dump";
/// How long it may give nothing: a table that is large and slow to read.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long it waits for a lock, which only a schema change keeps from it.
const LOCK_TIMEOUT: &str = "--lock-wait-timeout=30s";
/// The extensions that our tables need; a database may have others, which its owner made.
const EXTENSIONS: [&str; 2] = ["--extension=pgcrypto", "--extension=hstore"];

/// Dumps the snapshot of this id; `others` are schemas that are not ours. Each piece is sent as `wrap` makes it.
pub(crate) async fn dump<P: Send>(
    program: &ClientProgram,
    variables: &[(&'static str, String)],
    snapshot: &str,
    others: &[String],
    pieces: &mpsc::Sender<P>,
    wrap: fn(Vec<u8>) -> P,
) -> Result<(), BackupError> {
    let failed = |said: String| BackupError::Program { program: NAME, said };
    let mut command = command(program, variables);
    command
        .args([
            "--format=custom",
            "--no-owner",
            "--no-acl",
            "--no-comments",
            "--no-password",
            // Of the whole database, and not ours.
            "--no-publications",
            "--no-subscriptions",
            "--no-blobs",
            LOCK_TIMEOUT,
        ])
        .args(EXTENSIONS)
        .arg(format!("--snapshot={snapshot}"))
        .args(
            others
                .iter()
                .map(|schema| format!("--exclude-schema={}", literally(schema))),
        )
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("its output cannot be read".to_owned()));
    };
    let take_all = async {
        loop {
            let mut piece = Vec::with_capacity(MAX_PIECE_BYTES);
            while piece.len() < MAX_PIECE_BYTES {
                let room = (MAX_PIECE_BYTES - piece.len()) as u64;
                let mut next = (&mut stdout).take(room);
                let read = tokio::time::timeout(IDLE_TIMEOUT, next.read_buf(&mut piece)).await;
                let read = read.map_err(|_| BackupError::Silent(NAME))?;
                if read.map_err(|error| failed(error.to_string()))? == 0 {
                    break;
                }
            }
            if piece.is_empty() {
                return Ok::<_, BackupError>(());
            }
            let sent = pieces.send(wrap(piece)).await;
            sent.map_err(|_| BackupError::Unwritable(ErrorKind::BrokenPipe.into()))?;
        }
    };
    let taking = async {
        let taken = take_all.await;
        if taken.is_err() {
            // What it says ends with it. It may have ended itself.
            let _ = child.start_kill();
        }
        taken
    };
    let (taken, said) = tokio::join!(taking, listen(stderr));
    taken?;
    let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(match said.trim() {
        "" => format!("it said nothing and ended with {status}"),
        said => first_error(said),
    }))
}

/// A name as a pattern of `pg_dump` that matches only it.
fn literally(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
