//! What operators see: logs on stderr, and error reports to Sentry if it is configured.

mod logs;
mod sentry;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{SettingError, Settings};

/// Sends the reports that are still queued when it is dropped.
pub struct Telemetry {
    _sentry: Option<::sentry::ClientInitGuard>,
}

/// What is wrong with `LOG_LEVEL` and `SENTRY_DSN`.
pub fn faults(settings: &Settings) -> impl Iterator<Item = SettingError> + use<> {
    let faults = [logs::filter(settings).err(), sentry::dsn(settings).err()];
    faults.into_iter().flatten()
}

/// Starts logging, and reporting errors if `SENTRY_DSN` is set. Call once, before anything logs.
///
/// # Errors
/// When `LOG_LEVEL` or `SENTRY_DSN` cannot be used.
pub fn start(settings: &Settings) -> Result<Telemetry, SettingError> {
    let lines = logs::layer(settings)?;
    let sentry = sentry::start(settings)?;
    let reports = sentry.is_some().then(sentry::layer);
    tracing_subscriber::registry().with(lines).with(reports).init();
    Ok(Telemetry { _sentry: sentry })
}
