//! What workers tell each other of the service that their jobs depend on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cura_queue::Dependency;
use cura_tests::{TestDatabase, eventually};

use super::workers;

/// A service as one process knows it.
#[derive(Clone, Default)]
struct Service(Arc<Known>);

#[derive(Default)]
struct Known {
    successes: AtomicU64,
    awaits_success: AtomicBool,
    heard: AtomicBool,
}

impl Dependency for Service {
    fn failing_services(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn fault(&self) -> Option<&'static str> {
        None
    }

    fn report(&self) -> serde_json::Value {
        serde_json::json!({ "of": "the test" })
    }

    fn successes(&self) -> u64 {
        self.0.successes.load(Ordering::SeqCst)
    }

    fn awaits_success(&self) -> bool {
        self.0.awaits_success.load(Ordering::SeqCst)
    }

    fn worked_somewhere(&self) {
        self.0.heard.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_success_anywhere_is_heard_by_whoever_waits_for_one_and_by_nobody_else() {
    let database = TestDatabase::create().await;
    let services: [Service; 3] = std::array::from_fn(|_| Service::default());
    let [working, waiting, content] = &services;
    waiting.0.awaits_success.store(true, Ordering::SeqCst);
    let started: Vec<_> = services
        .iter()
        .map(|service| workers(&database).depending_on(service.clone()).start())
        .collect();
    let beats = async || {
        let beats = sqlx::query_scalar("SELECT count(*) FROM apalis.workers WHERE beats > 5");
        let beats: i64 = beats.fetch_one(database.pool()).await.unwrap();
        (beats == 3).then_some(())
    };
    eventually("all tell each other how they are", beats).await;
    assert!(!waiting.0.heard.load(Ordering::SeqCst), "nothing has worked yet");
    // One is told for a few seconds, in which a busy machine may miss it.
    eventually("a success is heard", async || {
        working.0.successes.fetch_add(1, Ordering::SeqCst);
        waiting.0.heard.load(Ordering::SeqCst).then_some(())
    })
    .await;
    assert!(!content.0.heard.load(Ordering::SeqCst), "it did not ask");
    for workers in started {
        workers.shutdown(Duration::from_secs(5)).await;
    }
}
