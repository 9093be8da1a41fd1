//! What operators see: logs on stderr, metrics on `METRICS_PORT`, and error reports to Sentry if it is configured.

mod logs;
pub mod metrics;
mod sentry;

use std::io::IsTerminal;

pub use logs::filter as log_filter;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{SettingError, Settings, TelemetrySettings};

/// Sends the reports that are still queued when it is dropped.
pub struct Telemetry {
    filter: logs::FilterHandle,
    _sentry: Option<::sentry::ClientInitGuard>,
}

impl Telemetry {
    /// Reads `LOG_LEVEL` again at each SIGHUP. Where the logs go to a terminal, a SIGHUP ends the process: the terminal was closed.
    ///
    /// # Errors
    /// When the operating system refuses a signal handler.
    pub fn follow_hangups(&self) -> std::io::Result<impl Future<Output = ()> + use<>> {
        let hangups = match std::io::stderr().is_terminal() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        let handle = self.filter.clone();
        Ok(async move {
            let Some(mut hangups) = hangups else { return };
            while hangups.recv().await.is_some() {
                read_again(&handle);
            }
        })
    }
}

fn read_again(handle: &logs::FilterHandle) {
    let filter = TelemetrySettings::read_log_level_again().and_then(|level| logs::asked_for(&level));
    match filter {
        Ok(filter) => match handle.reload(filter) {
            Ok(()) => tracing::info!("LOG_LEVEL was read again"),
            Err(error) => tracing::warn!(%error, "LOG_LEVEL cannot be changed"),
        },
        Err(error) => tracing::warn!(%error, "LOG_LEVEL was read again; the one before stays"),
    }
}

/// What is wrong with `LOG_LEVEL` and `SENTRY_DSN`.
pub fn faults(settings: &Settings) -> impl Iterator<Item = SettingError> + use<> {
    let faults = [
        logs::asked_for(&settings.telemetry.log_level).err(),
        sentry::dsn(settings).err(),
    ];
    faults.into_iter().flatten()
}

/// Starts logging, and reporting errors if `SENTRY_DSN` is set. Call once, before anything logs.
///
/// # Errors
/// When `LOG_LEVEL` or `SENTRY_DSN` cannot be used.
pub fn start(settings: &Settings) -> Result<Telemetry, SettingError> {
    let (lines, filter) = logs::layer(settings)?;
    let sentry = sentry::start(settings)?;
    let reports = sentry.is_some().then(sentry::layer);
    tracing_subscriber::registry().with(lines).with(reports).init();
    Ok(Telemetry {
        filter,
        _sentry: sentry,
    })
}
