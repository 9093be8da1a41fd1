//! Redis of every kind, and what it refuses: a server, a cluster, a master behind sentinels or behind a name.

mod cluster;
mod refusals;
mod sentinels;
mod start;

use cura_tests::{Cura, eventually};

/// Waits until `/health` says this of Redis at every server.
async fn until_redis_is(cura: &Cura, status: &str) {
    for server in &cura.servers {
        let client = cura.client().at(&server.base);
        eventually(&format!("redis is {status}"), async || {
            (client.get("/health").await.body["redis"]["status"] == status).then_some(())
        })
        .await;
    }
}

/// Checks that each process warned of one outage at most, and that the servers said when it was over.
async fn until_the_outage_is_told_once(cura: &Cura) {
    for server in &cura.servers {
        server.program.wait_for_log("Redis can be used again; answers").await;
    }
    let servers = cura.servers.iter().map(|server| &server.program);
    for program in servers.chain(&cura.workers) {
        let logs = program.logs();
        for line in ["REDIS_URL names a Redis", "each server counts rate limits by itself"] {
            assert!(logs.matches(line).count() <= 1, "{logs}");
        }
    }
}
