//! How every program starts and ends: settings, telemetry and a runtime first; a failure is one line on stderr and exit code 1.

use std::process::ExitCode;

use crate::settings::{SettingError, Settings};
use crate::telemetry;

/// The exit code of a program that cannot start or was asked for something impossible.
const FAILED: u8 = 1;

/// Why a program cannot start: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Runs a program: settings, telemetry, a runtime, and one line on stderr if it fails.
pub fn run<F>(program: impl FnOnce(Settings) -> F) -> ExitCode
where
    F: Future<Output = Result<(), StartError>>,
{
    let outcome = Settings::from_environment()
        .map_err(StartError::from)
        .and_then(|settings| start(settings, program));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Says why on stderr.
#[expect(
    clippy::print_stderr,
    reason = "a program that cannot start tells its operator, whatever the log level"
)]
pub fn fail(error: &StartError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(FAILED)
}

/// Runs a program with settings that are known.
///
/// # Errors
/// What the program says.
pub fn start<F>(settings: Settings, program: impl FnOnce(Settings) -> F) -> Result<(), StartError>
where
    F: Future<Output = Result<(), StartError>>,
{
    let telemetry = telemetry::start(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::Other(format!("no threads can be started: {error}")))?;
    let outcome = runtime.block_on(program(settings));
    // Blocking work that hangs must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    drop(telemetry);
    outcome
}
