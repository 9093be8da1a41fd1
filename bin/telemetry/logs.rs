//! Logs on stderr: readable lines in development, JSON elsewhere.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::settings::{Environment, SettingError, Settings, wrong};

/// The layer that writes what `LOG_LEVEL` lets through.
pub(super) fn layer<S>(settings: &Settings) -> Result<impl Layer<S> + use<S>, SettingError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let filter = filter(settings)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if settings.process.environment == Environment::Development {
        lines.with_target(false).boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    };
    Ok(lines.with_filter(filter))
}

/// What `LOG_LEVEL` lets through.
pub(super) fn filter(settings: &Settings) -> Result<EnvFilter, SettingError> {
    // The WebSocket library logs whole frames at level trace, and with them messages and tokens.
    let level = format!(
        "{},tungstenite=info,tokio_tungstenite=info",
        settings.telemetry.log_level
    );
    EnvFilter::builder().parse(level).map_err(|_| {
        wrong(
            "LOG_LEVEL",
            "must be a level or a filter, like info or info,cura_queue=debug",
        )
    })
}
