//! The words of the log of pushes: what was pushed, what was decided, and what came of each send.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::push_text::AnswerOutcome;
use crate::stored_words::stored_words;
use crate::{DeviceId, MessageId};

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
        /// A newer answer of the same conversation was pushed, or is there after quiet hours.
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

/// What was decided for a message, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedPush {
    /// Which push.
    pub push_id: i64,
    /// What it is about.
    pub kind: PushKind,
    /// What was decided.
    pub decision: PushDecision,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Until when it waits, or has waited, because of quiet hours.
    pub quiet_until: Option<DateTime<Utc>>,
    /// Since when no device shows it any more.
    pub dismissed_at: Option<DateTime<Utc>>,
}

/// One send to one device, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedSend {
    /// Which push.
    pub push_id: i64,
    /// What it is about.
    pub kind: PushKind,
    /// Which message it is about; a test is about none.
    pub message_id: Option<MessageId>,
    /// The device, which may be gone.
    pub device_id: DeviceId,
    /// What came of it; `None` while it is sent, or when nobody lived to say.
    pub outcome: Option<SendOutcome>,
    /// What the push service said, in one word.
    pub code: Option<String>,
    /// How often it was sent.
    pub attempts: i16,
    /// When it was sent last.
    pub claimed_at: DateTime<Utc>,
    /// When its outcome was known.
    pub ended_at: Option<DateTime<Utc>>,
}

impl From<AnswerOutcome> for PushKind {
    fn from(outcome: AnswerOutcome) -> Self {
        match outcome {
            AnswerOutcome::Completed => Self::Answer,
            AnswerOutcome::Failed => Self::AnswerFailed,
        }
    }
}
