//! This process as other workers see it: its identity, whether its lease holds, and the runs open under it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::WorkersConfig;
use crate::dependency::Dependency;
use crate::job::JobId;
use crate::run::{Run, StopReason};

pub(crate) struct Instance {
    pub(crate) pool: PgPool,
    pub(crate) config: WorkersConfig,
    /// The queues that it serves.
    pub(crate) queues: Vec<&'static str>,
    /// Wakes the producer: new jobs, free slots, a lease that holds again.
    pub(crate) wake: Arc<Notify>,
    /// Makes the heartbeat ask for cancelled jobs and paused queues now instead of at its next renewal.
    pub(crate) check_orders: Notify,
    /// No more claims.
    pub(crate) draining: CancellationToken,
    /// The deadline has passed: running jobs are stopped and released.
    pub(crate) abort: CancellationToken,
    /// Whether the present identity is registered and not known to be lost.
    pub(crate) leased: AtomicBool,
    /// Jobs from their claim to the end of their run.
    pub(crate) running: TaskTracker,
    /// What its jobs depend on.
    pub(crate) dependency: Box<dyn Dependency>,
    lease: Mutex<Lease>,
    /// The queues that are paused; `None` until they are known, and nothing is claimed.
    paused: Mutex<Option<Vec<String>>>,
}

struct Lease {
    id: Arc<str>,
    /// Every run whose outcome is not written yet, with what stops it.
    runs: HashMap<JobId, watch::Sender<Option<StopReason>>>,
}

impl Instance {
    pub(crate) fn new(
        pool: PgPool,
        config: WorkersConfig,
        queues: Vec<&'static str>,
        dependency: Box<dyn Dependency>,
    ) -> Self {
        Self {
            pool,
            config,
            queues,
            wake: Arc::default(),
            check_orders: Notify::new(),
            draining: CancellationToken::new(),
            abort: CancellationToken::new(),
            leased: AtomicBool::new(false),
            running: TaskTracker::new(),
            dependency,
            lease: Mutex::new(Lease {
                id: new_id(),
                runs: HashMap::new(),
            }),
            paused: Mutex::new(None),
        }
    }

    /// Whether jobs of this queue may be claimed, as far as is known.
    pub(crate) fn may_claim(&self, queue: &str) -> bool {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused
            .as_ref()
            .is_some_and(|paused| !paused.iter().any(|name| name == queue))
    }

    /// Records which queues are paused, and wakes the producer if these are others than before.
    pub(crate) fn set_paused(&self, queues: Vec<String>) {
        let before = {
            let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
            if paused.as_ref() == Some(&queues) {
                return;
            }
            paused.replace(queues.clone())
        };
        if before.is_some() || !queues.is_empty() {
            tracing::info!(?queues, "the queues that are paused have changed");
        }
        self.wake.notify_one();
    }

    /// The present identity; another one at every start and after every lost lease.
    pub(crate) fn id(&self) -> Arc<str> {
        Arc::clone(&self.lock().id)
    }

    /// Opens a run of a job that was claimed under `instance_id`.
    pub(crate) fn open_run(&self, instance_id: &Arc<str>, job_id: JobId, attempt: u32, max_attempts: u32) -> Run {
        let mut lease = self.lock();
        let reason = if lease.id != *instance_id {
            Some(StopReason::Lost)
        } else if self.draining.is_cancelled() {
            Some(StopReason::Draining)
        } else {
            None
        };
        let (sender, stop) = watch::channel(reason);
        if reason != Some(StopReason::Lost) {
            lease.runs.insert(job_id.clone(), sender);
        }
        Run {
            job_id,
            attempt,
            max_attempts,
            instance_id: Arc::clone(instance_id),
            completed: Arc::default(),
            stop,
        }
    }

    /// Closes a run, and no later one of its job, which may have been claimed again already.
    pub(crate) fn close_run(&self, run: &Run) {
        let mut lease = self.lock();
        let open = lease.runs.get(&run.job_id);
        if open.is_some_and(|stop| stop.subscribe().same_channel(&run.stop)) {
            lease.runs.remove(&run.job_id);
        }
    }

    /// The jobs of every open run.
    pub(crate) fn open_runs(&self) -> Vec<JobId> {
        self.lock().runs.keys().cloned().collect()
    }

    /// Stops one run.
    pub(crate) fn stop_run(&self, job_id: &str, reason: StopReason) {
        if let Some(stop) = self.lock().runs.get(job_id) {
            stop.send_replace(Some(reason));
        }
    }

    /// Informs every run that has no reason to stop yet of the shutdown.
    pub(crate) fn drain_runs(&self) {
        self.stop_runs(StopReason::Draining, |known| known.is_none());
    }

    /// Asks every run that may still go on to release its job now.
    pub(crate) fn release_runs(&self) {
        self.stop_runs(StopReason::Release, |known| {
            known.is_none_or(|known| known == StopReason::Draining)
        });
    }

    fn stop_runs(&self, reason: StopReason, replaces: impl Fn(Option<StopReason>) -> bool) {
        for stop in self.lock().runs.values() {
            stop.send_if_modified(|known| {
                let replace = replaces(*known);
                if replace {
                    *known = Some(reason);
                }
                replace
            });
        }
    }

    /// The lease is lost: stops every run, and takes another identity.
    pub(crate) fn lose_lease(&self) {
        self.leased.store(false, Ordering::Release);
        // What was known of pauses is as old as the last heartbeat.
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut lease = self.lock();
        lease.id = new_id();
        for (_, stop) in lease.runs.drain() {
            stop.send_replace(Some(StopReason::Lost));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lease> {
        // Nothing panics while holding it; a poisoned lock still holds a sound table.
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_id() -> Arc<str> {
    ulid::Ulid::generate().to_string().into()
}
