//! The system calls that the child may make: its standard streams, memory, and its end. Any other ends it with SIGSYS.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

use super::SandboxError;

/// Allowed whatever their arguments. Every one has the same name on x86_64 and aarch64.
const ALLOWED: [c_long; 15] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
];
/// The handlers of signals, which `abort` resets and the standard library takes down at the end of a process.
const SIGNALS: [c_long; 2] = [libc::SYS_rt_sigaction, libc::SYS_sigaltstack];
const STDIN: u64 = 0;
const STDERR: u64 = 2;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Allows nothing but what is listed here, in every thread of this process.
pub(super) fn restrict() -> Result<(), SandboxError> {
    let refused = |error: &dyn std::fmt::Display| SandboxError::Seccomp(error.to_string());
    let program = filter().map_err(|error| refused(&error))?;
    apply_filter_all_threads(&program).map_err(|error| refused(&error))
}

fn filter() -> Result<BpfProgram, BackendError> {
    let processor = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules()?, SeccompAction::KillProcess, SeccompAction::Allow, processor)?.try_into()
}

fn rules() -> Result<Rules, BackendError> {
    let mut rules: Rules = ALLOWED.iter().chain(&SIGNALS).map(|call| (*call, Vec::new())).collect();
    let argument = |number, is, value| SeccompCondition::new(number, SeccompCmpArgLen::Dword, is, value);
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let own_memory = u64::from(libc::MAP_ANONYMOUS.unsigned_abs());
    let own_process = u64::from(std::process::id());
    let never_executable = argument(2, SeccompCmpOp::MaskedEq(executable), 0)?;
    for (call, conditions) in [
        (libc::SYS_read, vec![argument(0, SeccompCmpOp::Eq, STDIN)?]),
        (libc::SYS_write, vec![argument(0, SeccompCmpOp::Le, STDERR)?]),
        (libc::SYS_writev, vec![argument(0, SeccompCmpOp::Le, STDERR)?]),
        (libc::SYS_mprotect, vec![never_executable.clone()]),
        // Of no file, as one that whoever started the parent has left open.
        (
            libc::SYS_mmap,
            vec![
                never_executable,
                argument(3, SeccompCmpOp::MaskedEq(own_memory), own_memory)?,
            ],
        ),
        // `abort` sends itself a signal, so that its end is told from a forbidden call. With any other signal, a parser that was taken
        // over could end as one does that was killed from elsewhere.
        (
            libc::SYS_tgkill,
            vec![
                argument(0, SeccompCmpOp::Eq, own_process)?,
                argument(2, SeccompCmpOp::Eq, u64::from(libc::SIGABRT.unsigned_abs()))?,
            ],
        ),
    ] {
        rules.insert(call, vec![SeccompRule::new(conditions)?]);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests;
