//! What the child gives up before it reads anything: memory and time beyond a limit, every file, every connection, every process.
//!
//! Limits come first, then Landlock, then the filter of system calls, after which nothing can be undone. All of it holds for every
//! thread and for good. The filter alone is enough to keep a taken-over parser in; Landlock is a second wall where there is one.
//!
//! A descriptor that whoever started the parent has left open stays open here: closing one by its number is nothing that safe code
//! does. It is of no use to the child. The filter lets it read from 0 and write to 0–2 only, map no file and duplicate nothing.

mod limits;
mod system_calls;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use limits::{MEMORY_BYTES, PROCESSOR_SECONDS};

/// The newest Landlock that the rules are written for; an older kernel enforces the part that it knows.
const LANDLOCK: ABI = ABI::V6;

/// How much of Landlock the kernel enforces, beside the filter of system calls, which is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Landlock {
    /// All that is asked for.
    Full,
    /// What an older kernel knows.
    Partial,
    /// Nothing: the kernel has none, or it is switched off.
    Absent,
}

/// Why this process cannot be confined. It must not parse anything then.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// A limit cannot be set.
    #[error("a resource limit cannot be set: {0}")]
    Limits(#[from] rustix::io::Errno),
    /// Nobody waits for this process: it would run on without anybody to end it.
    #[error("the parent is gone, or is in another PID namespace")]
    NoParent,
    /// Landlock fails, which a kernel without it does not.
    #[error("Landlock fails: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The kernel does not filter system calls, or there is no filter for this processor.
    #[error("system calls cannot be filtered: {0}")]
    Seccomp(String),
}

/// Confines this process, all of its threads, for good. It ends as soon as its parent does, which is the process `parent`.
///
/// # Errors
/// If the kernel cannot do it, or the parent has ended already. Some limits may hold already then.
pub fn enter(parent: u32) -> Result<Landlock, SandboxError> {
    // A machine that is short of memory then ends this process, and not the one that serves everybody. Where it cannot be said, nothing
    // is lost.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    limits::set()?;
    rustix::thread::set_no_new_privs(true)?;
    let landlock = deny_files_and_connections()?;
    // Behind Landlock, whose rules need a descriptor while they are made, of whatever number is free.
    limits::open_no_more()?;
    end_with(parent)?;
    system_calls::restrict()?;
    Ok(landlock)
}

/// Has the kernel kill this process when the parent ends, which then cannot do it. Asks afterwards whether it has ended before.
fn end_with(parent: u32) -> Result<(), SandboxError> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_there = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_pid()) == Ok(parent));
    is_there.then_some(()).ok_or(SandboxError::NoParent)
}

/// Denies all that Landlock knows of, as nothing is allowed by a rule. Holds for this thread; the filter holds for all.
fn deny_files_and_connections() -> Result<Landlock, landlock::RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Absent,
    })
}
