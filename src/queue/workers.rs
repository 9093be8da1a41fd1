//! The workers of one process: its queues, the loops that serve them, and the apalis workers that run their jobs.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{WorkerBuilder, WorkerContext};
use cura_postgres::SessionSetting;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::apalis_bridge::ClaimedJobs;
use crate::claimed_job::ClaimedJob;
use crate::cleaner::run_cleaner_loop;
use crate::completer::{self, run_completer_loop};
use crate::config::WorkersConfig;
use crate::dependency::{Dependency, Nothing};
use crate::executor::{Executor, Handler};
use crate::heartbeat::run_heartbeat_loop;
use crate::instance::Instance;
use crate::job::{Job, JobError};
use crate::notifier::run_notifier_loop;
use crate::producer::{ServedQueue, run_producer_loop};
use crate::run::Run;
use crate::scheduler::run_scheduler_loop;
use crate::slots::QueueSlots;
use crate::statement_timeout::STATEMENT_TIMEOUT;

/// Connections of the queue: to claim, complete, renew and clean, and one to spare. The notifier has its own.
const CONNECTIONS: u32 = 5;

/// Settings of the queue's sessions. Its statements touch few rows through an index each; without statistics (a table that was filled
/// a moment ago) the planner prefers to read it whole, and must not.
const SETTINGS: [SessionSetting; 6] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    // A crash of Postgres may take back the last half second: a claim, and the job is claimed once more; an outcome, and the job
    // runs once more; a heartbeat. What people are told is committed by the handlers, on other connections.
    ("synchronous_commit", "off"),
    // Less than Postgres' deadlock_timeout, a second: in a deadlock with another transaction it is the statement of the queue that
    // gives up, and is tried again.
    ("lock_timeout", "500ms"),
];

/// A queue to be served.
struct PlannedQueue {
    name: &'static str,
    concurrency: usize,
    timeout: Duration,
    handler: Handler,
}

/// Enqueues the jobs of a schedule until the process drains.
type Schedule = Box<dyn FnOnce(Arc<Instance>) -> BoxFuture<'static, ()> + Send>;

/// Collects the queues of a process. See [`Workers::builder`].
pub struct WorkersBuilder {
    pool: PgPool,
    config: WorkersConfig,
    planned: Vec<PlannedQueue>,
    schedules: Vec<Schedule>,
    dependency: Box<dyn Dependency>,
}

/// Running workers. Dropping them without [`Workers::shutdown`] is a crash: peers notice and take over.
pub struct Workers {
    pub(crate) instance: Arc<Instance>,
    pub(crate) queues: Arc<[ServedQueue]>,
    pub(crate) tracker: TaskTracker,
    pub(crate) contexts: Vec<WorkerContext>,
    pub(crate) loops: Vec<AbortOnDropHandle<()>>,
    pub(crate) producer: AbortOnDropHandle<()>,
    pub(crate) completer: AbortOnDropHandle<()>,
}

impl Workers {
    /// Workers on the database of `pool`, with connections of their own, whose sessions keep their state.
    pub fn builder(pool: &PgPool, config: WorkersConfig) -> WorkersBuilder {
        let options = pool.connect_options().as_ref().clone();
        let settings = [&cura_postgres::SETTINGS[..], &SETTINGS].concat();
        let pool = cura_postgres::pool_options(&settings)
            .max_connections(CONNECTIONS)
            .acquire_timeout(STATEMENT_TIMEOUT)
            .connect_lazy_with(options.application_name("cura-queue"));
        WorkersBuilder {
            pool,
            config,
            planned: Vec::new(),
            schedules: Vec::new(),
            dependency: Box::new(Nothing),
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
            // serde's message may quote the payload, so it is not passed on.
            let job = serde_json::from_slice::<J>(&payload).ok()?;
            Some(handler(job, run).boxed())
        });
        self.planned.push(PlannedQueue {
            name: J::QUEUE,
            concurrency,
            timeout: J::TIMEOUT,
            handler,
        });
        self
    }

    /// Enqueues `job(period)` once in each period of length `every`, however many processes do this; longer than a
    /// minute, shorter than a day.
    pub fn schedule<J: Job>(mut self, every: Duration, job: fn(i64) -> J) -> Self {
        self.schedules.push(Box::new(move |instance| {
            run_scheduler_loop(instance, every, job).boxed()
        }));
        self
    }

    /// Tells other processes with every heartbeat how the jobs' `dependency` does here, and this one how it does there.
    #[must_use]
    pub fn depending_on(mut self, dependency: impl Dependency) -> Self {
        self.dependency = Box::new(dependency);
        self
    }

    /// Starts. Returns at once, also while Postgres is unreachable: claiming begins when it answers.
    pub fn start(self) -> Workers {
        let (completions, completed) = mpsc::channel(completer::BACKLOG);
        let names = self.planned.iter().map(|planned| planned.name).collect();
        let instance = Arc::new(Instance::new(self.pool, self.config, names, self.dependency));
        let tracker = TaskTracker::new();
        let mut queues = Vec::new();
        let mut contexts = Vec::new();
        for planned in self.planned {
            let (jobs, claimed) = mpsc::channel(planned.concurrency);
            queues.push(ServedQueue {
                name: planned.name,
                slots: QueueSlots::new(planned.concurrency, Arc::clone(&instance.wake)),
                jobs,
            });
            let executor = Executor {
                instance: Arc::clone(&instance),
                tracker: tracker.clone(),
                completions: completions.clone(),
                queue: planned.name,
                timeout: planned.timeout,
                handler: planned.handler,
            };
            contexts.push(start_apalis_worker(executor, claimed));
        }
        let queues: Arc<[ServedQueue]> = queues.into();
        let spawn = |work| AbortOnDropHandle::new(tracker.spawn(work));
        let mut loops = vec![
            spawn(run_heartbeat_loop(Arc::clone(&instance)).boxed()),
            spawn(run_notifier_loop(Arc::clone(&instance)).boxed()),
            spawn(run_cleaner_loop(Arc::clone(&instance)).boxed()),
        ];
        loops.extend(
            self.schedules
                .into_iter()
                .map(|schedule| spawn(schedule(Arc::clone(&instance)))),
        );
        let producer = spawn(run_producer_loop(Arc::clone(&instance), Arc::clone(&queues)).boxed());
        let completer = spawn(run_completer_loop(Arc::clone(&instance), completed).boxed());
        Workers {
            instance,
            queues,
            tracker,
            contexts,
            loops,
            producer,
            completer,
        }
    }
}

/// Starts the apalis worker of a queue: it calls `executor` with each job from `claimed`.
fn start_apalis_worker(executor: Executor, claimed: mpsc::Receiver<ClaimedJob>) -> WorkerContext {
    let (queue, tracker) = (executor.queue, executor.tracker.clone());
    let context = WorkerContext::new(queue);
    let executor = Arc::new(executor);
    let worker = WorkerBuilder::new(context.clone())
        .backend(ClaimedJobs { jobs: claimed })
        .build(move |job: ClaimedJob| Arc::clone(&executor).execute(job));
    let mut events = worker.stream().boxed();
    tracker.spawn(async move {
        while let Some(event) = events.next().await {
            if let Err(error) = event {
                tracing::error!(queue, %error, "the worker of a queue failed");
            }
        }
    });
    context
}
