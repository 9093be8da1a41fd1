//! Why nothing was done with jobs, and what to do about it.

use cura_answers::RetryError;
use cura_app::operate::OperateError as _;
use cura_app::operate::jobs::{KNOWN_KINDS, OperateJobsError as Error};

use crate::commands::failure::{Exit, Failure};

/// There is no such queue.
pub(super) fn unknown_queue(queue: &str) -> Failure {
    Failure::from(Error::UnknownQueue(queue.to_owned()))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, text) = (error.code(), error.to_string());
        let no = |cure: &str| Self::new(Exit::No, code, text.clone()).cure(cure);
        match error {
            Error::NotFound(_) => Self::new(Exit::NotFound, code, text),
            Error::UnknownQueue(_) => {
                let queues: Vec<&str> = KNOWN_KINDS.iter().map(|kind| kind.queue).collect();
                Self::new(Exit::NotFound, code, text).cure(format!("name one of {}", queues.join(", ")))
            }
            Error::Cancelled(_) => no("what was cancelled has to be asked for anew"),
            Error::NotDead(_) => no("see `cura-admin jobs show` for where it stands"),
            Error::Over(_) => no("nothing: it does not run any more"),
            Error::FileNotScanning(file) => no(&format!(
                "see `cura-admin files show {file}`, and `files rescan {file}`"
            )),
            Error::ExportGone => no("nothing: its person asks for another one"),
            Error::Answer(RetryError::ConversationBusy) => no("run the command again when that one has ended"),
            Error::Answer(RetryError::NotDead) => no("see `cura-admin jobs show` for where it stands"),
            Error::Answer(_) | Error::UserErased => no("nothing: nobody waits for it any more"),
            Error::QuotaExceeded => no("run the command again tomorrow (UTC), or raise USER_DAILY_TOKENS"),
            Error::TooManyGenerations => no("run the command again when some of them have ended"),
            Error::NotPaused(_) => no("see `cura-admin jobs stats` for what is paused"),
            Error::TooYoung => no("name a moment that is an hour ago, or longer"),
            Error::Store(error) => error.into(),
        }
    }
}
