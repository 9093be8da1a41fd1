//! What the parts of one worker process share: the pool, the lease, the runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::PgPool;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::completer::Ack;
use crate::{JobId, Run, StopReason, WorkersConfig};

pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) config: WorkersConfig,
    /// Wakes the claimer: new jobs, free slots, a connection that is back.
    pub(crate) wake: Notify,
    /// Makes the lease look for cancelled jobs now instead of at its next renewal.
    pub(crate) check_lease: Notify,
    pub(crate) acks: mpsc::Sender<Ack>,
    /// Outcomes that Postgres does not have yet.
    pub(crate) unwritten: AtomicUsize,
    /// No more claims.
    pub(crate) draining: CancellationToken,
    /// The deadline has passed: running jobs are given back.
    pub(crate) cut: CancellationToken,
    /// Whether the present identity is registered and not known to be lost.
    pub(crate) leased: AtomicBool,
    lease: Mutex<Lease>,
}

struct Lease {
    instance: Arc<str>,
    /// Every run whose outcome Postgres does not have yet.
    runs: HashMap<JobId, OpenRun>,
}

struct OpenRun {
    attempt: u32,
    stop: watch::Sender<Option<StopReason>>,
}

impl Shared {
    pub(crate) fn new(pool: PgPool, config: WorkersConfig, acks: mpsc::Sender<Ack>) -> Self {
        Self {
            pool,
            config,
            wake: Notify::new(),
            check_lease: Notify::new(),
            acks,
            unwritten: AtomicUsize::new(0),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
            leased: AtomicBool::new(false),
            lease: Mutex::new(Lease {
                instance: fresh_identity(),
                runs: HashMap::new(),
            }),
        }
    }

    /// Who we are; new at every start and after every loss.
    pub(crate) fn instance(&self) -> Arc<str> {
        Arc::clone(&self.lock().instance)
    }

    /// Opens a run of a job that `instance` has claimed.
    pub(crate) fn open_run(&self, instance: &str, job_id: JobId, attempt: u32, max_attempts: u32) -> Run {
        let mut lease = self.lock();
        let reason = if *lease.instance != *instance {
            Some(StopReason::Lost)
        } else if self.draining.is_cancelled() {
            Some(StopReason::Draining)
        } else {
            None
        };
        let (sender, stop) = watch::channel(reason);
        if reason != Some(StopReason::Lost) {
            let open = OpenRun { attempt, stop: sender };
            lease.runs.insert(job_id.clone(), open);
        }
        Run {
            job_id,
            attempt,
            max_attempts,
            stop,
        }
    }

    /// Closes a run whose outcome Postgres has. The job may run again already, as another attempt or somebody else's.
    pub(crate) fn close_run(&self, instance: &str, job_id: &str, attempt: u32) {
        let mut lease = self.lock();
        if *lease.instance == *instance && lease.runs.get(job_id).is_some_and(|run| run.attempt == attempt) {
            lease.runs.remove(job_id);
        }
    }

    /// The jobs of every run that is open.
    pub(crate) fn known_runs(&self) -> Vec<JobId> {
        self.lock().runs.keys().cloned().collect()
    }

    /// Tells one run to stop.
    pub(crate) fn stop_run(&self, job_id: &str, reason: StopReason) {
        if let Some(run) = self.lock().runs.get(job_id) {
            run.stop.send_replace(Some(reason));
        }
    }

    /// Tells every run that is not to stop anyway that the process is shutting down.
    pub(crate) fn drain_runs(&self) {
        self.tell_runs(StopReason::Draining, |known| known.is_none());
    }

    /// Tells every run that is not to stop anyway to give its job back now.
    pub(crate) fn hand_runs_over(&self) {
        self.tell_runs(StopReason::Release, |known| {
            known.is_none_or(|known| known == StopReason::Draining)
        });
    }

    fn tell_runs(&self, reason: StopReason, milder: impl Fn(Option<StopReason>) -> bool) {
        for run in self.lock().runs.values() {
            run.stop.send_if_modified(|known| {
                let tell = milder(*known);
                if tell {
                    *known = Some(reason);
                }
                tell
            });
        }
    }

    /// The lease is lost: every run is told, and we become somebody new.
    pub(crate) fn lose_lease(&self) {
        self.leased.store(false, Ordering::Release);
        let mut lease = self.lock();
        lease.instance = fresh_identity();
        for (_, run) in lease.runs.drain() {
            run.stop.send_replace(Some(StopReason::Lost));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lease> {
        // Nothing panics while holding it; a poisoned lock still holds a sound table.
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh_identity() -> Arc<str> {
    ulid::Ulid::generate().to_string().into()
}
