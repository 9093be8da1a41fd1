//! Metrics, in the text format of Prometheus.

use cura_store::backups;
use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// When the last backup was whole, in seconds since 1970. Not there before the first one.
const LAST_BACKUP: &str = "cura_backup_last_success_timestamp_seconds";
/// Its size.
const LAST_BACKUP_SIZE: &str = "cura_backup_last_size_bytes";

/// What this process counts and measures.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to keep them, once in a process.
    ///
    /// # Errors
    /// When this process keeps metrics already.
    pub fn begin() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new().install_recorder()?;
        describe_gauge!(
            LAST_BACKUP,
            Unit::Seconds,
            "When the last backup was whole, by a schedule or by command, in seconds since 1970."
        );
        describe_gauge!(LAST_BACKUP_SIZE, Unit::Bytes, "The size of the last backup.");
        Ok(Self(handle))
    }

    /// All of them, as <https://prometheus.io/docs/instrumenting/exposition_formats/> has it.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Sets what is told of the last backup.
pub fn set_last_backup(made: &backups::Made) {
    #[expect(clippy::cast_precision_loss, reason = "seconds and bytes stay far below 2^53")]
    let as_gauge = |number: i64| number as f64;
    gauge!(LAST_BACKUP).set(as_gauge(made.finished_at.timestamp()));
    gauge!(LAST_BACKUP_SIZE).set(as_gauge(made.size));
}
