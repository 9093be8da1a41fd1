//! The one manner of commands: data on stdout and talk on stderr, `--json` for programs, and exit codes that say what to
//! do.
#![expect(clippy::print_stderr, reason = "a command writes to its standard streams")]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use clap::error::ErrorKind as UsageKind;
use cura_store::{Database, StoreError};
use serde::Serialize;
use serde_json::json;

use crate::migrations;
use crate::program::{self, StartError};
use crate::settings::Settings;
use crate::wiring;

/// The commands whose wrong usage is told in this manner, too.
const COMMANDS: [&str; 2] = ["devices", "files"];

/// How a command ends that did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It failed, or was not confirmed.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// The answer is no.
    No = 3,
    /// What it is about does not exist.
    NotFound = 4,
    /// A dependency is away.
    Away = 5,
}

/// Why a command did not do what it was asked to. It never holds a secret, an address, or a word of a message.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    code: &'static str,
    detail: String,
    cure: Option<String>,
}

impl Failure {
    /// A failure with this word for programs and sentence for people.
    pub fn new(exit: Exit, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            detail: detail.into(),
            cure: None,
        }
    }

    /// What there is to do about it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// This failure, and what another one says: for a command that was given several things to do.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.detail = format!("{}\n{}", self.detail, other.detail);
        self
    }

    /// `text`, which may say behind a semicolon what there is to do.
    fn of_text(exit: Exit, code: &'static str, text: &str) -> Self {
        match text.split_once("; ") {
            Some((detail, cure)) => Self::new(exit, code, detail).cure(cure),
            None => Self::new(exit, code, text),
        }
    }

    /// Writes it to stderr; gives the exit code.
    fn tell(self, as_json: bool) -> ExitCode {
        if as_json {
            let error = json!({ "code": self.code, "detail": self.detail, "cure": self.cure });
            eprintln!("{}", json!({ "error": error }));
        } else {
            for line in self.detail.lines() {
                eprintln!("error: {line}");
            }
            if let Some(cure) = self.cure {
                eprintln!("cure: {cure}");
            }
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::new(Exit::Away, "database_away", "Postgres cannot be reached any more")
                .cure("see its log, and run the command again"),
            StoreError::TookTooLong => Self::new(Exit::Failed, "too_slow", "Postgres did not finish in time")
                .cure("run the command again when it has less to do"),
            error => {
                // The cause may hold values; Postgres' log has it.
                Self::new(Exit::Failed, "failed", error.to_string()).cure("see the log of Postgres")
            }
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let text = error.to_string();
        match error {
            StartError::Other(_) => Self::of_text(Exit::Failed, "failed", &text),
            StartError::Setting(_) | StartError::Settings(_) => Self::of_text(Exit::Failed, "setting", &text),
        }
    }
}

/// Which page of a list is printed.
#[derive(Debug, Clone, Args)]
pub struct PageArguments {
    /// How many items to print.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on behind this one: the `next_cursor` of the page before.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub cursor: Option<i64>,
}

/// A page of a list, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct Listed<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// Where a command writes what it found.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    as_json: bool,
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

    /// Prints a page of a list, and how to get the next one; `id` is that of an item.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn page<T: Serialize>(
        self,
        (items, has_more): (Vec<T>, bool),
        id: impl Fn(&T) -> i64,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        let next_cursor = items.last().filter(|_| has_more).map(|last| id(last).to_string());
        let listed = Listed { items, next_cursor };
        self.value(&listed, |listed| text(&listed.items))?;
        if let Some(cursor) = listed.next_cursor.filter(|_| !self.as_json) {
            eprintln!("there are more: --cursor {cursor}");
        }
        Ok(())
    }
}

/// Runs a command that needs the database, which is there and has every migration; gives the exit code.
pub fn with_database(
    as_json: bool,
    command: impl AsyncFnOnce(&Settings, Database, Output) -> Result<(), Failure>,
) -> ExitCode {
    let mut done = Ok(());
    let outcome = Settings::from_environment()
        .map_err(StartError::from)
        .and_then(|settings| {
            program::start(settings, async |settings| {
                done = async {
                    let database = wiring::database(&settings, "cura-admin")?;
                    check(&database).await?;
                    command(&settings, database, Output { as_json }).await
                }
                .await;
                Ok(())
            })
        });
    match outcome.map_err(Failure::from).and(done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(as_json),
    }
}

/// Whether a command can work with the database. Takes ten seconds at most.
async fn check(database: &Database) -> Result<(), Failure> {
    if let Err(problem) = database.check().await {
        let setting = match problem.url {
            cura_postgres::Url::Main => "DATABASE_URL",
            cura_postgres::Url::Direct => "DATABASE_DIRECT_URL",
        };
        let text = format!("{setting} {}", problem.refusal);
        return Err(if problem.refusal.is_final() {
            Failure::of_text(Exit::Failed, "setting", &text)
        } else {
            Failure::of_text(Exit::Away, "database_away", &text)
        });
    }
    match tokio::time::timeout(std::time::Duration::from_secs(2), migrations::pending(database.pool())).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(_)) => Err(
            Failure::new(Exit::Failed, "migrations_pending", "the database lacks migrations")
                .cure("run `cura-admin migrate up`"),
        ),
        Ok(Err(_)) | Err(_) => Err(Failure::new(
            Exit::Failed,
            "migrations_unknown",
            "DATABASE_URL names a Postgres that does not say which migrations it has",
        )
        .cure("grant this user to read all tables")),
    }
}

/// Asks on a terminal whether to go on, unless `yes`.
///
/// # Errors
/// When it was not confirmed, or there is nobody to ask.
pub fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let refused = |detail| Failure::new(Exit::Failed, "not_confirmed", detail).cure("pass --yes to confirm");
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(refused(what.to_owned()));
    }
    eprint!("{what}. Go on? [y/N] ");
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer) {
        Ok(_) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
        _ => Err(refused("not confirmed; nothing was done".to_owned())),
    }
}

/// Tells that a command was called wrongly, or prints the help that was asked for; gives the exit code.
pub fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_help = matches!(error.kind(), UsageKind::DisplayHelp | UsageKind::DisplayVersion);
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    if !is_help && has("--json") && COMMANDS.iter().any(|command| has(command)) {
        // What is wrong stands before the first empty line.
        let text = error.render().to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        let detail = lines.collect::<Vec<_>>().join(" ");
        let detail = detail.trim_start_matches("error: ");
        let failure = Failure::new(Exit::Usage, "usage", detail).cure("see --help of the command");
        return failure.tell(true);
    }
    // Whether anybody can read it does not matter.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
}

/// Rows below their heads, each column as wide as it has to be.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&heads)
            .chain(rows)
            .map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["1".to_owned(), "ünïcode".to_owned()],
            ["100".to_owned(), "x".to_owned()],
        ];
        assert_eq!(table(["id", "what"], &rows), "id   what\n1    ünïcode\n100  x\n");
    }

    #[test]
    fn the_cure_stands_behind_the_semicolon() {
        let failure = Failure::of_text(Exit::Away, "x", "nothing listens there; start it");
        assert_eq!(
            (failure.detail.as_str(), failure.cure.as_deref()),
            ("nothing listens there", Some("start it"))
        );
        let failure = Failure::of_text(Exit::Away, "x", "nothing listens there");
        assert_eq!((failure.detail.as_str(), failure.cure), ("nothing listens there", None));
    }

    #[test]
    fn without_a_terminal_only_yes_confirms() {
        assert!(confirm(true, "this removes things").is_ok());
    }
}
