use std::mem::offset_of;

use libc::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE, SIGABRT, SIGKILL, SIGTERM};

use super::*;

fn program_for(processor: &str) -> BpfProgram {
    let processor = processor.try_into().unwrap();
    let filter = SeccompFilter::new(
        rules().unwrap(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        processor,
    );
    filter.unwrap().try_into().unwrap()
}

#[test]
fn there_is_a_filter_for_both_processors_that_programs_are_built_for() {
    for processor in ["x86_64", "aarch64"] {
        assert!(!program_for(processor).is_empty());
    }
}

/// What the kernel makes of a system call: runs the filter as it does.
fn is_allowed(call: c_long, arguments: [i64; 6]) -> bool {
    let data = |at: usize| -> u32 {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => 0xc000_003e,
            _ => 0xc000_00b7,
        };
        let first = offset_of!(libc::seccomp_data, args);
        match at {
            at if at == offset_of!(libc::seccomp_data, nr) => u32::try_from(call).unwrap(),
            at if at == offset_of!(libc::seccomp_data, arch) => architecture,
            at if at >= first => {
                let bytes = arguments[(at - first) / 8].to_le_bytes();
                let from = (at - first) % 8;
                u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap())
            }
            _ => panic!("nothing else is read"),
        }
    };
    let program = program_for(std::env::consts::ARCH);
    let (mut at, mut register) = (0, 0);
    loop {
        let step = &program[at];
        at += 1;
        let mut jump = |is: bool| at += usize::from(if is { step.jt } else { step.jf });
        match step.code {
            0x20 => register = data(usize::try_from(step.k).unwrap()),
            0x54 => register &= step.k,
            0x05 => at += usize::try_from(step.k).unwrap(),
            0x15 => jump(register == step.k),
            0x25 => jump(register > step.k),
            0x35 => jump(register >= step.k),
            0x06 => return step.k == libc::SECCOMP_RET_ALLOW,
            other => panic!("an instruction that is not known here: {other:#x}"),
        }
    }
}

#[test]
fn only_the_standard_streams_are_read_and_written_and_only_own_memory_is_mapped() {
    assert!(is_allowed(libc::SYS_read, [0; 6]));
    assert!((0..3).all(|number| is_allowed(libc::SYS_write, [number, 0, 0, 0, 0, 0])));
    for number in [3, 4, 1_000, -1] {
        for call in [libc::SYS_read, libc::SYS_write, libc::SYS_writev] {
            assert!(!is_allowed(call, [number, 0, 0, 0, 0, 0]), "{call} {number}");
        }
    }
    let map = |protection, kind| is_allowed(libc::SYS_mmap, [0, 9, protection, kind, 7, 0].map(i64::from));
    assert!(map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
    assert!(!map(PROT_READ, MAP_PRIVATE));
    assert!(!map(PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS));
    // What would make another descriptor one of these.
    for call in [
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_fcntl,
        libc::SYS_pread64,
        libc::SYS_recvmsg,
        libc::SYS_prctl,
    ] {
        assert!(!is_allowed(call, [0; 6]), "{call}");
    }
}

#[test]
fn it_sends_a_signal_to_nobody_and_to_itself_only_the_one_of_an_abort() {
    let own = i64::from(std::process::id());
    let send = |to, signal| is_allowed(libc::SYS_tgkill, [to, to, i64::from(signal), 0, 0, 0]);
    assert!(send(own, SIGABRT));
    assert!(!send(own + 1, SIGABRT));
    for signal in [SIGKILL, SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, 0] {
        assert!(!send(own, signal), "{signal}");
        for call in [libc::SYS_kill, libc::SYS_tkill] {
            assert!(
                !is_allowed(call, [own, i64::from(signal), 0, 0, 0, 0]),
                "{call} {signal}"
            );
        }
    }
}
