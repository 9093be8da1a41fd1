//! The worker side of one process: claims for all its queues, apalis workers that run them, and a clean way out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apalis::prelude::{WorkerBuilder, WorkerContext};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use sqlx::{PgPool, Row};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;

use crate::backend::{Claimed, ClaimedJobs, Lane, Outcome};
use crate::lease::bounded;
use crate::schedule::keep_enqueueing;
use crate::shared::Shared;
use crate::{Job, JobError, QueueError, Run, WorkersConfig, acks, lease, prune};

/// The most jobs claimed for one queue in one statement.
const CLAIM_BATCH: usize = 32;
/// How long before the deadline of a shutdown jobs are told to save and give back.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long outcomes may take to be written once everything has stopped.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often jobs are looked for that are ours without our knowing.
const FIND_LOST_EVERY: Duration = Duration::from_secs(5);
/// How long a job of low priority waits before it has the same as others.
const STARVING: Duration = Duration::from_secs(15);
/// Connections of the queue: to listen, claim, acknowledge, renew and prune, and one to spare.
const CONNECTIONS: u32 = 6;

type Handler = Arc<dyn Fn(Vec<u8>, Run) -> BoxFuture<'static, Result<(), JobError>> + Send + Sync>;

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
    shared: Arc<Shared>,
    lanes: Arc<[Arc<Lane>]>,
    tracker: TaskTracker,
    contexts: Vec<WorkerContext>,
    supervisors: Vec<AbortOnDropHandle<()>>,
    claimer: AbortOnDropHandle<()>,
    acks: AbortOnDropHandle<()>,
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Runs that did not end in time and were given back, without spending an attempt.
    pub given_back: usize,
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
        let handler: Handler = Arc::new(move |payload, run| match serde_json::from_slice::<J>(&payload) {
            Ok(job) => handler(job, run).boxed(),
            // Neither the payload nor serde's message, which may quote it, goes into the reason.
            Err(_) => futures_util::future::ready(Err(JobError::Fail {
                reason: "the payload cannot be decoded".to_owned(),
            }))
            .boxed(),
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
            .push(Box::new(move |shared| keep_enqueueing(shared, every, job).boxed()));
        self
    }

    /// Starts. Returns at once, also while Postgres is away: claiming begins when it is there.
    pub fn start(self) -> Workers {
        let (ack_sender, ack_receiver) = mpsc::channel(acks::BACKLOG);
        let shared = Arc::new(Shared::new(self.pool, self.config, ack_sender));
        let tracker = TaskTracker::new();
        let mut lanes = Vec::new();
        let mut contexts = Vec::new();
        for planned in self.planned {
            let (sender, receiver) = mpsc::channel(planned.concurrency);
            let lane = Arc::new(Lane {
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
            lanes.push(lane);
            contexts.push(context);
        }
        let lanes: Arc<[Arc<Lane>]> = lanes.into();
        let supervise = |task| AbortOnDropHandle::new(tracker.spawn(task));
        let mut supervisors = vec![
            supervise(lease::keep(Arc::clone(&shared)).boxed()),
            supervise(lease::listen(Arc::clone(&shared)).boxed()),
            supervise(prune::keep_pruning(Arc::clone(&shared)).boxed()),
        ];
        supervisors.extend(
            self.schedules
                .into_iter()
                .map(|schedule| supervise(schedule(Arc::clone(&shared)))),
        );
        let claimer = supervise(claim_until_draining(Arc::clone(&shared), Arc::clone(&lanes)).boxed());
        let acks = supervise(acks::write_acks(Arc::clone(&shared), ack_receiver).boxed());
        Workers {
            shared,
            lanes,
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
        let handled = AssertUnwindSafe(async { handler(claimed.payload, run).await }).catch_unwind();
        tokio::select! {
            handled = tokio::time::timeout(timeout, handled) => match handled {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(JobError::Retry { after: None, reason: "the run panicked".to_owned() }),
                Err(_) => Err(JobError::Retry { after: None, reason: format!("the run took more than {timeout:?}") }),
            },
            () = shared.cut.cancelled() => Err(JobError::Handover),
        }
    };
    // Aborted with the caller: when apalis drops a run, nothing of it goes on.
    let task = AbortOnDropHandle::new(tracker.spawn(work.instrument(span)));
    Outcome(task.await.unwrap_or(Err(JobError::Handover)))
}

async fn claim_until_draining(shared: Arc<Shared>, lanes: Arc<[Arc<Lane>]>) {
    let mut failing = false;
    let mut find_lost_at = Instant::now() + FIND_LOST_EVERY;
    while !shared.draining.is_cancelled() {
        let more = if shared.leased.load(Ordering::Acquire) {
            let claimed = async {
                if Instant::now() >= find_lost_at {
                    give_back_lost_claims(&shared).await?;
                    let_nobody_starve(&shared).await?;
                    find_lost_at = Instant::now() + FIND_LOST_EVERY;
                }
                claim(&shared, &lanes).await
            };
            match claimed.await {
                Ok(more) => {
                    failing = false;
                    more
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "claiming jobs failed");
                    }
                    false
                }
            }
        } else {
            false
        };
        if !more {
            tokio::select! {
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(shared.config.poll) => {}
                () = shared.draining.cancelled() => return,
            }
        }
    }
}

/// A claim whose answer got lost leaves jobs that are ours and that we know nothing of: they are given back. Only between
/// two claims, so that none is on its way.
async fn give_back_lost_claims(shared: &Shared) -> Result<(), QueueError> {
    let instance = shared.instance();
    let known = shared.known_runs();
    let given_back = sqlx::query(
        "WITH lost AS (
             UPDATE apalis.jobs
             SET status = 'Pending', attempts = attempts - 1, run_at = now(), lock_by = NULL, lock_at = NULL
             WHERE lock_by = $1 AND status = 'Running' AND NOT (id = ANY($2))
             RETURNING id
         )
         SELECT count(*) FROM lost",
    )
    .bind(&*instance)
    .bind(known)
    .fetch_one(&shared.pool);
    let lost: i64 = bounded(async { Ok(given_back.await?.try_get(0)?) }).await?;
    if lost > 0 {
        tracing::warn!(jobs = lost, "claims whose answer got lost were given back");
    }
    Ok(())
}

/// Whoever has waited long enough waits for nobody's priority any more.
async fn let_nobody_starve(shared: &Shared) -> Result<(), QueueError> {
    let aged = sqlx::query(
        "UPDATE apalis.jobs SET priority = 0
         WHERE status = 'Pending' AND priority < 0 AND run_at < now() - make_interval(secs => $1)",
    )
    .bind(STARVING.as_secs_f64())
    .execute(&shared.pool);
    bounded(async { Ok(aged.await.map(drop)?) }).await
}

/// Claims for every lane with free slots, in one statement; whether a lane was filled, so that more may be ready.
async fn claim(shared: &Shared, lanes: &[Arc<Lane>]) -> Result<bool, QueueError> {
    let free: Vec<(usize, usize)> = lanes
        .iter()
        .enumerate()
        .map(|(index, lane)| (index, lane.free().min(CLAIM_BATCH)))
        .filter(|(_, free)| *free > 0)
        .collect();
    if free.is_empty() {
        return Ok(false);
    }
    let instance = shared.instance();
    let queues: Vec<&str> = free.iter().map(|(index, _)| lanes[*index].queue).collect();
    let limits: Vec<i64> = free
        .iter()
        .map(|(_, free)| i64::try_from(*free).unwrap_or(i64::MAX))
        .collect();
    let claim = sqlx::query(
        "WITH ready AS MATERIALIZED (
             SELECT job.id FROM unnest($1::text[], $2::bigint[]) AS lane (queue, free)
             CROSS JOIN LATERAL (
                 SELECT id FROM apalis.jobs
                 WHERE job_type = lane.queue AND status = 'Pending' AND run_at <= now()
                 ORDER BY priority DESC, run_at LIMIT lane.free FOR UPDATE SKIP LOCKED
             ) job
         )
         UPDATE apalis.jobs j
         SET status = 'Running', attempts = attempts + 1, lock_by = $3, lock_at = now()
         FROM ready WHERE j.id = ready.id
         RETURNING j.id, j.job_type, j.job, j.attempts, j.max_attempts",
    )
    .bind(queues)
    .bind(limits)
    .bind(&*instance)
    .fetch_all(&shared.pool);
    let rows = bounded(async { Ok(claim.await?) }).await?;
    let mut taken = vec![0_usize; lanes.len()];
    for row in rows {
        let queue: &str = row.try_get(1)?;
        let Some((index, lane)) = lanes.iter().enumerate().find(|(_, lane)| lane.queue == queue) else {
            continue;
        };
        let attempt = row.try_get::<i32, _>(3)?.unsigned_abs();
        let run = shared.open_run(
            &instance,
            row.try_get(0)?,
            attempt,
            row.try_get::<i32, _>(4)?.unsigned_abs(),
        );
        taken[index] += 1;
        lane.running.fetch_add(1, Ordering::AcqRel);
        let claimed = Claimed {
            instance: Arc::clone(&instance),
            payload: row.try_get(2)?,
            run,
        };
        // The channel has a place for every slot of the lane.
        if lane.claimed.send(claimed).await.is_err() {
            tracing::error!(queue, "a claimed job has no worker");
        }
    }
    Ok(free.iter().any(|(index, wanted)| taken[*index] == *wanted))
}

impl Workers {
    /// How many jobs are running.
    pub fn running(&self) -> usize {
        self.lanes.iter().map(|lane| lane.running.load(Ordering::Acquire)).sum()
    }

    /// Stops claiming, lets running jobs finish until `deadline` from now, has them save and give back what is left a
    /// moment earlier so that a peer goes on at once, and leaves. The lease is renewed all the while.
    pub async fn shutdown(self, deadline: Duration) -> Drained {
        let deadline = Instant::now() + deadline;
        self.shared.draining.cancel();
        self.shared.drain_runs();
        // The claimer ends by itself, so that a claim under way is not cut in the middle.
        let _ = self.claimer.await;
        self.shared.drain_runs();
        let idle = || async {
            while self.lanes.iter().any(|lane| lane.running.load(Ordering::Acquire) > 0) {
                tokio::select! {
                    () = self.shared.wake.notified() => {}
                    // The listener takes wake-ups of its own; the count is looked at anyway.
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        let mut given_back = 0;
        if tokio::time::timeout_at(deadline.checked_sub(HANDOVER).unwrap_or(deadline), idle())
            .await
            .is_err()
        {
            given_back = self.lanes.iter().map(|lane| lane.running.load(Ordering::Acquire)).sum();
            self.shared.hand_runs_over();
        }
        if tokio::time::timeout_at(deadline, idle()).await.is_err() {
            self.shared.cut.cancel();
            if tokio::time::timeout(FLUSH_TIMEOUT, idle()).await.is_err() {
                tracing::error!("some jobs did not let themselves be given back");
            }
        }
        for context in &self.contexts {
            // Fails only when the worker has stopped already.
            let _ = context.stop();
        }
        let flushed = async {
            while self.shared.unwritten.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
            tracing::error!("outcomes of jobs could not be written before the end; others will run them again");
        }
        drop(self.acks);
        drop(self.supervisors);
        if let Err(error) = lease::leave(&self.shared).await {
            tracing::warn!(%error, "leaving failed; others notice within seconds");
        }
        self.tracker.close();
        Drained { given_back }
    }
}
