//! Logs on stderr: readable lines in development, JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::settings::{Environment, SettingError, Settings, wrong};

/// Libraries that log what they carry. Those of WebSockets and HTTP/2 log whole frames at level trace, and with them
/// messages, tokens and the addresses of devices; gcp_auth logs what Google's token endpoint answers, and the name of
/// the service account.
const SILENCED: &str =
    ",tungstenite=info,tokio_tungstenite=info,gcp_auth=off,hyper=info,hyper_util=info,h2=info,reqwest=info,rustls=info";

/// Replaces what `LOG_LEVEL` lets through.
pub(super) type FilterHandle = reload::Handle<EnvFilter, Registry>;

/// The layer that writes what `LOG_LEVEL` lets through, and what replaces that.
pub(super) fn layer(settings: &Settings) -> Result<(impl Layer<Registry> + use<>, FilterHandle), SettingError> {
    let (filter, handle) = reload::Layer::new(filter(&settings.telemetry.log_level)?);
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
    Ok((lines.with_filter(filter), handle))
}

/// What `LOG_LEVEL` lets through.
pub fn filter(level: &str) -> Result<EnvFilter, SettingError> {
    let level = format!("{level}{SILENCED}");
    EnvFilter::builder().parse(level).map_err(|_| {
        wrong(
            "LOG_LEVEL",
            "must be a level or a filter, like info or info,cura_queue=debug",
        )
    })
}
