//! Logs and error reports.

use cura_providers::Secret;

use super::variables::Variables;

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
            log_level: from
                .text("LOG_LEVEL")
                .unwrap_or("info,sqlx=warn,apalis=warn,apalis_core=warn")
                .to_owned(),
            sentry_dsn: from.secret("SENTRY_DSN"),
        }
    }
}
