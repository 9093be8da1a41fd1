//! The words of the log of pushes: what was pushed, what was decided, and what came of each send.

use serde::{Deserialize, Serialize};

use crate::DeviceId;
use crate::push_text::AnswerOutcome;
use crate::stored_words::stored_words;

stored_words!(
    /// What a push is about; the `type` that apps read.
    PushKind {
        /// An answer is there.
        Answer = "answer",
        /// There is no answer.
        AnswerFailed = "answer_failed",
        /// An answer was read elsewhere: what is shown of it goes.
        Read = "read",
        /// Somebody tries out pushes.
        Test = "test",
    }
);

stored_words!(
    /// What was decided for an answer.
    PushDecision {
        /// It was pushed.
        Pushed = "pushed",
        /// Somebody watched.
        Watched = "watched",
        /// It was read, or the person wrote on.
        Read = "read",
        /// The conversation is muted.
        Muted = "muted",
        /// The person wants no pushes.
        Off = "off",
        /// It waits for the end of quiet hours.
        Quiet = "quiet",
        /// After quiet hours, a newer answer of the same conversation was pushed.
        Superseded = "superseded",
        /// It could not be pushed for too long.
        Expired = "expired",
        /// The person has no device that can be pushed to.
        NoDevice = "no_device",
        /// It was cancelled or deleted.
        Gone = "gone",
    }
);

stored_words!(
    /// What came of a send.
    SendOutcome {
        /// The push service has taken it.
        Sent = "sent",
        /// It may be sent again.
        Retry = "retry",
        /// The device is gone.
        Gone = "gone",
        /// The device belongs to another sender.
        Inactive = "inactive",
        /// It was not sent, for a reason that an operator can mend.
        Kept = "kept",
        /// It was not sent, because of what we wanted to send.
        Failed = "failed",
    }
);

/// What became of a test: the payload of its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestedPush {
    /// Which test.
    pub push_id: i64,
    /// Each device that it was for.
    pub devices: Vec<TestedDevice>,
}

/// What became of a test on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestedDevice {
    /// The device.
    pub device_id: DeviceId,
    /// What came of the send.
    pub outcome: SendOutcome,
    /// What the push service said, in one word.
    pub code: Option<String>,
}

impl From<AnswerOutcome> for PushKind {
    fn from(outcome: AnswerOutcome) -> Self {
        match outcome {
            AnswerOutcome::Completed => Self::Answer,
            AnswerOutcome::Failed => Self::AnswerFailed,
        }
    }
}
