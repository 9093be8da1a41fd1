//! How Cura feels: every dependency asked at once, each with its own short timeout.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cura_queue::QueueHealth;
use cura_store::StoreError;
use tokio::time::Instant;

use crate::App;

/// How long one probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer of the AI service is believed: asking it is not free.
const AI_FRESH: Duration = Duration::from_secs(30);
/// With less free space than this, uploads and the database are in danger.
const LOW_DISK_BYTES: u64 = 512 * 1024 * 1024;

/// What one probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It answers.
    Up,
    /// It does not answer, or not in time.
    Down,
}

/// Room on the disk that holds the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes we may still write.
    pub free_bytes: u64,
    /// Whether that is too little.
    pub low: bool,
}

/// What all probes found.
#[derive(Debug, Clone)]
pub struct Health {
    /// Postgres.
    pub database: Probe,
    /// The streams of running answers.
    pub live: Probe,
    /// Which implementation carries them: `redis` or `in-process`.
    pub live_kind: &'static str,
    /// The queues; `None` when Postgres does not say.
    pub queue: Option<QueueHealth>,
    /// The AI service, asked every 30 s at most, but for those who come at the same moment first.
    pub ai: Probe,
    /// Who is asked first: `demo`, `openai`, `anthropic`, `custom`.
    pub ai_provider: String,
    /// The disk; `None` when the operating system does not say.
    pub disk: Option<Disk>,
}

/// What is known of the AI service.
#[derive(Debug, Default)]
pub struct AiProbe(Mutex<Option<(Instant, Probe)>>);

impl App {
    /// Asks everything, all at once.
    pub async fn health(&self) -> Health {
        let (database, live, queue, ai) = tokio::join!(
            probe(self.0.database.ping()),
            probe(self.0.live.ping()),
            tokio::time::timeout(PROBE_TIMEOUT, async {
                self.read(async |connection| cura_queue::health(connection).await.map_err(StoreError::from))
                    .await
                    .ok()
            }),
            self.ai(),
        );
        Health {
            database,
            live,
            live_kind: self.0.live.kind(),
            queue: queue.ok().flatten(),
            ai,
            ai_provider: self.0.ai.primary_model().provider.clone(),
            disk: self.disk(),
        }
    }

    /// Whether requests can be served at all: Postgres answers.
    pub async fn ready(&self) -> bool {
        probe(self.0.database.ping()).await == Probe::Up
    }

    async fn ai(&self) -> Probe {
        let known = || self.0.ai_probe.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, found)) = &mut *known()
            && at.elapsed() < AI_FRESH
        {
            return *found;
        }
        if let Some((at, _)) = &mut *known() {
            // Whoever comes meanwhile gets the old answer instead of asking too.
            *at = Instant::now();
        }
        let found = probe(self.0.ai.probe()).await;
        *known() = Some((Instant::now(), found));
        found
    }

    fn disk(&self) -> Option<Disk> {
        let stat = rustix::fs::statvfs(&self.0.data_dir).ok()?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        Some(Disk {
            free_bytes,
            low: free_bytes < LOW_DISK_BYTES,
        })
    }
}

async fn probe<E>(asked: impl Future<Output = Result<(), E>>) -> Probe {
    match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
        Ok(Ok(())) => Probe::Up,
        Ok(Err(_)) | Err(_) => Probe::Down,
    }
}
