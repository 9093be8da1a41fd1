//! The command line of a supervisor process.

use std::path::Path;
use std::process::Command;

use crate::profile::Profile;
use crate::supervisor;

/// The hidden argument that makes a program a supervisor.
const SUPERVISOR_ARGUMENT: &str = "--supervise-private-postgres";

/// The command that starts `program` as the supervisor of the server below `data_root`.
pub(crate) fn supervisor_command(program: &Path, profile: Profile, data_root: &Path) -> Command {
    let mut command = Command::new(program);
    let profile = match profile {
        Profile::Durable => "durable",
        Profile::Throwaway => "throwaway",
    };
    command.arg(SUPERVISOR_ARGUMENT).arg(profile).arg(data_root);
    command
}

/// Runs the supervisor and never returns, if this process was started as one. Call this first in `main`, before any runtime
/// starts.
pub fn run_supervisor_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != SUPERVISOR_ARGUMENT) {
        return;
    }
    let profile = match arguments.next() {
        Some(profile) if profile == "throwaway" => Profile::Throwaway,
        _ => Profile::Durable,
    };
    let Some(data_root) = arguments.next() else {
        std::process::exit(2)
    };
    std::process::exit(supervisor::run(Path::new(&data_root), profile));
}
