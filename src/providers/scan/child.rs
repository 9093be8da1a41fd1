//! The parent of the sandboxed children that look into files, one process for each file.
//!
//! Whatever a file does to its child, it costs at most [`TIME_LIMIT`] and `cura_inspection`'s limits, and this process at most
//! 20 MiB of memory: the file is passed on piece by piece, and the answer is bounded. A caller that is dropped kills its child, and
//! the kernel does when this process ends. A file whose child is killed from elsewhere gets another, three in all.

mod ending;
mod exchange;

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_inspection::sandbox::Landlock;
use cura_inspection::{Answer, Inspected, Request, Wanted};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncSeek, AsyncSeekExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub use ending::Death;
use ending::{Ending, judge};
use exchange::{Broken, Exchange};

/// How long a child may take in all. The largest photos take two seconds, and the kernel allows ten on a processor.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);
/// How long a probe may take. It takes milliseconds, or seconds on a machine that is overloaded.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// How many children are started for a file at most, if they are killed one after the other.
const MAX_CHILDREN: u32 = 3;
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

    /// Looks into a file of `size` bytes, from its first one on. It should lie on a disk: time that its reading takes is the child's.
    ///
    /// # Errors
    /// If nothing is known of the file.
    pub async fn inspect(
        &self,
        file_type: FileType,
        wanted: Wanted,
        mut file: impl AsyncRead + AsyncSeek + Unpin,
        size: u64,
    ) -> Result<Inspection, InspectError> {
        let request = Request::Inspect {
            file_type,
            wanted,
            size,
        };
        for _ in 0..MAX_CHILDREN {
            file.seek(SeekFrom::Start(0)).await.map_err(InspectError::File)?;
            let answer = match self.ask(request, &mut file, size, TIME_LIMIT).await? {
                Ending::Answered(answer) => answer,
                Ending::Died(death) => return Ok(Inspection::Died(death)),
                Ending::Killed => {
                    tracing::warn!(file_type = file_type.as_str(), "a child was killed from elsewhere");
                    continue;
                }
            };
            return Ok(match answer {
                Answer::Inspected(inspected) => Inspection::Inspected(Box::new(inspected)),
                Answer::Refused(reason) => Inspection::Refused(reason),
                Answer::NoSandbox(_) => self.without_sandbox().await,
                // Nobody has asked for that.
                Answer::Confined(_) => Inspection::Died(Death::Crashed),
            });
        }
        // A machine that is short of memory kills what takes most of it: the child with this file. Were the file to wait, it would be
        // looked into for a day, and end others each time.
        Ok(Inspection::Died(Death::Memory))
    }

    /// What came of a file whose child says that it cannot be confined. A parser that was taken over could say so to keep its file from
    /// ever being judged; a child that gets no file cannot be.
    async fn without_sandbox(&self) -> Inspection {
        match self.probe().await {
            SandboxState::Missing(why) => Inspection::NoSandbox(why),
            SandboxState::Works(_) => Inspection::Died(Death::Crashed),
        }
    }

    /// Whether children can be confined here. Starts one that does nothing else.
    pub async fn probe(&self) -> SandboxState {
        match self.ask(Request::Probe, tokio::io::empty(), 0, PROBE_LIMIT).await {
            Ok(Ending::Answered(Answer::Confined(landlock))) => SandboxState::Works(landlock),
            Ok(Ending::Answered(Answer::NoSandbox(why))) => SandboxState::Missing(why),
            Ok(Ending::Answered(_)) => SandboxState::Missing("the child has answered something else".into()),
            Ok(Ending::Died(death)) => SandboxState::Missing(death.to_string()),
            Ok(Ending::Killed) => SandboxState::Missing("the child was killed".into()),
            Err(error) => SandboxState::Missing(error.to_string()),
        }
    }

    /// Starts a child and gives its end.
    async fn ask(
        &self,
        request: Request,
        file: impl AsyncRead + Unpin,
        size: u64,
        limit: Duration,
    ) -> Result<Ending, InspectError> {
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
                Ok(status) => Ok(judge(request, &answer, status.map_err(InspectError::Lost)?)),
                Err(_) => end(&mut child).await.map(|()| Ending::Died(Death::Time)),
            },
            Ok(Err(Broken::TooLong)) => end(&mut child).await.map(|()| Ending::Died(Death::Crashed)),
            Ok(Err(Broken::Failed(error))) => end(&mut child).await.and(Err(error)),
            Err(_) if waits_for_file => {
                let error = InspectError::File(std::io::ErrorKind::TimedOut.into());
                end(&mut child).await.and(Err(error))
            }
            Err(_) => end(&mut child).await.map(|()| Ending::Died(Death::Time)),
        }
    }

    /// Starts a child from the thread that polls the caller: one of the runtime's, or the one that has built it. Both end with the
    /// runtime, as nothing here runs tasks on threads for blocking work. That matters, as the kernel kills a child with its thread.
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
