//! How Cura feels: every dependency asked at once, each with its own short timeout.

use std::future::Future;
use std::time::Duration;

use cura_queue::QueueHealth;
use cura_store::pool;

use crate::App;

/// How long one probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What one probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It answers.
    Up,
    /// It does not answer, or not in time.
    Down,
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
}

impl App {
    /// Asks Postgres, `live` and the queue, all at once.
    pub async fn health(&self) -> Health {
        let (database, live, queue) = tokio::join!(
            probe(pool::ping(&self.0.pool)),
            probe(self.0.live.ping()),
            tokio::time::timeout(PROBE_TIMEOUT, async {
                let mut connection = self.connection().await.ok()?;
                cura_queue::health(&mut connection).await.ok()
            }),
        );
        Health {
            database,
            live,
            live_kind: self.0.live.kind(),
            queue: queue.ok().flatten(),
        }
    }

    /// Whether requests can be served at all: Postgres answers.
    pub async fn ready(&self) -> bool {
        probe(pool::ping(&self.0.pool)).await == Probe::Up
    }
}

async fn probe<E>(asked: impl Future<Output = Result<(), E>>) -> Probe {
    match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
        Ok(Ok(())) => Probe::Up,
        Ok(Err(_)) | Err(_) => Probe::Down,
    }
}
