//! Runs `pg_restore`, which does all of it in one transaction: if anything fails, or this process dies, nothing of it has happened.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use cura_devdb::ClientProgram;
use tokio::runtime::Handle;

use crate::error::BackupError;
use crate::manifest::Manifest;
use crate::program_output::{self, first_error};

/// The program.
const NAME: &str = "pg_restore";

/// The first version whose `pg_restore` sets what older servers do not know (`transaction_timeout`), and fails by that.
const FIRST_WITH_NEW_SETTINGS: u32 = 17;

/// Whether programs of this version send a server what it does not know.
pub(crate) fn is_too_new(client: u32, server: u32) -> bool {
    client >= FIRST_WITH_NEW_SETTINGS && server < FIRST_WITH_NEW_SETTINGS
}

/// The `pg_restore` for an archive and a server. Blocks for a moment.
///
/// # Errors
/// When there is none that can do it.
pub fn find_pg_restore(archive: &Manifest, server: u32) -> Result<ClientProgram, BackupError> {
    if server < archive.postgres {
        return Err(BackupError::OldServer {
            server,
            archive: archive.postgres,
        });
    }
    let program = ClientProgram::find(NAME, server)?;
    if program.major < archive.pg_dump {
        return Err(BackupError::OldClient {
            client: program.major,
            archive: archive.pg_dump,
        });
    }
    if is_too_new(program.major, server) {
        return Err(BackupError::OtherClient {
            program: NAME,
            client: program.major,
            server,
        });
    }
    Ok(program)
}

/// A `pg_restore` that is being given a dump.
pub struct Restoring {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Option<JoinHandle<String>>,
}

impl Restoring {
    /// Begins to restore into the database of this URL, as its user. Blocks, within a runtime.
    ///
    /// # Errors
    /// When `pg_restore` cannot be started.
    pub fn begin(program: &ClientProgram, url: &str) -> Result<Self, BackupError> {
        let variables = cura_postgres::libpq_environment(url).ok_or(BackupError::Url(NAME))?;
        let mut command: Command = program_output::command(program, &variables).into_std();
        let database = variables.iter().find(|(name, _)| *name == "PGDATABASE");
        let user = variables.iter().find(|(name, _)| *name == "PGUSER");
        let (_, database) = database.or(user).ok_or(BackupError::Url(NAME))?;
        let name = database.replace('\\', "\\\\").replace('\'', "\\'");
        command
            .args([
                "--format=custom",
                "--no-owner",
                "--no-acl",
                "--no-comments",
                "--no-password",
            ])
            .args(["--exit-on-error", "--single-transaction"])
            .arg(format!("--dbname=dbname='{name}'"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let stdin = child.stdin.take();
        let said = child.stderr.take().map(|stderr| {
            let handle = Handle::current();
            std::thread::spawn(move || {
                let _entered = handle.enter();
                tokio::process::ChildStderr::from_std(stderr)
                    .map(|stderr| handle.block_on(program_output::listen(stderr)))
                    .unwrap_or_default()
            })
        });
        Ok(Self { child, stdin, said })
    }

    /// Gives it the next bytes of the dump. Blocks.
    ///
    /// # Errors
    /// When it has failed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        match stdin.write_all(bytes) {
            Ok(()) => Ok(()),
            // It says itself why it reads no more.
            Err(_) => self.end(),
        }
    }

    /// Waits until it has restored everything. Blocks.
    ///
    /// # Errors
    /// When it has failed: nothing is restored then.
    pub fn end(&mut self) -> Result<(), BackupError> {
        self.stdin = None;
        let status = self.child.wait().map_err(failed)?;
        let said = self.said.take().and_then(|said| said.join().ok());
        if status.success() {
            return Ok(());
        }
        Err(BackupError::Program {
            program: NAME,
            said: first_error(&said.unwrap_or_default()),
        })
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        // Before its input ends, so that it never takes half of a dump for all of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(error: std::io::Error) -> BackupError {
    BackupError::Program {
        program: NAME,
        said: error.to_string(),
    }
}
