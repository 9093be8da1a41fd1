//! What the end of a child says.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use cura_domain::file::FileReason;
use cura_inspection::{Answer, Request};
use rustix::process::Signal;

/// How a file has killed the child that looked into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// It took all the memory or the whole stack; the standard library ends a process alike for both.
    #[error("the child ran out of memory or stack")]
    Memory,
    /// It took all the time on a processor.
    #[error("the child ran out of processor time")]
    Processor,
    /// It was not done in time.
    #[error("the child took too long")]
    Time,
    /// It tried what is forbidden, as a parser does that was taken over.
    #[error("the child made a forbidden system call")]
    Forbidden,
    /// It ended with an error, or with an answer that is none to what was asked.
    #[error("the child has crashed")]
    Crashed,
}

impl Death {
    /// Why the file has failed. What would take more than is allowed says so; else it is not what readers expect.
    pub const fn reason(self) -> FileReason {
        match self {
            Self::Memory | Self::Processor | Self::Time => FileReason::LimitsExceeded,
            Self::Forbidden | Self::Crashed => FileReason::Unreadable,
        }
    }
}

/// How a child has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By itself, with an answer to what was asked.
    Answered(Answer),
    /// The file has killed it.
    Died(Death),
    /// By a signal from elsewhere: of the kernel, as a machine short of memory sends it, or of an operator.
    Killed,
}

/// What the end says of a child that its parent has not killed.
pub(super) fn judge(request: Request, answer: &[u8], status: ExitStatus) -> Ending {
    if status.success() {
        let answer = Answer::read(answer, request);
        return answer.map_or(Ending::Died(Death::Crashed), Ending::Answered);
    }
    Ending::Died(match status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::ABORT) => Death::Memory,
        Some(Signal::XCPU) => Death::Processor,
        Some(Signal::SYS) => {
            tracing::error!("a file made its parser try a forbidden system call; the sandbox has stopped it");
            Death::Forbidden
        }
        // The child is in a group of its own, which no terminal signals, and cannot send one of these itself.
        Some(Signal::KILL | Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT) => return Ending::Killed,
        _ => Death::Crashed,
    })
}

#[cfg(test)]
mod tests {
    use cura_domain::file_type::FileType;
    use cura_inspection::Wanted;

    use super::*;

    const REQUEST: Request = Request::Inspect {
        file_type: FileType::Pdf,
        wanted: Wanted::Scan,
        size: 9,
    };

    fn answer() -> Vec<u8> {
        let mut bytes = Vec::new();
        Answer::Refused(FileReason::Encrypted).write(&mut bytes).unwrap();
        bytes
    }

    fn signalled(signal: Signal) -> ExitStatus {
        ExitStatus::from_raw(signal.as_raw())
    }

    #[test]
    fn only_a_child_that_ended_well_is_believed() {
        let judged = |status| judge(REQUEST, &answer(), status);
        assert_eq!(
            judged(ExitStatus::from_raw(0)),
            Ending::Answered(Answer::Refused(FileReason::Encrypted))
        );
        for (status, death) in [
            (ExitStatus::from_raw(1 << 8), Death::Crashed),
            (ExitStatus::from_raw(101 << 8), Death::Crashed),
            (signalled(Signal::ABORT), Death::Memory),
            (signalled(Signal::XCPU), Death::Processor),
            (signalled(Signal::SYS), Death::Forbidden),
            (signalled(Signal::SEGV), Death::Crashed),
            (signalled(Signal::BUS), Death::Crashed),
        ] {
            assert_eq!(judged(status), Ending::Died(death), "{status:?}");
        }
    }

    #[test]
    fn what_is_no_answer_to_the_request_is_not_believed() {
        let well = ExitStatus::from_raw(0);
        for (request, answer) in [(REQUEST, &b""[..]), (Request::Probe, &answer())] {
            assert_eq!(judge(request, answer, well), Ending::Died(Death::Crashed));
        }
    }

    #[test]
    fn a_kill_from_elsewhere_says_nothing_of_the_file() {
        for signal in [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
            assert_eq!(judge(REQUEST, &answer(), signalled(signal)), Ending::Killed);
        }
    }

    #[test]
    fn what_took_too_much_is_told_from_what_cannot_be_read() {
        for death in [Death::Memory, Death::Processor, Death::Time] {
            assert_eq!(death.reason(), FileReason::LimitsExceeded);
        }
        for death in [Death::Forbidden, Death::Crashed] {
            assert_eq!(death.reason(), FileReason::Unreadable);
        }
    }
}
