//! Logs and error reports. Logs go to stderr: lines for people in development, JSON elsewhere.

use std::io::IsTerminal;

use secrecy::ExposeSecret;
use sentry::ClientInitGuard;
use sentry::integrations::tracing::ErrorLayer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::settings::{Environment, SettingError, Settings, wrong};

/// Flushes reports when it is dropped.
pub struct Telemetry {
    _sentry: Option<ClientInitGuard>,
}

/// Starts logging, and reporting errors if `SENTRY_DSN` is set. Call once, before anything logs.
///
/// # Errors
/// When `LOG_LEVEL` or `SENTRY_DSN` cannot be used.
pub fn start(settings: &Settings) -> Result<Telemetry, SettingError> {
    // The WebSocket library logs whole frames at its finest level: what people say, and their tokens.
    let level = format!("{},tungstenite=info,tokio_tungstenite=info", settings.log_level);
    let filter = EnvFilter::builder().parse(level).map_err(|_| {
        wrong(
            "LOG_LEVEL",
            "must be a level or a filter, like info or info,cura_queue=debug",
        )
    })?;
    let sentry = settings.sentry_dsn.as_ref().map(|dsn| {
        let dsn = dsn
            .expose_secret()
            .parse()
            .map_err(|_| wrong("SENTRY_DSN", "is not a Sentry DSN"))?;
        let mut options = sentry::ClientOptions::default();
        options.dsn = Some(dsn);
        options.release = Some(env!("CARGO_PKG_VERSION").into());
        options.environment = Some(settings.environment.as_str().into());
        // People's words and addresses are nobody's business.
        options.send_default_pii = false;
        Ok(sentry::init(options))
    });
    let sentry = sentry.transpose()?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if settings.environment == Environment::Development {
        lines.with_target(false).boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    };
    let reports = sentry
        .is_some()
        .then(|| ErrorLayer::new().with_filter(LevelFilter::ERROR));
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(reports)
        .init();
    Ok(Telemetry { _sentry: sentry })
}
