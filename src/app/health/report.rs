//! The results of the probes, and the rule that decides how healthy the service is: without the database it is unhealthy, and
//! without anything else it is degraded.

use std::time::Duration;

use cura_queue::QueueHealth;

/// If the oldest job that could run has waited this long, there are too few workers.
const QUEUE_BEHIND: Duration = Duration::from_secs(30);
/// With less free space than this, uploads and the database are in danger.
const LOW_DISK_BYTES: u64 = 512 * 1024 * 1024;

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The dependency answered.
    Up,
    /// It did not answer in time.
    Down,
}

/// Space on the disk that holds the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Free bytes.
    pub free_bytes: u64,
}

/// The results of all probes.
#[derive(Debug, Clone)]
pub struct HealthReport {
    /// Postgres: whether it answers and accepts writes.
    pub database: Probe,
    /// The texts of running answers.
    pub live: Probe,
    /// Where they are kept: `redis` or `in-process`.
    pub live_kind: &'static str,
    /// The queues; `None` when Postgres does not answer.
    pub queue: Option<QueueHealth>,
    /// The code of what requests to the AI provider fail with: as a worker has found out, or a probe every 30 s at most.
    pub ai_fault: Option<String>,
    /// The first provider: `demo`, `openai`, `anthropic` or `custom`.
    pub ai_provider: String,
    /// The disk; `None` when the operating system reports nothing.
    pub disk: Option<Disk>,
    /// Push services.
    pub push: PushReport,
    /// Where files are kept.
    pub storage: Probe,
    /// `disk`, `supabase` or `s3`.
    pub storage_provider: &'static str,
    /// What scans files.
    pub scanner: ScannerReport,
}

/// What scans files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScannerReport {
    /// clamd; `None` if it is not used.
    pub clamd: Option<Probe>,
    /// The confinement of the processes that look into files.
    pub sandbox: Probe,
}

impl ScannerReport {
    /// Both together.
    pub fn status(self) -> Probe {
        up_if(![self.clamd, Some(self.sandbox)].contains(&Some(Probe::Down)))
    }
}

/// Push services; `None` for one that is not used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushReport {
    /// Firebase Cloud Messaging.
    pub fcm: Option<Probe>,
    /// The push services of browsers.
    pub web_push: Option<Probe>,
}

impl PushReport {
    /// Both together; `None` if push is off.
    pub fn status(self) -> Option<Probe> {
        let used = [self.fcm, self.web_push].into_iter().flatten();
        used.max_by_key(|probe| *probe == Probe::Down)
    }
}

/// How healthy the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceStatus {
    /// Everything works.
    Healthy,
    /// Requests are served, but a dependency other than the database is down, or a queue is paused.
    Degraded,
    /// Requests cannot be served.
    Unhealthy,
}

impl HealthReport {
    /// How healthy the service is.
    pub fn status(&self) -> ServiceStatus {
        let push = self.push.status().unwrap_or(Probe::Up);
        let others = [
            self.live,
            self.ai_status(),
            self.queue_status(),
            self.disk_status(),
            push,
            self.storage,
            self.scanner.status(),
        ];
        match self.database {
            Probe::Down => ServiceStatus::Unhealthy,
            Probe::Up if others.contains(&Probe::Down) || self.is_paused() => ServiceStatus::Degraded,
            Probe::Up => ServiceStatus::Healthy,
        }
    }

    /// Whether the AI provider answers.
    pub fn ai_status(&self) -> Probe {
        up_if(self.ai_fault.is_none())
    }

    /// Whether there are workers, and enough of them.
    pub fn queue_status(&self) -> Probe {
        let queue = self.queue.as_ref();
        up_if(queue.is_some_and(|queue| queue.workers > 0 && queue.oldest_ready < QUEUE_BEHIND))
    }

    /// Whether an operator has paused a queue.
    fn is_paused(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.paused.is_empty())
    }

    /// Whether enough space is free. An unknown disk counts as up.
    pub fn disk_status(&self) -> Probe {
        up_if(self.disk.is_none_or(|disk| disk.free_bytes >= LOW_DISK_BYTES))
    }
}

fn up_if(is_up: bool) -> Probe {
    if is_up { Probe::Up } else { Probe::Down }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> HealthReport {
        HealthReport {
            database: Probe::Up,
            live: Probe::Up,
            live_kind: "redis",
            queue: Some(QueueHealth {
                workers: 1,
                oldest_ready: Duration::from_secs(29),
                fault: None,
                failing_services: Vec::new(),
                paused: Vec::new(),
                unserved: Vec::new(),
            }),
            ai_fault: None,
            ai_provider: "demo".to_owned(),
            disk: Some(Disk {
                free_bytes: LOW_DISK_BYTES,
            }),
            push: PushReport::default(),
            storage: Probe::Up,
            storage_provider: "disk",
            scanner: ScannerReport {
                clamd: None,
                sandbox: Probe::Up,
            },
        }
    }

    #[test]
    fn without_the_database_the_service_is_unhealthy_and_without_anything_else_degraded() {
        assert_eq!(healthy().status(), ServiceStatus::Healthy);
        let without = |change: fn(&mut HealthReport)| {
            let mut report = healthy();
            change(&mut report);
            report.status()
        };
        assert_eq!(
            without(|report| report.database = Probe::Down),
            ServiceStatus::Unhealthy
        );
        for change in [
            |report: &mut HealthReport| report.live = Probe::Down,
            |report: &mut HealthReport| report.ai_fault = Some("provider_unauthorized".to_owned()),
            |report: &mut HealthReport| report.push.fcm = Some(Probe::Down),
            |report: &mut HealthReport| report.storage = Probe::Down,
            |report: &mut HealthReport| report.scanner.clamd = Some(Probe::Down),
            |report: &mut HealthReport| report.scanner.sandbox = Probe::Down,
            |report: &mut HealthReport| report.queue = None,
            |report: &mut HealthReport| {
                if let Some(queue) = &mut report.queue {
                    queue.paused.push("send-push".to_owned());
                }
            },
            |report: &mut HealthReport| {
                report.queue = Some(QueueHealth {
                    workers: 0,
                    oldest_ready: Duration::ZERO,
                    fault: None,
                    failing_services: Vec::new(),
                    paused: Vec::new(),
                    unserved: Vec::new(),
                });
            },
            |report: &mut HealthReport| {
                report.queue = Some(QueueHealth {
                    workers: 1,
                    oldest_ready: QUEUE_BEHIND,
                    fault: None,
                    failing_services: Vec::new(),
                    paused: Vec::new(),
                    unserved: Vec::new(),
                });
            },
            |report: &mut HealthReport| {
                report.disk = Some(Disk {
                    free_bytes: LOW_DISK_BYTES - 1,
                });
            },
        ] {
            assert_eq!(without(change), ServiceStatus::Degraded);
        }
        assert_eq!(without(|report| report.disk = None), ServiceStatus::Healthy);
    }
}
