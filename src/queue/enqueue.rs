//! Enqueues jobs inside the caller's transaction: a job exists if that commits.

use std::time::Duration;

use cura_domain::{ConversationId, UserId};
use sqlx::{PgConnection, Row};
use ulid::Ulid;

use crate::error::QueueError;
use crate::job::{Job, JobId};
use crate::notify_channels::WAKE_CHANNEL;
use crate::on_failure;

/// The key in a running job's metadata that says that it was made ready meanwhile.
pub(crate) const READY_KEY: &str = "ready";
/// The key in a job's metadata that names the person whose words it works with.
const USER_KEY: &str = "user";
/// The key in a job's metadata that names the conversation whose words it works with.
const CONVERSATION_KEY: &str = "conversation";

/// What enqueueing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// A new job, ready when the transaction commits.
    New(JobId),
    /// There is a job with this key already, which may be over; nothing was changed.
    Duplicate,
}

/// The earliest time at which a job runs, and its priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EnqueueOptions {
    /// Not before this long from now; [`make_ready`] ends the wait.
    pub after: Duration,
    /// The higher, the earlier among those that may run; 0 is usual.
    pub priority: i32,
    /// Whose words the job works with; [`cancel_jobs_of`](crate::cancel_jobs_of) finds it by them.
    pub owner: Option<JobOwner>,
}

/// Whose words a job works with. When they are deleted, the job is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobOwner {
    /// The person.
    pub user: UserId,
    /// The conversation; `None` if the job works with all that the person has.
    pub conversation: Option<ConversationId>,
}

impl JobOwner {
    /// Whatever belongs to this person.
    pub const fn user(user: UserId) -> Self {
        Self {
            user,
            conversation: None,
        }
    }

    /// A conversation of this person.
    pub const fn conversation(user: UserId, conversation: ConversationId) -> Self {
        Self {
            user,
            conversation: Some(conversation),
        }
    }
}

/// The metadata of a new job: its on-failure job and its owner, as keys and values.
fn metadata<J: Job>(owner: Option<JobOwner>) -> (Vec<&'static str>, Vec<String>) {
    let mut metadata = Vec::new();
    if let Some(job) = J::ON_FAILURE {
        metadata.push((on_failure::QUEUE_KEY, job.queue.to_owned()));
        metadata.push((on_failure::ATTEMPTS_KEY, job.max_attempts.to_string()));
    }
    if let Some(owner) = owner {
        metadata.push((USER_KEY, owner.user.to_string()));
        metadata.extend(owner.conversation.map(|id| (CONVERSATION_KEY, id.to_string())));
    }
    metadata.into_iter().unzip()
}

/// What all jobs of a kind have, for a statement that stores a job together with what it works on. Such a statement writes the
/// payload as JSON, and adds the owner to the metadata: as `user` and `conversation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobKind {
    /// The queue.
    pub queue: &'static str,
    /// How often a job may be tried.
    pub max_attempts: i32,
    /// The metadata but for the owner: keys and values.
    pub metadata: (Vec<String>, Vec<String>),
}

impl JobKind {
    /// The kind of job `J`.
    pub fn of<J: Job>() -> Self {
        let (keys, values) = metadata::<J>(None);
        Self {
            queue: J::QUEUE,
            max_attempts: i32::try_from(J::MAX_ATTEMPTS).unwrap_or(i32::MAX),
            metadata: (keys.into_iter().map(str::to_owned).collect(), values),
        }
    }
}

/// The id of a new job.
pub fn new_job_id() -> JobId {
    // Generated here: apalis' function costs every new connection some milliseconds, for the extension behind it.
    Ulid::generate().to_string()
}

/// What the row of a new job holds, for a statement that inserts it beside others. As [`enqueue_with`] does, it leaves the row away
/// where there is one with this queue and key already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: &'static str,
    /// What it works on.
    pub payload: Vec<u8>,
    /// How often it may be tried.
    pub max_attempts: i32,
    /// Not before this long from now.
    pub after: Duration,
    /// The higher, the earlier.
    pub priority: i32,
    /// Two jobs of one queue with the same key are one.
    pub key: String,
    /// The keys of its metadata, and their values; none, and the metadata is null.
    pub metadata: (Vec<&'static str>, Vec<String>),
}

impl NewJob {
    /// A row for `job`.
    ///
    /// # Errors
    /// When the payload cannot be written as JSON.
    pub fn new<J: Job>(job: &J, options: EnqueueOptions) -> Result<Self, QueueError> {
        Ok(Self {
            id: new_job_id(),
            queue: J::QUEUE,
            payload: serde_json::to_vec(job)?,
            max_attempts: i32::try_from(J::MAX_ATTEMPTS).unwrap_or(i32::MAX),
            after: options.after,
            priority: options.priority,
            key: job.key(),
            metadata: metadata::<J>(options.owner),
        })
    }
}

/// Enqueues `job`, to run at once, if the transaction of `conn` commits. One INSERT; apalis' trigger notifies the workers at
/// COMMIT.
pub async fn enqueue<J: Job>(conn: &mut PgConnection, job: &J) -> Result<Enqueued, QueueError> {
    enqueue_with(conn, job, EnqueueOptions::default()).await
}

/// Enqueues `job` as [`enqueue`] does, with a delay or a priority.
pub async fn enqueue_with<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    options: EnqueueOptions,
) -> Result<Enqueued, QueueError> {
    insert(
        conn,
        job,
        options,
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
         VALUES ($9, $1, $2, 'Pending', 0, $3, now() + make_interval(secs => $4), $8, $5,
                 CASE WHEN cardinality($6::text[]) > 0 THEN hstore($6::text[], $7::text[]) END)
         ON CONFLICT (job_type, idempotency_key) DO NOTHING
         RETURNING id",
    )
    .await
}

/// Enqueues `job` as [`enqueue_with`] does, also if an earlier job with its key is over: then that one is renewed. There is
/// never more than one that waits or runs.
pub async fn enqueue_or_renew<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    options: EnqueueOptions,
) -> Result<Enqueued, QueueError> {
    insert(
        conn,
        job,
        options,
        "WITH enqueued AS (
             INSERT INTO apalis.jobs AS j
                 (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
             VALUES ($9, $1, $2, 'Pending', 0, $3, now() + make_interval(secs => $4), $8, $5,
                     CASE WHEN cardinality($6::text[]) > 0 THEN hstore($6::text[], $7::text[]) END)
             ON CONFLICT (job_type, idempotency_key) DO UPDATE
             SET job = EXCLUDED.job, status = 'Pending', attempts = 0, max_attempts = EXCLUDED.max_attempts,
                 run_at = EXCLUDED.run_at, priority = EXCLUDED.priority, metadata = EXCLUDED.metadata,
                 done_at = NULL, last_result = NULL, lock_by = NULL, lock_at = NULL
             WHERE j.status IN ('Done', 'Killed')
             RETURNING id
         )
         SELECT id, pg_notify('cura_queue_wake', '')::text FROM enqueued",
    )
    .await
}

async fn insert<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    options: EnqueueOptions,
    statement: &'static str,
) -> Result<Enqueued, QueueError> {
    let job = NewJob::new(job, options)?;
    let (keys, values) = job.metadata;
    let row = sqlx::query(statement)
        .bind(job.payload)
        .bind(job.queue)
        .bind(job.max_attempts)
        .bind(job.after.as_secs_f64())
        .bind(job.key)
        .bind(keys)
        .bind(values)
        .bind(job.priority)
        .bind(job.id)
        .fetch_optional(conn)
        .await?;
    Ok(match row {
        Some(row) => Enqueued::New(row.try_get(0)?),
        None => Enqueued::Duplicate,
    })
}

/// Makes waiting jobs of queue `J` with these keys ready at once, if the transaction of `conn` commits. One that is running, and
/// may be about to find that it has to wait, is ready as soon as it is snoozed. One that is ready already is locked, so that it is
/// not claimed, and finds that it has to wait, before the transaction commits.
///
/// Lock order among jobs: a transaction first cancels those of the conversation it has locked, then makes others ready, which
/// waits for no lock. A job that another transaction has locked is left alone: it is being cancelled, made ready, claimed or
/// snoozed at this moment, and becomes ready at its `run_at` at the latest. The queue's own statements that change many jobs have
/// no order; they give up before any other transaction has to.
pub async fn make_ready<J: Job>(conn: &mut PgConnection, keys: &[String]) -> Result<(), QueueError> {
    sqlx::query(
        "WITH made_ready AS (
             UPDATE apalis.jobs
             SET run_at = CASE WHEN status = 'Pending' THEN LEAST(run_at, now()) ELSE run_at END,
                 metadata = CASE WHEN status = 'Running' THEN COALESCE(metadata, '') || hstore($4, '1') ELSE metadata END
             WHERE id = ANY(ARRAY(SELECT id FROM apalis.jobs
                                  WHERE job_type = $1 AND idempotency_key = ANY($2)
                                    AND status IN ('Pending', 'Running')
                                  ORDER BY id FOR UPDATE SKIP LOCKED))
             RETURNING status
         )
         SELECT pg_notify($3, '')::text FROM made_ready WHERE status = 'Pending' LIMIT 1",
    )
    .bind(J::QUEUE)
    .bind(keys)
    .bind(WAKE_CHANNEL)
    .bind(READY_KEY)
    .execute(conn)
    .await?;
    Ok(())
}
