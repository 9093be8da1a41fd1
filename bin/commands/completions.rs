//! `cura-admin completions`: what a shell needs to complete commands.

use std::io::{self, Write as _};

use clap::Command;
use clap_complete::Shell;

/// Writes the completions of `command` for a shell to stdout.
pub fn print(shell: Shell, mut command: Command) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "cura-admin", &mut text);
    // Whether anybody still reads it does not matter.
    let _ = io::stdout().write_all(&text);
}
