//! Events: one schema for every transport.

use cura_app::follow::AnswerEvent;
use cura_app::session_watch::SessionEnd;
use cura_domain::MessageId;
use cura_domain::message::MessageStatus;
use poem_openapi::types::ToJSON;
use poem_openapi::{Enum, Object, Union};

use crate::messages::{MessageView, ResourceView};

/// What happens to an answer. `type` says which event it is.
#[derive(Union)]
#[oai(rename = "Event", one_of = true, discriminator_name = "type")]
#[expect(
    clippy::large_enum_variant,
    reason = "an event lives as long as it takes to write it"
)]
pub(crate) enum EventView {
    #[oai(mapping = "ack")]
    Ack(AckEvent),
    #[oai(mapping = "queued")]
    Queued(QueuedEvent),
    #[oai(mapping = "start")]
    Start(StartEvent),
    #[oai(mapping = "notice")]
    Notice(NoticeEvent),
    #[oai(mapping = "chunk")]
    Chunk(ChunkEvent),
    #[oai(mapping = "reset")]
    Reset(ResetEvent),
    #[oai(mapping = "complete")]
    Complete(CompleteEvent),
    #[oai(mapping = "error")]
    Error(ErrorEvent),
    #[oai(mapping = "session_ended")]
    SessionEnded(SessionEndedEvent),
}

/// Delivery confirmation: stored and queued.
#[derive(Object)]
pub(crate) struct AckEvent {
    pub(crate) conversation_id: i64,
    pub(crate) user_message_id: i64,
    /// The answer.
    pub(crate) message_id: i64,
    /// Whether an earlier request with the same idempotency key had stored it.
    pub(crate) replayed: bool,
}

/// All workers are busy.
#[derive(Object)]
pub(crate) struct QueuedEvent {
    message_id: i64,
    /// The place among the answers that wait, from 1.
    position: i64,
}

/// Help that is shown beside the answer, because the question points to danger. It never replaces or delays the answer.
#[derive(Object)]
pub(crate) struct NoticeEvent {
    message_id: i64,
    /// What danger: a stable word.
    kind: String,
    title: String,
    text: String,
    resources: Vec<ResourceView>,
}

/// A worker has it.
#[derive(Object)]
pub(crate) struct StartEvent {
    message_id: i64,
    /// Which attempt this is, from 1.
    attempt: i64,
}

/// Text to append.
#[derive(Object)]
pub(crate) struct ChunkEvent {
    message_id: i64,
    /// Where it belongs: UTF-8 bytes of the answer so far.
    offset: i64,
    content: String,
}

/// Cut the text back: a new attempt could not continue exactly.
#[derive(Object)]
pub(crate) struct ResetEvent {
    message_id: i64,
    /// How many UTF-8 bytes stay.
    offset: i64,
}

/// The end: the final message. Its `content` equals the chunks joined.
#[derive(Object)]
pub(crate) struct CompleteEvent {
    message_id: i64,
    message: MessageView,
}

/// The end: the answer failed.
#[derive(Object)]
pub(crate) struct ErrorEvent {
    message_id: Option<i64>,
    /// What happened, for programs: a stable word.
    code: String,
    /// What happened, for people.
    detail: String,
    /// Whether asking again may help.
    retryable: bool,
}

/// Why a session is over.
#[derive(Enum)]
#[oai(rename = "SessionEndReason", rename_all = "snake_case")]
enum SessionEndReason {
    /// Signed out, here or elsewhere.
    SignedOut,
    /// The account was suspended.
    Suspended,
}

/// The end of the connection: do not reconnect with this token.
#[derive(Object)]
pub(crate) struct SessionEndedEvent {
    reason: SessionEndReason,
}

impl From<SessionEnd> for SessionEndedEvent {
    fn from(end: SessionEnd) -> Self {
        Self {
            reason: match end {
                SessionEnd::SignedOut => SessionEndReason::SignedOut,
                SessionEnd::Suspended => SessionEndReason::Suspended,
            },
        }
    }
}

impl EventView {
    /// The event's name, which is also its `type`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ack(_) => "ack",
            Self::Queued(_) => "queued",
            Self::Start(_) => "start",
            Self::Notice(_) => "notice",
            Self::Chunk(_) => "chunk",
            Self::Reset(_) => "reset",
            Self::Complete(_) => "complete",
            Self::Error(_) => "error",
            Self::SessionEnded(_) => "session_ended",
        }
    }

    /// The event as one line of JSON.
    pub(crate) fn to_line(&self) -> String {
        self.to_json_string()
    }

    /// What a watcher of `answer` is told, and the cursor after it.
    pub(crate) fn of(answer: MessageId, event: AnswerEvent) -> (Self, String) {
        let message_id = answer.0;
        match event {
            AnswerEvent::Queued { place, position } => (
                Self::Queued(QueuedEvent {
                    message_id,
                    position: place,
                }),
                position.to_string(),
            ),
            AnswerEvent::Notice { notice, position } => (
                Self::Notice(NoticeEvent {
                    message_id,
                    kind: notice.kind,
                    title: notice.title,
                    text: notice.text,
                    resources: notice.resources.into_iter().map(ResourceView::from).collect(),
                }),
                position.to_string(),
            ),
            AnswerEvent::Started { attempt, position } => (
                Self::Start(StartEvent {
                    message_id,
                    attempt: attempt.0.into(),
                }),
                position.to_string(),
            ),
            AnswerEvent::Chunk {
                offset,
                content,
                position,
            } => (
                Self::Chunk(ChunkEvent {
                    message_id,
                    offset: signed(offset),
                    content,
                }),
                position.to_string(),
            ),
            AnswerEvent::Reset { offset, position } => (
                Self::Reset(ResetEvent {
                    message_id,
                    offset: signed(offset),
                }),
                position.to_string(),
            ),
            AnswerEvent::Gone { position } => (
                Self::Error(ErrorEvent {
                    message_id: Some(message_id),
                    code: "message_not_found".to_owned(),
                    detail: "This message was deleted.".to_owned(),
                    retryable: false,
                }),
                position.to_string(),
            ),
            AnswerEvent::Ended { message, position } => {
                let event = if message.status == MessageStatus::Error {
                    let code = message.error_code.unwrap_or_else(|| "generation_failed".to_owned());
                    let (detail, retryable) = explain(&code);
                    Self::Error(ErrorEvent {
                        message_id: Some(message_id),
                        code,
                        detail: detail.to_owned(),
                        retryable,
                    })
                } else {
                    Self::Complete(CompleteEvent {
                        message_id,
                        message: (*message).into(),
                    })
                };
                (event, position.to_string())
            }
        }
    }
}

/// Offsets are far below 2^53: an answer has at most a few megabytes.
fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// What a failed answer's code means to a person, and whether asking again may help.
fn explain(code: &str) -> (&'static str, bool) {
    match code {
        "provider_refused" => ("The AI service does not answer this message.", false),
        "context_too_long" => ("The conversation has become too long for the AI service.", false),
        "provider_unauthorized" | "provider_misconfigured" | "provider_quota_exhausted" => (
            "The AI service cannot be used at the moment; its operators have to act.",
            false,
        ),
        "provider_rate_limited" => ("The AI service is overloaded. Please try again later.", true),
        "provider_timeout" => ("The AI service took too long to answer. Please try again.", true),
        "provider_unavailable" | "provider_protocol" => ("The AI service is not available. Please try again.", true),
        _ => ("The answer could not be written. Please try again.", true),
    }
}
