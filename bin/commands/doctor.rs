//! `cura-admin doctor`: tries every dependency as servers and workers use it, all at once, and says what to do where one does not work.

mod ai_service;
mod backups;
mod database;
mod services;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::operating;
use super::output::GlobalArguments;
use super::text::table;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// It works.
    Ok,
    /// It works, and will not for long, or not well.
    Warn,
    /// It does not work.
    Fail,
    /// It is not used, or could not be tried.
    Skipped,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    detail: String,
    cure: Option<String>,
}

impl Check {
    fn new(name: &'static str, status: Status, detail: impl Into<String>) -> Self {
        Self {
            name,
            status,
            detail: detail.into(),
            cure: None,
        }
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, detail)
    }

    fn fail(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Fail, detail)
    }

    fn warn(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Warn, detail)
    }

    fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Skipped, detail)
    }

    fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// What went wrong, with what to do about it behind a semicolon.
    fn failed_with(name: &'static str, text: &str) -> Self {
        match text.split_once("; ") {
            Some((detail, cure)) => Self::fail(name, detail).cure(cure),
            None => Self::fail(name, text),
        }
    }
}

#[derive(Serialize)]
struct Report {
    items: Vec<Check>,
    next_cursor: Option<String>,
}

/// What is tried beside the dependencies.
#[derive(Debug, Clone, Copy, Args)]
pub struct Doctor {
    /// Hold the AI service to docs/AI-SERVICE.md, too. Spends about 50 tokens for each provider, and up to three minutes.
    #[arg(long)]
    ai: bool,
    /// With --ai: see whether it refuses a prompt of 8 MiB. A service that takes it may be paid for it.
    #[arg(long, requires = "ai")]
    long_prompt: bool,
}

/// Runs the command; gives the exit code.
pub fn start(command: Doctor, global: GlobalArguments) -> ExitCode {
    operating::with_settings(global, async |settings, output| {
        let (database, live, files, clamd, fcm, ai, disk, backups) = tokio::join!(
            database::check(&settings),
            within("redis", services::redis(&settings)),
            within("files", services::files(&settings)),
            within("clamd", services::clamd(&settings)),
            within("fcm", services::fcm(&settings)),
            within("ai", services::ai(&settings)),
            within("disk", services::disk(&settings)),
            within("backups", backups::check(&settings)),
        );
        let mut items = database;
        items.extend([
            live,
            files,
            clamd,
            fcm,
            services::web_push(&settings),
            ai,
            disk,
            backups,
        ]);
        if command.ai {
            items.extend(ai_service::check(&settings, command.long_prompt).await);
        }
        let failed = items.iter().filter(|check| check.status == Status::Fail).count();
        let report = Report {
            items,
            next_cursor: None,
        };
        output.value(&report, |report| text(&report.items))?;
        match failed {
            0 => Ok(()),
            _ => Err(
                Failure::new(Exit::No, "checks_failed", format!("{failed} checks failed")).cure("see what each says"),
            ),
        }
    })
}

/// What a check says, which may take [`CHECK_TIMEOUT`].
async fn within(name: &'static str, check: impl Future<Output = Check>) -> Check {
    let silent = || {
        Check::fail(
            name,
            format!("there was no answer within {} s", CHECK_TIMEOUT.as_secs()),
        )
    };
    tokio::time::timeout(CHECK_TIMEOUT, check)
        .await
        .unwrap_or_else(|_| silent())
}

fn text(checks: &[Check]) -> String {
    let rows: Vec<[String; 3]> = checks
        .iter()
        .map(|check| {
            let cure = check.cure.as_deref().map(|cure| format!("; {cure}"));
            let detail = format!("{}{}", check.detail, cure.unwrap_or_default());
            [check.status.as_str().to_owned(), check.name.to_owned(), detail]
        })
        .collect();
    table(["STATUS", "CHECK", "WHAT"], &rows)
}
