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
    let own_process = u64::from(std::process::id());
    let executable = SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs()));
    for (call, argument, is, value) in [
        (libc::SYS_read, 0, SeccompCmpOp::Eq, STDIN),
        (libc::SYS_write, 0, SeccompCmpOp::Le, STDERR),
        (libc::SYS_writev, 0, SeccompCmpOp::Le, STDERR),
        // Memory is never made executable.
        (libc::SYS_mmap, 2, executable.clone(), 0),
        (libc::SYS_mprotect, 2, executable, 0),
        // `abort` sends itself a signal, so that its end is told from a forbidden call.
        (libc::SYS_tgkill, 0, SeccompCmpOp::Eq, own_process),
    ] {
        let mut conditions = vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)?];
        if call == libc::SYS_mmap {
            // Of no file either, as one that whoever started the parent has left open.
            let own = u64::from(libc::MAP_ANONYMOUS.unsigned_abs());
            let is_own = SeccompCmpOp::MaskedEq(own);
            conditions.push(SeccompCondition::new(3, SeccompCmpArgLen::Dword, is_own, own)?);
        }
        rules.insert(call, vec![SeccompRule::new(conditions)?]);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_filter_for_both_processors_that_programs_are_built_for() {
        for processor in ["x86_64", "aarch64"] {
            let processor = processor.try_into().unwrap();
            let filter = SeccompFilter::new(
                rules().unwrap(),
                SeccompAction::KillProcess,
                SeccompAction::Allow,
                processor,
            );
            let program: BpfProgram = filter.unwrap().try_into().unwrap();
            assert!(!program.is_empty());
        }
    }
}
