//! Logs and error reports.

use cura_providers::Secret;

use super::variables::{SettingError, Variables};

/// Section "Telemetry".
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// `LOG_LEVEL`
    pub log_level: String,
    /// `SENTRY_DSN`
    pub sentry_dsn: Option<Secret>,
}

impl TelemetrySettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            log_level: log_level(from),
            sentry_dsn: from.secret("SENTRY_DSN"),
        }
    }

    /// `LOG_LEVEL` as it is now: `.env` may have changed, the environment of a process does not.
    ///
    /// # Errors
    /// When `.env` cannot be read.
    pub fn read_log_level_again() -> Result<String, SettingError> {
        Variables::from_environment().map(|from| log_level(&from))
    }
}

fn log_level(from: &Variables) -> String {
    let default = "info,sqlx=warn,apalis=warn,apalis_core=warn";
    from.text("LOG_LEVEL").unwrap_or(default).to_owned()
}
