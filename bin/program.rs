//! How every program starts and ends: settings, then telemetry, then a runtime. A failure is one line on stderr, or
//! one for each wrong setting, and exit code 1.

use std::process::ExitCode;

use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::settings::{SettingError, SettingErrors, Settings};
use crate::{descriptors, telemetry};

/// The exit code of a program that cannot start, or of a command that failed.
const FAILED: u8 = 1;

/// Why a program cannot start: one line that says what to do, or one for each wrong setting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Settings are missing or cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingErrors),
    /// Another failure; the text says what to do.
    #[error("{0}")]
    Other(String),
}

/// Reads the settings and runs a program with them, unless they or `check` say that one is wrong; gives its exit code.
pub fn run<F>(check: impl FnOnce(&Settings) -> Vec<SettingError>, program: impl FnOnce(Settings) -> F) -> ExitCode
where
    F: Future<Output = Result<(), StartError>>,
{
    let outcome = Settings::checked(check)
        .map_err(StartError::from)
        .and_then(|settings| start(settings, program));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Writes the error to stderr; gives the exit code.
#[expect(
    clippy::print_stderr,
    reason = "the operator must see why a program ended, whatever the log level"
)]
pub fn fail(error: &StartError) -> ExitCode {
    for line in error.to_string().lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(FAILED)
}

/// Starts telemetry and a runtime, and runs a program in it.
///
/// # Errors
/// The error of the program, or the reason why it could not be started.
pub fn start<F>(settings: Settings, program: impl FnOnce(Settings) -> F) -> Result<(), StartError>
where
    F: Future<Output = Result<(), StartError>>,
{
    let telemetry = telemetry::start(&settings)?;
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::Other(format!("no threads can be started: {error}")))?;
    let outcome = runtime.block_on(async {
        let hangups = telemetry.follow_hangups();
        let hangups = hangups.map_err(|error| StartError::Other(error.to_string()))?;
        let _hangups = AbortOnDropHandle::new(TaskTracker::new().spawn(hangups));
        program(settings).await
    });
    // Blocking work that hangs must not keep the process alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    drop(telemetry);
    outcome
}
