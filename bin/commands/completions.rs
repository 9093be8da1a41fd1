//! `cura-admin completions`: what a shell needs to complete commands.

use std::io;

use clap::Command;
use clap_complete::Shell;

/// Writes the completions of `command` for a shell to stdout.
pub fn print(shell: Shell, mut command: Command) {
    clap_complete::generate(shell, &mut command, "cura-admin", &mut io::stdout());
}
