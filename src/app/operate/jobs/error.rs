//! Why nothing was done with jobs.

use cura_answers::RetryError;
use cura_domain::FileId;
use cura_queue::{JobId, JobState};
use cura_store::StoreError;
use thiserror::Error;

use crate::operate::OperateError;

/// Why nothing was done with jobs.
#[derive(Debug, Error)]
pub enum OperateJobsError {
    /// There is no such job.
    #[error("there is no job {0}")]
    NotFound(JobId),
    /// No handler knows this queue.
    #[error("there is no queue {0}")]
    UnknownQueue(String),
    /// It was cancelled, which stays so.
    #[error("job {0} was cancelled")]
    Cancelled(JobId),
    /// Only a dead job is retried.
    #[error("job {0} is not dead")]
    NotDead(JobId),
    /// It is over, and cannot be cancelled.
    #[error("job {0} is over")]
    Over(JobId),
    /// The file of a dead scan waits for no scan.
    #[error("file {0} waits for no scan any more")]
    FileNotScanning(FileId),
    /// The export of a dead job was given up.
    #[error("the export is gone")]
    ExportGone,
    /// An answer is not retried, for a reason of its own.
    #[error("the answer is not retried: {0}")]
    Answer(RetryError),
    /// The person of an answer is being erased.
    #[error("the answer is not retried: its person is being erased")]
    UserErased,
    /// The person of an answer has used up the tokens of the day.
    #[error("the answer is not retried: its person has used up the tokens of the day")]
    QuotaExceeded,
    /// The person of an answer has as many unfinished ones as they may have.
    #[error("the answer is not retried: its person has as many unfinished answers as may be")]
    TooManyGenerations,
    /// The queue is not paused.
    #[error("queue {0} is not paused")]
    NotPaused(String),
    /// Jobs that were over so lately are kept: their keys keep them from being enqueued twice.
    #[error("jobs are kept for an hour after their end")]
    TooYoung,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RetryError> for OperateJobsError {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::Store(error) => Self::Store(error),
            error => Self::Answer(error),
        }
    }
}

impl OperateError for OperateJobsError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "job_not_found",
            Self::UnknownQueue(_) => "queue_unknown",
            Self::Cancelled(_) => "job_cancelled",
            Self::NotDead(_) => "job_not_dead",
            Self::Over(_) => "job_over",
            Self::FileNotScanning(_) => "file_not_scanning",
            Self::ExportGone => "export_gone",
            Self::Answer(error) => match error {
                RetryError::UserSuspended => "user_suspended",
                RetryError::ConversationGone => "conversation_gone",
                RetryError::ConversationBusy => "conversation_busy",
                RetryError::Cancelled => "answer_cancelled",
                RetryError::Completed => "answer_completed",
                RetryError::AnsweredAnew => "answered_anew",
                RetryError::NotDead => "job_not_dead",
                RetryError::Store(error) => error.code(),
            },
            Self::UserErased => "user_erased",
            Self::QuotaExceeded => "quota_exceeded",
            Self::TooManyGenerations => "too_many_generations",
            Self::NotPaused(_) => "queue_not_paused",
            Self::TooYoung => "jobs_too_young",
            Self::Store(error) => error.code(),
        }
    }
}

impl OperateJobsError {
    /// Why a job that is not in the state that an act needs is left as it is: it is not dead.
    pub(super) fn not_dead(id: JobId, state: JobState) -> Self {
        match state {
            JobState::Cancelled => Self::Cancelled(id),
            _ => Self::NotDead(id),
        }
    }
}
