//! Logs on stderr: readable lines in development, JSON elsewhere.

use std::io::IsTerminal;

use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::settings::{Environment, SettingError, Settings, wrong};

/// Libraries that log what they carry, and the most that each may say, whatever `LOG_LEVEL` asks for. Those of WebSockets and HTTP/2
/// log whole frames at level trace, and with them messages, tokens and the addresses of devices; gcp_auth logs what Google's token
/// endpoint answers, and the name of the service account.
const SILENCED: [(&str, LevelFilter); 8] = [
    ("tungstenite", LevelFilter::INFO),
    ("tokio_tungstenite", LevelFilter::INFO),
    ("gcp_auth", LevelFilter::OFF),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
];

/// Replaces what `LOG_LEVEL` lets through.
pub(super) type FilterHandle = reload::Handle<EnvFilter, Registry>;

/// The layer that writes what `LOG_LEVEL` lets through, and what replaces that.
pub(super) fn layer(settings: &Settings) -> Result<(impl Layer<Registry> + use<>, FilterHandle), SettingError> {
    let (filter, handle) = reload::Layer::new(asked_for(&settings.telemetry.log_level)?);
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
    Ok((lines.with_filter(filter.and(allowed())), handle))
}

/// What `LOG_LEVEL` asks for.
pub(super) fn asked_for(level: &str) -> Result<EnvFilter, SettingError> {
    EnvFilter::builder().parse(level).map_err(|_| {
        wrong(
            "LOG_LEVEL",
            "must be a level or a filter, like info or info,cura_queue=debug",
        )
    })
}

/// What `LOG_LEVEL` lets through: what it asks for, but for what libraries carry.
///
/// # Errors
/// When it is no filter.
pub fn filter(level: &str) -> Result<impl Filter<Registry> + Send + Sync + use<>, SettingError> {
    Ok(asked_for(level)?.and(allowed()))
}

/// What may be logged at all. A directive of `LOG_LEVEL` cannot say so: one for a module, or for a span, is more specific.
fn allowed() -> impl Filter<Registry> + Send + Sync {
    filter_fn(is_allowed).with_max_level_hint(LevelFilter::TRACE)
}

fn is_allowed(of: &Metadata<'_>) -> bool {
    SILENCED.iter().all(|(library, most)| {
        let within = of.target().strip_prefix(library);
        let is_its = within.is_some_and(|module| module.is_empty() || module.starts_with("::"));
        !is_its || of.level() <= most
    })
}
