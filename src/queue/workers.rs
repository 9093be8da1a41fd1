//! The worker side of one process: its queues, the tasks that serve them, and the apalis workers that run their jobs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use apalis::prelude::{WorkerBuilder, WorkerContext};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;

use crate::executor::{Claimed, ClaimedJobs, Outcome, QueueSlots};
use crate::instance::Shared;
use crate::producer::claim_until_draining;
use crate::scheduler::run_scheduler_loop;
use crate::{Job, JobError, Run, WorkersConfig, cleaner, completer, notifier, rescuer};

/// Connections of the queue: to claim, acknowledge, renew and prune, and one to spare. To listen there is another one.
const CONNECTIONS: u32 = 5;

/// Runs a job; `None` when its payload cannot be decoded.
type Handler = Arc<dyn Fn(Vec<u8>, Run) -> Option<BoxFuture<'static, Result<(), JobError>>> + Send + Sync>;

struct Planned {
    queue: &'static str,
    concurrency: usize,
    timeout: Duration,
    handler: Handler,
}

/// Collects the queues of a process. See [`Workers::builder`].
pub struct WorkersBuilder {
    pool: PgPool,
    config: WorkersConfig,
    planned: Vec<Planned>,
    schedules: Vec<Schedule>,
}

type Schedule = Box<dyn FnOnce(Arc<Shared>) -> BoxFuture<'static, ()> + Send>;

/// Running workers. Dropping them without [`Workers::shutdown`] is a crash: others notice and take over.
pub struct Workers {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queues: Arc<[Arc<QueueSlots>]>,
    pub(crate) tracker: TaskTracker,
    pub(crate) contexts: Vec<WorkerContext>,
    pub(crate) supervisors: Vec<AbortOnDropHandle<()>>,
    pub(crate) claimer: AbortOnDropHandle<()>,
    pub(crate) acks: AbortOnDropHandle<()>,
}

impl Workers {
    /// Workers on the database of `pool`, with connections of their own.
    pub fn builder(pool: &PgPool, config: WorkersConfig) -> WorkersBuilder {
        // Statements of the queue touch few rows through an index each. Without statistics (a table that was filled a
        // moment ago) the planner prefers to read it whole; it must not.
        let options = pool
            .connect_options()
            .as_ref()
            .clone()
            .application_name("cura-queue")
            .options([
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("plan_cache_mode", "force_generic_plan"),
                // Less than Postgres' deadlock_timeout, a second: in a circle of locks with somebody's transaction it is
                // the statement of the queue that gives up, and is tried again.
                ("lock_timeout", "500ms"),
            ]);
        let pool = pool
            .options()
            .clone()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(2))
            .connect_lazy_with(options);
        WorkersBuilder {
            pool,
            config,
            planned: Vec::new(),
            schedules: Vec::new(),
        }
    }
}

impl WorkersBuilder {
    /// Runs at most `concurrency` jobs of queue `J` at a time with `handler`.
    pub fn queue<J, F, Fut>(mut self, concurrency: usize, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Run) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |payload, run| {
            // serde's message may quote the payload: nobody is told.
            let job = serde_json::from_slice::<J>(&payload).ok()?;
            Some(handler(job, run).boxed())
        });
        self.planned.push(Planned {
            queue: J::QUEUE,
            concurrency,
            timeout: J::TIMEOUT,
            handler,
        });
        self
    }

    /// Enqueues `job(period)` once in each period of length `every`, however many processes do this; longer than a
    /// minute, shorter than a day.
    pub fn schedule<J: Job>(mut self, every: Duration, job: fn(i64) -> J) -> Self {
        self.schedules
            .push(Box::new(move |shared| run_scheduler_loop(shared, every, job).boxed()));
        self
    }

    /// Starts. Returns at once, also while Postgres is away: claiming begins when it is there.
    pub fn start(self) -> Workers {
        let (ack_sender, ack_receiver) = mpsc::channel(completer::BACKLOG);
        let shared = Arc::new(Shared::new(self.pool, self.config, ack_sender));
        let tracker = TaskTracker::new();
        let mut queues = Vec::new();
        let mut contexts = Vec::new();
        for planned in self.planned {
            let (sender, receiver) = mpsc::channel(planned.concurrency);
            let lane = Arc::new(QueueSlots {
                queue: planned.queue,
                concurrency: planned.concurrency,
                running: AtomicUsize::new(0),
                claimed: sender,
            });
            let backend = ClaimedJobs {
                shared: Arc::clone(&shared),
                lane: Arc::clone(&lane),
                jobs: receiver,
            };
            let context = WorkerContext::new(planned.queue);
            let (runner, jobs_tracker) = (Arc::clone(&shared), tracker.clone());
            let worker = WorkerBuilder::new(context.clone())
                .backend(backend)
                .build(move |claimed: Claimed| {
                    run_job(
                        Arc::clone(&runner),
                        jobs_tracker.clone(),
                        planned.queue,
                        planned.timeout,
                        Arc::clone(&planned.handler),
                        claimed,
                    )
                });
            let mut events = worker.stream().boxed();
            tracker.spawn(async move {
                while let Some(event) = events.next().await {
                    if let Err(error) = event {
                        tracing::error!(queue = planned.queue, %error, "the worker of a queue failed");
                    }
                }
            });
            queues.push(lane);
            contexts.push(context);
        }
        let queues: Arc<[Arc<QueueSlots>]> = queues.into();
        let supervise = |task| AbortOnDropHandle::new(tracker.spawn(task));
        let mut supervisors = vec![
            supervise(rescuer::keep(Arc::clone(&shared)).boxed()),
            supervise(notifier::listen(Arc::clone(&shared)).boxed()),
            supervise(cleaner::run_cleaner_loop(Arc::clone(&shared)).boxed()),
        ];
        supervisors.extend(
            self.schedules
                .into_iter()
                .map(|schedule| supervise(schedule(Arc::clone(&shared)))),
        );
        let claimer = supervise(claim_until_draining(Arc::clone(&shared), Arc::clone(&queues)).boxed());
        let acks = supervise(completer::write_acks(Arc::clone(&shared), ack_receiver).boxed());
        Workers {
            shared,
            queues,
            tracker,
            contexts,
            supervisors,
            claimer,
            acks,
        }
    }
}

/// Runs one job in a task of its own, so that neither a panic nor a long poll touches its neighbours.
async fn run_job(
    shared: Arc<Shared>,
    tracker: TaskTracker,
    queue: &'static str,
    timeout: Duration,
    handler: Handler,
    claimed: Claimed,
) -> Outcome {
    let run = claimed.run;
    let span = tracing::info_span!("job", queue, job_id = run.job_id, attempt = run.attempt);
    let work = async move {
        let handled = async {
            match handler(claimed.payload, run) {
                Some(work) => Outcome::Ended(work.await),
                None => Outcome::Undecodable,
            }
        };
        let retry = |reason| Outcome::Ended(Err(JobError::Retry { after: None, reason }));
        tokio::select! {
            handled = tokio::time::timeout(timeout, AssertUnwindSafe(handled).catch_unwind()) => match handled {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => retry("the run panicked".to_owned()),
                Err(_) => retry(format!("the run took more than {timeout:?}")),
            },
            () = shared.cut.cancelled() => Outcome::Ended(Err(JobError::Release)),
        }
    };
    // Aborted with the caller: when apalis drops a run, nothing of it goes on.
    let task = AbortOnDropHandle::new(tracker.spawn(work.instrument(span)));
    task.await.unwrap_or(Outcome::Ended(Err(JobError::Release)))
}
