//! What processes use of the processors, and what is left to others.

use std::fs::{read_dir, read_to_string};
use std::time::Duration;

use sqlx::PgPool;

/// What was used up to a moment, or between two.
pub struct Used {
    /// By each process that was asked for, its children included, and those of them that have ended.
    pub processes: Vec<Duration>,
    /// By this process.
    own: Duration,
    /// By all of the machine, and what the host of a virtual machine took away.
    machine: Duration,
    /// What there is, used or not.
    available: Duration,
}

impl Used {
    /// Up to now.
    pub fn by(processes: &[u32]) -> Self {
        let (machine, available) = machine();
        Self {
            processes: processes.iter().map(|pid| with_children(*pid)).collect(),
            own: of_process(std::process::id()),
            machine,
            available,
        }
    }

    /// Since then.
    pub fn since(&self, before: &Self) -> Self {
        let processes = self.processes.iter().zip(&before.processes);
        Self {
            processes: processes.map(|(now, then)| now.saturating_sub(*then)).collect(),
            own: self.own.saturating_sub(before.own),
            machine: self.machine.saturating_sub(before.machine),
            available: self.available.saturating_sub(before.available),
        }
    }

    /// The share of the processors that neither these processes nor this one used.
    pub fn by_others(&self) -> f64 {
        let ours = self.own + self.processes.iter().sum::<Duration>();
        self.machine.saturating_sub(ours).as_secs_f64() / self.available.as_secs_f64()
    }
}

/// The process of Postgres whose children serve connections.
pub async fn postmaster(pool: &PgPool) -> u32 {
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(pool)
        .await
        .unwrap();
    stat(backend.unsigned_abs())
        .and_then(|fields| fields[1].parse().ok())
        .unwrap()
}

/// What a process and its children have used, those that have ended included.
pub fn with_children(pid: u32) -> Duration {
    let processes = read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = pids.filter(|child| stat(*child).is_some_and(|fields| fields[1] == pid.to_string()));
    let ended = stat(pid).map_or(Duration::ZERO, |fields| ticks(&fields[13..15]));
    of_process(pid) + ended + children.map(of_process).sum::<Duration>()
}

/// What a process has used: to the nanosecond while its threads live. Those that have ended count only in the kernel's ticks, which are
/// the least that this gives.
pub fn of_process(pid: u32) -> Duration {
    let threads = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let line = read_to_string(thread.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<u64>().ok()
    });
    let counted = stat(pid).map_or(Duration::ZERO, |fields| ticks(&fields[11..13]));
    Duration::from_nanos(nanoseconds.sum()).max(counted)
}

/// What follows the name in `/proc/…/stat`: state, parent, …, user, system, those of ended children, …; nothing when it has ended.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit(')').next()?.split_whitespace();
    Some(fields.map(str::to_owned).collect())
}

/// What the machine has used and could have.
fn machine() -> (Duration, Duration) {
    let stat = read_to_string("/proc/stat").unwrap();
    let fields: Vec<String> = stat
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    // cpu user nice system idle iowait irq softirq steal
    (ticks(&fields[1..4]) + ticks(&fields[6..9]), ticks(&fields[1..9]))
}

/// A tick is 10 ms (USER_HZ is 100).
fn ticks(fields: &[String]) -> Duration {
    let ticks = fields.iter().map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}
