//! Answers: generating them, and failing those whose job was discarded.

pub(crate) mod fail_abandoned_answer;
pub(crate) mod generate_answer;
mod noted_files;
pub(crate) mod prepare_attempt;
mod prompt_files;
pub(crate) mod running_attempt;
pub(crate) mod stop_writers;

use cura_answers::WriteError;
use cura_queue::JobError;

/// What a job does when its attempt cannot write: the job ends, and is retried if the answer is not final.
pub(crate) fn write_failed(error: WriteError) -> JobError {
    match error {
        WriteError::Superseded => JobError::Retry {
            after: None,
            reason: error.to_string(),
        },
        WriteError::TooLong => JobError::Discard {
            reason: error.to_string(),
        },
        WriteError::Store(error) => crate::errors::retry_on_store_error(error),
    }
}
