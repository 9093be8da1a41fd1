//! What the programs and Postgres use of the machine.

use std::time::{Duration, Instant};

use cura_tests::Cura;

use crate::measure::cpu;

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
            server: cpu(server.pid()),
            worker: cpu(worker.pid()),
            postgres: postgres_time(cura).await,
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

/// Processor time of the whole server: of its first process, of what has ended under it, and of what runs under it.
async fn postgres_time(cura: &Cura) -> Duration {
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    let postmaster = parent(backend.unsigned_abs()).unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_string_lossy().parse::<u32>().ok()
    });
    let running = processes
        .filter(|pid| parent(*pid) == Some(postmaster))
        .filter_map(|pid| times(pid).map(|[own, _]| own));
    let [own, ended] = times(postmaster).unwrap();
    own + ended + running.sum::<Duration>()
}

fn parent(pid: u32) -> Option<u32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// Its own processor time, and that of the children it has waited for.
fn times(pid: u32) -> Option<[Duration; 2]> {
    let fields = fields(pid)?;
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // A tick is 10 ms (USER_HZ is 100).
    let time = |at: usize| Some(Duration::from_millis(10 * (ticks(at)? + ticks(at + 1)?)));
    Some([time(11)?, time(13)?])
}

/// What follows the name of the process in `/proc/…/stat`: state, parent, …
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
