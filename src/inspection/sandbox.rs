//! What the child gives up before it reads anything: memory and time beyond a limit, every file, every connection, every process.
//!
//! Limits come first, then Landlock, then the filter of system calls, after which nothing can be undone. All of it holds for every
//! thread and for good. The filter alone is enough to keep a taken-over parser in; Landlock is a second wall where there is one.

mod limits;
mod system_calls;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
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
    /// Landlock fails, which a kernel without it does not.
    #[error("Landlock fails: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The kernel does not filter system calls, or there is no filter for this processor.
    #[error("system calls cannot be filtered: {0}")]
    Seccomp(String),
}

/// Confines this process, all of its threads, for good.
///
/// # Errors
/// If the kernel cannot do it. Some limits may hold already then.
pub fn enter() -> Result<Landlock, SandboxError> {
    limits::set()?;
    rustix::thread::set_no_new_privs(true)?;
    let landlock = deny_files_and_connections()?;
    system_calls::restrict()?;
    Ok(landlock)
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
