//! The command line of a child, and what it does from its start to its end.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use cura_domain::file::{FileReason, MAX_FILE_BYTES};

use crate::answer::Answer;
use crate::inspect::inspect;
use crate::request::Request;
use crate::{sandbox, text};

/// The hidden argument that makes a program a child. The number of its parent's process follows.
const ARGUMENT: &str = "--inspect-file";
/// Settings of the allocator. Without its background thread, which would need further system calls, and without keeping address
/// space, which is limited here.
const ALLOCATOR: (&str, &str) = ("_RJEM_MALLOC_CONF", "background_thread:false,retain:false,narenas:1");

/// The command that starts `program` as a child of this process: in `/`, without any variable but the allocator's. The caller connects
/// the streams, and throws standard error away: messages of parsers quote what they read.
///
/// The kernel kills the child when the thread ends that has started it. Start it from one that lives as long as the program.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(ARGUMENT)
        .arg(std::process::id().to_string())
        .env_clear()
        .env(ALLOCATOR.0, ALLOCATOR.1)
        .current_dir("/")
        // A group of its own: a signal to the parent's, as a terminal sends to stop a program, is not for the child.
        .process_group(0);
    command
}

/// Inspects the file on standard input and never returns, if this process was started as a child. Call this first in `main`, before
/// any thread starts and any setting is read.
pub fn run_child_if_asked() {
    if std::env::args_os().nth(1).is_none_or(|first| first != ARGUMENT) {
        return;
    }
    // A panic says what was read, and there is nobody to hear it. It ends in an exit code, or is caught.
    std::panic::set_hook(Box::new(|_| {}));
    std::process::exit(i32::from(run().is_err()));
}

/// Why a child ends without an answer: the parent does not listen, or asks what it never would.
struct NoAnswer;

fn run() -> Result<(), NoAnswer> {
    let parent = std::env::args_os().nth(2).ok_or(NoAnswer)?;
    let parent = parent.to_str().and_then(|parent| parent.parse().ok()).ok_or(NoAnswer)?;
    // At its first call, rustix finds out how to ask for the time, by a call that is forbidden later.
    let _ = text::time_taken();
    // Before anything is read.
    let answer = match sandbox::enter(parent) {
        Ok(landlock) => {
            let mut input = std::io::stdin().lock();
            let request = Request::read(&mut input).ok_or(NoAnswer)?;
            match request {
                Request::Probe => Answer::Confined(landlock),
                Request::Inspect { size, .. } if size > MAX_FILE_BYTES => Answer::Refused(FileReason::LimitsExceeded),
                Request::Inspect {
                    file_type,
                    wanted,
                    size,
                } => {
                    let file = read_file(&mut input, size)?;
                    inspect(file_type, wanted, &file)
                }
            }
        }
        Err(error) => Answer::NoSandbox(error.to_string()),
    };
    let mut output = std::io::stdout().lock();
    answer.write(&mut output).map_err(|_| NoAnswer)?;
    output.flush().map_err(|_| NoAnswer)
}

/// The file, all of it: a part of one could look harmless.
fn read_file(input: &mut impl Read, size: u64) -> Result<Vec<u8>, NoAnswer> {
    let mut file = Vec::with_capacity(usize::try_from(size).map_err(|_| NoAnswer)?);
    input.take(size + 1).read_to_end(&mut file).map_err(|_| NoAnswer)?;
    (file.len() as u64 == size).then_some(file).ok_or(NoAnswer)
}
