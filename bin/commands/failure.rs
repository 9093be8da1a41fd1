//! Why a command did not do what it was asked to: a sentence and a cure for people, a word for programs, and an exit code.

use std::process::ExitCode;

use cura_app::operate::OperateError as _;
use cura_postgres::{Problem, Url};
use cura_store::StoreError;
use serde_json::json;

use super::output::tell;
use crate::program::StartError;

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

    /// Wrong usage that only the command itself can see.
    pub fn usage(detail: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", detail).cure("see --help of the command")
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
    pub(super) fn of_text(exit: Exit, code: &'static str, text: &str) -> Self {
        match text.split_once("; ") {
            Some((detail, cure)) => Self::new(exit, code, detail).cure(cure),
            None => Self::new(exit, code, text),
        }
    }

    /// Why the database cannot be used that the setting `main` names.
    pub fn of_database(problem: &Problem, main: &'static str) -> Self {
        let setting = match problem.url {
            Url::Main => main,
            Url::Direct => "DATABASE_DIRECT_URL",
        };
        let text = format!("{setting} {}", problem.refusal);
        if problem.refusal.is_final() {
            Self::of_text(Exit::Failed, "setting", &text)
        } else {
            Self::of_text(Exit::Away, "database_away", &text)
        }
    }

    /// Writes it to stderr; gives the exit code.
    pub fn tell(self, as_json: bool) -> ExitCode {
        if as_json {
            let error = json!({ "code": self.code, "detail": self.detail, "cure": self.cure });
            tell(format_args!("{}\n", json!({ "error": error })));
        } else {
            for line in self.detail.lines() {
                tell(format_args!("error: {line}\n"));
            }
            if let Some(cure) = self.cure {
                tell(format_args!("cure: {cure}\n"));
            }
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (exit, detail, cure) = match &error {
            StoreError::Unavailable(_) => {
                let detail = "Postgres cannot be reached any more, or accepts no writes";
                (Exit::Away, detail.to_owned(), "see its log, and run the command again")
            }
            StoreError::TookTooLong => {
                let detail = "Postgres did not finish in time".to_owned();
                (Exit::Failed, detail, "run the command again when it has less to do")
            }
            error if error.is_not_allowed() => {
                let detail = "the user of DATABASE_URL lacks the right to do this".to_owned();
                (Exit::Failed, detail, "use the one that owns the tables")
            }
            // The cause may hold values; Postgres' log has it.
            error => (Exit::Failed, error.to_string(), "see the log of Postgres"),
        };
        Self::new(exit, error.code(), detail).cure(cure)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
