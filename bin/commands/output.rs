//! The one manner of commands: data on stdout and talk on stderr, `--json` for programs, `--yes` for scripts.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use clap::error::ErrorKind as UsageKind;
use serde::Serialize;

use super::failure::{Exit, Failure};

/// What every command takes.
#[derive(Debug, Clone, Copy, Args)]
pub struct GlobalArguments {
    /// Write data and errors as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Confirm whatever the command would ask about.
    #[arg(long, global = true)]
    pub yes: bool,
}

/// Which page of a list is printed.
#[derive(Debug, Clone, Args)]
pub struct PageArguments {
    /// How many items to print.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on behind this one: the `next_cursor` of the page before.
    #[arg(long)]
    pub cursor: Option<String>,
}

impl PageArguments {
    /// Behind which item the page begins.
    ///
    /// # Errors
    /// When the cursor is not one of this list.
    pub fn after<T: FromStr>(&self) -> Result<Option<T>, Failure> {
        let parsed = self.cursor.as_deref().map(str::parse).transpose();
        parsed.map_err(|_| Failure::usage("--cursor is not the next_cursor of such a list"))
    }
}

/// A page of a list, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Listed<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// Where a command writes what it found, and how it asks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    as_json: bool,
    is_confirmed: bool,
}

impl From<GlobalArguments> for Output {
    fn from(global: GlobalArguments) -> Self {
        Self {
            as_json: global.json,
            is_confirmed: global.yes,
        }
    }
}

impl Output {
    /// Prints one value: as JSON, or as the text that it is for people.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn value<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = if self.as_json {
            serde_json::to_string(value).map_err(|error| Failure::new(Exit::Failed, "failed", error.to_string()))?
        } else {
            text(value)
        };
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
            // Whoever reads has seen enough, as `head` does.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
                Exit::Failed,
                "output",
                format!("stdout takes no output: {error}"),
            )),
            _ => Ok(()),
        }
    }

    /// Prints a page of a list, and how to get the next one; `cursor` is that of an item.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn page<T: Serialize, C: ToString>(
        self,
        (items, has_more): (Vec<T>, bool),
        cursor: impl Fn(&T) -> C,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        let next_cursor = items.last().filter(|_| has_more).map(|last| cursor(last).to_string());
        let listed = Listed { items, next_cursor };
        self.value(&listed, |listed| text(&listed.items))?;
        if let Some(cursor) = listed.next_cursor.filter(|_| !self.as_json) {
            tell(format_args!("there are more: --cursor {cursor}\n"));
        }
        Ok(())
    }

    /// Says something to the person at the terminal, which is no data; nothing to programs.
    pub fn say(self, what: &str) {
        if !self.as_json {
            tell(format_args!("{what}\n"));
        }
    }

    /// Whether a person watches, to whom progress can be shown.
    pub fn is_watched(self) -> bool {
        !self.as_json && io::stderr().is_terminal()
    }

    /// Shows on a terminal how far a command is, in place of what it showed before.
    pub fn progress(self, what: &str) {
        if self.is_watched() {
            tell(format_args!("\r{what}\u{1b}[K"));
        }
    }

    /// Asks on a terminal whether to go on, unless `--yes` was given.
    ///
    /// # Errors
    /// When it was not confirmed, or there is nobody to ask.
    pub fn confirm(self, what: &str) -> Result<(), Failure> {
        if self.is_confirmed {
            return Ok(());
        }
        let refused = |detail| Failure::new(Exit::Failed, "not_confirmed", detail).cure("pass --yes to confirm");
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(refused(what.to_owned()));
        }
        tell(format_args!("{what}. Go on? [y/N] "));
        let mut answer = String::new();
        match io::stdin().lock().read_line(&mut answer) {
            Ok(_) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
            _ => Err(refused("not confirmed; nothing was done".to_owned())),
        }
    }
}

/// Writes talk to stderr. Whether anybody can read it does not matter: a closed pipe ends no command in the middle.
pub fn tell(what: fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(what);
}

/// Tells that a command was called wrongly, or prints the help that was asked for; gives the exit code.
pub fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_help = matches!(error.kind(), UsageKind::DisplayHelp | UsageKind::DisplayVersion);
    if !is_help && arguments.iter().any(|argument| argument == "--json") {
        // What is wrong stands before the first empty line.
        let text = error.render().to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        let detail = lines.collect::<Vec<_>>().join(" ");
        return Failure::usage(detail.trim_start_matches("error: ")).tell(true);
    }
    // Whether anybody can read it does not matter.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_only_yes_confirms() {
        let output = |yes| Output::from(GlobalArguments { json: false, yes });
        assert!(output(true).confirm("this removes things").is_ok());
    }

    #[test]
    fn a_cursor_of_another_list_is_wrong_usage() {
        let page = |cursor: &str| PageArguments {
            limit: 1,
            cursor: Some(cursor.to_owned()),
        };
        assert_eq!(page("7").after::<i64>().ok(), Some(Some(7)));
        assert!(page("x").after::<i64>().is_err());
    }
}
