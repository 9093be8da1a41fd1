//! What this process would log, for tests that call its parts without a program around them.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// What this thread logs, as long as it lives: everything in a test that has one thread.
pub struct LogCapture {
    written: Written,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl LogCapture {
    /// What an operator should act on.
    pub fn of_errors() -> Self {
        Self::through(EnvFilter::new("error"))
    }

    /// What a program logs with this `LOG_LEVEL`.
    pub fn of_program(level: &str) -> Self {
        Self::through(cura_bin::telemetry::log_filter(level).expect("a level"))
    }

    fn through(filter: impl Filter<Registry> + Send + Sync + 'static) -> Self {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        Self {
            written,
            _guard: subscriber.set_default(),
        }
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        let written = self.written.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).lines().map(str::to_owned).collect()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
