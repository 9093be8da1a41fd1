//! How a command gets a new password: by a prompt, from stdin, or from `CURA_PASSWORD`; never as an argument, which other users of the
//! machine see and shells remember.

use std::env::VarError;
use std::io::{self, BufRead as _, IsTerminal, Read as _};

use clap::Args;
use cura_domain::account::NewPassword;
use cura_providers::Secret;
use secrecy::ExposeSecret;

use super::failure::{Exit, Failure};
use super::output::tell;

/// The longest input that is read for a password, in bytes: 128 characters, however they are encoded, and a line's end.
const MAX_INPUT_BYTES: u64 = 4096;

/// Where the password comes from.
#[derive(Debug, Clone, Copy, Args)]
pub struct PasswordArguments {
    /// Read the password from stdin: its first line. Without it, CURA_PASSWORD is taken if it is set; else the command asks.
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordArguments {
    /// The password, by the rules of registering.
    ///
    /// # Errors
    /// When there is none, or it breaks a rule. It is never shown.
    pub fn read(self) -> Result<NewPassword, Failure> {
        let given = if self.password_stdin {
            from_stdin()?
        } else if let Some(password) = from_environment()? {
            password
        } else {
            prompt()?
        };
        NewPassword::new(given.expose_secret())
            .map_err(|weakness| Failure::new(Exit::Failed, "weak_password", format!("the password {weakness}")))
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        "no_password",
        format!("the password cannot be read: {}", error.kind()),
    )
}

/// What `CURA_PASSWORD` says; it is no setting, and no `.env` has it.
fn from_environment() -> Result<Option<Secret>, Failure> {
    #[expect(clippy::disallowed_methods, reason = "what is given to one command is no setting")]
    let given = std::env::var("CURA_PASSWORD");
    match given {
        Ok(password) if password.is_empty() => Ok(None),
        Ok(password) => Ok(Some(Secret::from(password))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            let unreadable = Failure::new(Exit::Failed, "no_password", "CURA_PASSWORD is not UTF-8");
            Err(unreadable.cure("pass --password-stdin"))
        }
    }
}

fn from_stdin() -> Result<Secret, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().take(MAX_INPUT_BYTES).read_line(&mut line);
    read.map_err(|error| unreadable(&error))?;
    Ok(Secret::from(line.lines().next().unwrap_or_default()))
}

/// Asks twice at the terminal, which does not show what is typed.
fn prompt() -> Result<Secret, Failure> {
    if !io::stdin().is_terminal() {
        let none = Failure::new(Exit::Failed, "no_password", "there is nobody to ask for the password");
        return Err(none.cure("pass --password-stdin, or set CURA_PASSWORD"));
    }
    tell(format_args!("New password: "));
    let first = rpassword::read_password().map_err(|error| unreadable(&error))?;
    tell(format_args!("Again: "));
    let second = rpassword::read_password().map_err(|error| unreadable(&error))?;
    if first != second {
        return Err(Failure::new(
            Exit::Failed,
            "passwords_differ",
            "the two passwords are not the same; nothing was done",
        ));
    }
    Ok(Secret::from(first))
}
