//! Man pages, and the list of commands in `docs/CLI.md`: both made of what the commands say of themselves.

use std::fmt::Write;
use std::io;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

/// Writes a man page for each command into a folder.
///
/// # Errors
/// When the folder or a page cannot be written.
pub fn write_pages(command: Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}

/// Every command with its arguments, as Markdown.
pub fn reference(mut command: Command) -> String {
    // Commands know what all of them take once they are built.
    command.build();
    let mut text = String::new();
    describe_all(&command, "cura-admin", &mut text);
    text
}

fn describe_all(command: &Command, path: &str, text: &mut String) {
    for sub in command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    {
        let path = format!("{path} {}", sub.get_name());
        if !sub.is_subcommand_required_set() {
            describe(sub, &path, text);
        }
        describe_all(sub, &path, text);
    }
}

fn describe(command: &Command, path: &str, text: &mut String) {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    // Writing to a string cannot fail.
    let full_stop = if about.ends_with('.') { "" } else { "." };
    let _ = writeln!(text, "### `{path}`\n{about}{full_stop}\n");
    let own = |argument: &&Arg| !argument.is_global_set() && !argument.is_hide_set() && argument.get_id() != "help";
    let mut is_any = false;
    for argument in command.get_arguments().filter(own) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "- `{}`: {help}.{}", form(argument), values(argument));
        is_any = true;
    }
    if is_any {
        text.push('\n');
    }
}

/// How an argument is written.
fn form(argument: &Arg) -> String {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let names = argument.get_value_names().unwrap_or_default();
    let value = names
        .iter()
        .map(|name| format!("<{name}>"))
        .collect::<Vec<_>>()
        .join(" ");
    match argument.get_long() {
        Some(long) if takes_value => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

/// Which values an argument takes, and which one it has if it is not given.
fn values(argument: &Arg) -> String {
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && !["true", "false"].contains(&value.get_name()))
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let default: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let takes_value = argument.get_long().is_some() && matches!(argument.get_action(), ArgAction::Set);
    let mut text = String::new();
    if !possible.is_empty() {
        let _ = write!(text, " One of {}.", possible.join(", "));
    }
    if !default.is_empty() && takes_value {
        let _ = write!(text, " Default: {}.", default.join(", "));
    }
    text
}
