//! The queue, and a worker that has nothing to do.

use std::time::{Duration, Instant};

use cura_queue::{Enqueued, Job, Workers, WorkersConfig};
use cura_tests::{Cura, TestDatabase, eventually};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::measure::{at, ms, row, transactions};
use crate::processor_time::of_process;

#[derive(Serialize, Deserialize)]
struct Ping {
    id: u32,
}

impl Job for Ping {
    const QUEUE: &'static str = "bench-ping";
    const MAX_ATTEMPTS: u32 = 1;
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub async fn enqueue_to_start() {
    let database = TestDatabase::create().await;
    let (started, mut starts) = mpsc::channel(16);
    let workers = Workers::builder(database.pool(), WorkersConfig::default())
        .queue(8, move |_: Ping, _| {
            let started = started.clone();
            async move {
                let _ = started.send(Instant::now()).await;
                Ok(())
            }
        })
        .start();
    let mut all = Vec::new();
    for n in 0..520 {
        let mut transaction = database.pool().begin().await.unwrap();
        let enqueued = cura_queue::enqueue(&mut transaction, &Ping { id: n }).await.unwrap();
        assert!(matches!(enqueued, Enqueued::New(_)));
        let begun = Instant::now();
        transaction.commit().await.unwrap();
        let started = starts.recv().await.unwrap();
        if n >= 20 {
            all.push(started.saturating_duration_since(begun));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    workers.shutdown(Duration::from_secs(5)).await;
    all.sort();
    let measured = format!("p50 {}, p99 {}", ms(at(&all, 50)), ms(at(&all, 99)));
    row(
        "commit → start in the worker, idle",
        "p50 ≤ 5 ms, p99 ≤ 25 ms",
        &measured,
    );
}

pub async fn idle_worker() {
    const SECONDS: u32 = 20;
    let cura = Cura::builder().servers(0).start().await;
    let used = || of_process(cura.workers[0].pid());
    eventually("the worker is there", async || (!used().is_zero()).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, queries) = (used(), transactions(&cura.database).await);
    tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
    let (busy, queries) = (
        used().saturating_sub(before),
        transactions(&cura.database).await - queries,
    );
    let measured = format!(
        "{:.2} % of a core, {:.1} queries a second",
        100.0 * busy.as_secs_f64() / f64::from(SECONDS),
        queries as f64 / f64::from(SECONDS),
    );
    row("an idle worker", "< 1 % of a core, ≤ 10 queries a second", &measured);
}
