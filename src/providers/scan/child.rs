//! The parent of the sandboxed children that look into files, one process for each file.
//!
//! Whatever a file does to its child, it costs at most [`TIME_LIMIT`] and `cura_inspection`'s limits, and this process at most
//! 20 MiB of memory: the file is passed on piece by piece, and the answer is bounded. A caller that is dropped kills its child.

mod ending;
mod exchange;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_inspection::sandbox::Landlock;
use cura_inspection::{Answer, Inspected, Request, Wanted};
use thiserror::Error;
use tokio::io::AsyncRead;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub use ending::Death;
use exchange::{Broken, Exchange};

/// How long a child may take in all. The largest photos take two seconds, and the kernel allows ten on a processor.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);
/// How long a probe may take. It takes milliseconds, or seconds on a machine that is overloaded.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// This program, even if another one lies at its path now.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Starts children, no more than so many at a time; further callers wait.
#[derive(Debug)]
pub struct Inspector {
    program: PathBuf,
    permits: Semaphore,
}

/// What came of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// It was looked into.
    Inspected(Box<Inspected>),
    /// Nothing can be made of it.
    Refused(FileReason),
    /// It has killed its child.
    Died(Death),
    /// Nothing has looked at it, because children cannot be confined here. For operators.
    NoSandbox(String),
}

/// Why nothing is known of a file. Trying again may help.
#[derive(Debug, Error)]
pub enum InspectError {
    /// No process can be started.
    #[error("no child can be started: {0}")]
    Start(#[source] std::io::Error),
    /// The file cannot be read, or has not the size that was given.
    #[error("the file cannot be read: {0}")]
    File(#[source] std::io::Error),
    /// Somebody else has killed the child, as a machine does that is short of memory.
    #[error("the child was killed")]
    Killed,
    /// The child cannot be followed.
    #[error("the child cannot be followed: {0}")]
    Lost(#[source] std::io::Error),
}

/// Whether files can be looked into here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxState {
    /// They can, behind this much of Landlock.
    Works(Landlock),
    /// They cannot; says why.
    Missing(String),
}

impl Inspector {
    /// Children are started from this program, whose `main` begins with [`cura_inspection::run_child_if_asked`].
    pub fn new(at_once: usize) -> Self {
        Self::with_program(Path::new(OWN_PROGRAM), at_once)
    }

    /// Children are started from another program, which does the same.
    pub fn with_program(program: &Path, at_once: usize) -> Self {
        Self {
            program: program.to_owned(),
            permits: Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// Looks into a file of `size` bytes, which should lie on a disk: time that its reading takes is the child's.
    ///
    /// # Errors
    /// If nothing is known of the file.
    pub async fn inspect(
        &self,
        file_type: FileType,
        wanted: Wanted,
        file: impl AsyncRead + Unpin,
        size: u64,
    ) -> Result<Inspection, InspectError> {
        let request = Request::Inspect {
            file_type,
            wanted,
            size,
        };
        Ok(match self.ask(request, file, size, TIME_LIMIT).await? {
            Ok(Answer::Inspected(inspected)) => Inspection::Inspected(Box::new(inspected)),
            Ok(Answer::Refused(reason)) => Inspection::Refused(reason),
            Ok(Answer::NoSandbox(why)) => Inspection::NoSandbox(why),
            // Nobody has asked for that.
            Ok(Answer::Confined(_)) => Inspection::Died(Death::Crashed),
            Err(death) => Inspection::Died(death),
        })
    }

    /// Whether children can be confined here. Starts one that does nothing else.
    pub async fn probe(&self) -> SandboxState {
        match self.ask(Request::Probe, tokio::io::empty(), 0, PROBE_LIMIT).await {
            Ok(Ok(Answer::Confined(landlock))) => SandboxState::Works(landlock),
            Ok(Ok(Answer::NoSandbox(why))) => SandboxState::Missing(why),
            Ok(Ok(_)) => SandboxState::Missing("the child has answered something else".into()),
            Ok(Err(death)) => SandboxState::Missing(death.to_string()),
            Err(error) => SandboxState::Missing(error.to_string()),
        }
    }

    /// Starts a child and gives its answer, or how it has died. It has ended then.
    async fn ask(
        &self,
        request: Request,
        file: impl AsyncRead + Unpin,
        size: u64,
        limit: Duration,
    ) -> Result<Result<Answer, Death>, InspectError> {
        // The semaphore is never closed.
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| InspectError::Start(std::io::Error::other(error)))?;
        let mut child = self.start().map_err(InspectError::Start)?;
        let deadline = Instant::now() + limit;
        let mut exchange = Exchange::new(&mut child, request, file, size);
        let outcome = timeout_at(deadline, exchange.run()).await;
        let waits_for_file = exchange.is_unfinished();
        drop(exchange);
        match outcome {
            Ok(Ok(answer)) => match timeout_at(deadline, child.wait()).await {
                Ok(status) => ending::judge(&answer, status.map_err(InspectError::Lost)?),
                Err(_) => end(&mut child).await.map(|()| Err(Death::Time)),
            },
            Ok(Err(Broken::TooLong)) => end(&mut child).await.map(|()| Err(Death::Crashed)),
            Ok(Err(Broken::Failed(error))) => end(&mut child).await.and(Err(error)),
            Err(_) if waits_for_file => {
                let error = InspectError::File(std::io::ErrorKind::TimedOut.into());
                end(&mut child).await.and(Err(error))
            }
            Err(_) => end(&mut child).await.map(|()| Err(Death::Time)),
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        Command::from(cura_inspection::command(&self.program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }
}

/// Kills a child and waits until it is gone.
async fn end(child: &mut Child) -> Result<(), InspectError> {
    child.kill().await.map_err(InspectError::Lost)
}
