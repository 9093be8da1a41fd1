//! The floor beside which `cura-bench` measures Cura: the least that answers through a queue, and no product.
//!
//! An answer goes the way that it goes in Cura: HTTP → a job in Postgres → a worker → Redis → server-sent events. What is answered is
//! committed to Postgres before its stream ends. There are no accounts, no history and no limits, and a crash loses what runs.
//! Read [`server`], then [`worker`]; [`provider`] and [`live`] are what the worker reads from and writes to.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a part of a benchmark: what goes wrong ends it, and its tasks end with it"
)]

mod live;
mod provider;
mod server;
mod worker;

/// `cura-floor server POSTGRES REDIS` or `cura-floor worker POSTGRES REDIS PROVIDER`, each with the URLs.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The worker has so little to do that a second thread costs more than it brings.
    let mut runtime = match arguments[0] {
        "worker" => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build().unwrap().block_on(async {
        match arguments[..] {
            ["server", postgres, redis] => server::run(postgres, redis).await,
            ["worker", postgres, redis, provider] => worker::run(postgres, redis, provider).await,
            _ => panic!("{arguments:?} is neither a server nor a worker"),
        }
    });
}
