//! Error reports to Sentry, without messages, addresses or other personal data.

use secrecy::ExposeSecret;
use sentry::ClientInitGuard;
use sentry::integrations::tracing::ErrorLayer;
use sentry::types::Dsn;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::registry::LookupSpan;

use crate::settings::{SettingError, Settings, wrong};

/// Where errors are reported, if `SENTRY_DSN` is set.
pub(super) fn dsn(settings: &Settings) -> Result<Option<Dsn>, SettingError> {
    let dsn = settings.telemetry.sentry_dsn.as_ref();
    let parsed = dsn.map(|dsn| dsn.expose_secret().parse());
    parsed
        .transpose()
        .map_err(|_| wrong("SENTRY_DSN", "is not a Sentry DSN (https://key@host/project)"))
}

/// The client, if `SENTRY_DSN` is set.
pub(super) fn start(settings: &Settings) -> Result<Option<ClientInitGuard>, SettingError> {
    let Some(dsn) = dsn(settings)? else {
        return Ok(None);
    };
    let mut options = sentry::ClientOptions::default();
    options.dsn = Some(dsn);
    options.release = Some(env!("CARGO_PKG_VERSION").into());
    options.environment = Some(settings.process.environment.as_str().into());
    // Reports carry no personal data.
    options.send_default_pii = false;
    Ok(Some(sentry::init(options)))
}

/// The layer that reports what is logged as an error.
pub(super) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    ErrorLayer::new().with_filter(LevelFilter::ERROR)
}
