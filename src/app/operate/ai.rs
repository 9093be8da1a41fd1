//! The AI providers as every worker process knows them: to which ones it sends requests, and why not to the others.

use chrono::{DateTime, Utc};
use cura_providers::ai::Gate;
use cura_store::{Database, StoreError};
use serde::Serialize;

pub use cura_providers::ai::{Gate as ProviderGate, GateState};

/// What one worker process says.
#[derive(Debug, Clone, Serialize)]
pub struct WorkerGates {
    /// The process: see `jobs workers`.
    pub worker: String,
    /// Whether it had a heartbeat in the last seconds: what a silent one says may be over.
    pub alive: bool,
    /// When it said so.
    pub said_at: DateTime<Utc>,
    /// Its providers, in the order in which it asks them; `None` if it is of a release that does not say.
    pub providers: Option<Vec<Gate>>,
}

/// At most `limit` worker processes, the one that started last first, and whether there are more.
pub async fn status(
    database: &Database,
    before: Option<&str>,
    limit: u32,
) -> Result<(Vec<WorkerGates>, bool), StoreError> {
    let wanted = i64::from(limit) + 1;
    let workers = database.connection(async |connection| {
        Ok::<_, StoreError>(cura_queue::list_workers(connection, before, wanted).await?)
    });
    let mut workers = workers.await?;
    let has_more = workers.len() > limit as usize;
    workers.truncate(limit as usize);
    let gates = workers.into_iter().map(|worker| WorkerGates {
        worker: worker.id,
        alive: worker.alive,
        said_at: worker.last_seen,
        providers: worker
            .report
            .and_then(|mut report| serde_json::from_value(report["ai"].take()).ok()),
    });
    Ok((gates.collect(), has_more))
}
