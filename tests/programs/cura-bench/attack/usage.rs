//! What the programs and Postgres use of the machine.

use std::time::{Duration, Instant};

use cura_tests::Cura;

use crate::processor_time::{of_process, postmaster, with_children};

/// Memory now, and processor time so far.
#[derive(Clone, Copy)]
pub struct Usage {
    at: Instant,
    pub server_mib: u64,
    pub worker_mib: u64,
    /// Open sockets of the server.
    pub sockets: usize,
    server: Duration,
    worker: Duration,
    postgres: Duration,
}

/// Shares of a core between two moments.
#[derive(Clone, Copy)]
pub struct Share {
    server: f64,
    worker: f64,
    postgres: f64,
}

impl Usage {
    pub async fn now(cura: &Cura) -> Self {
        let (server, worker) = (&cura.servers[0].program, &cura.workers[0]);
        Self {
            at: Instant::now(),
            server_mib: super::mib(server),
            worker_mib: super::mib(worker),
            sockets: sockets_of(server.pid()),
            server: of_process(server.pid()),
            worker: of_process(worker.pid()),
            postgres: with_children(postmaster(cura.database.pool()).await),
        }
    }

    pub fn since(&self, earlier: &Self) -> Share {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / seconds;
        Share {
            server: share(self.server, earlier.server),
            worker: share(self.worker, earlier.worker),
            postgres: share(self.postgres, earlier.postgres),
        }
    }

    pub fn table(shares: &[Share]) -> String {
        let line = |name: &str, of: fn(&Share) -> f64| {
            let cells = shares.iter().map(|share| format!(" {:.1} % |", of(share) * 100.0));
            format!("| {name} |{}", cells.collect::<String>())
        };
        [
            line("server", |share| share.server),
            line("worker", |share| share.worker),
            line("Postgres", |share| share.postgres),
        ]
        .join("\n")
    }
}

fn sockets_of(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}
