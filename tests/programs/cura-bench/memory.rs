//! Memory that a burst of work leaves behind.

use std::num::NonZero;
use std::time::{Duration, Instant};

use cura_tests::{Client, Cura};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use crate::measure::{memory, row};

/// Accounts that are registered at once.
const ACCOUNTS: usize = 500;
/// How long a client waits that was refused because too many passwords were being hashed.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// After the last registration.
const SETTLED: Duration = Duration::from_secs(10);

/// 500 registrations at once on a server that has done nothing else, at the default cost of a hash.
pub async fn registrations() {
    let cura = Cura::builder()
        .workers(0)
        .with("PASSWORD_HASH_MEMORY_KIB", "19456")
        .with("PASSWORD_HASH_PASSES", "2")
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .start()
        .await;
    let pid = cura.servers[0].program.pid();
    let client = cura.client();
    // The first connections to Postgres and Redis are part of the start.
    client.get("/health").await;
    let before = memory(pid, "VmRSS");
    let begun = Instant::now();
    let refused: usize = join_all((0..ACCOUNTS).map(|n| register(&client, n)))
        .await
        .into_iter()
        .sum();
    let took = begun.elapsed();
    let peak = memory(pid, "VmHWM");
    tokio::time::sleep(SETTLED).await;
    let after = memory(pid, "VmRSS");
    let permits = std::thread::available_parallelism().map_or(1, NonZero::get);
    row(
        &format!("{ACCOUNTS} registrations at once, memory of the server"),
        &format!("≤ 64 MiB more, and {permits} × 19 MiB to hash in"),
        &format!(
            "{} MiB at the start, {} MiB at most, {} MiB after {} s; {:.1} s in all, {refused} refusals",
            before / 1024,
            peak / 1024,
            after / 1024,
            SETTLED.as_secs(),
            took.as_secs_f64(),
        ),
    );
}

/// Registers the `n`th account; gives how often the server refused because it was busy.
async fn register(client: &Client, n: usize) -> usize {
    let body = json!({ "email": format!("account{n}@example.com"), "password": "a long password" });
    let mut refused = 0;
    loop {
        let reply = client.post("/auth/register", &body).await;
        match reply.status {
            StatusCode::CREATED => return refused,
            StatusCode::SERVICE_UNAVAILABLE => refused += 1,
            status => panic!("{status}: {}", reply.body),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}
