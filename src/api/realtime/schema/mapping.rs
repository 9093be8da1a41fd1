//! What happens in the app, as the events that clients receive.

use chrono::SecondsFormat;
use cura_app::chat::StartedAnswer;
use cura_app::feed::{AnswerEvent, Resync, UserEvent};
use cura_app::session_watch::SessionEnd;
use cura_domain::MessageId;
use cura_domain::announcement::Announcement;
use cura_domain::answer::Position;
use cura_domain::message::MessageStatus;
use cura_domain::push_log::{SendOutcome, TestedDevice};

use super::{
    AckEvent, AnnouncementEvent, ChunkEvent, CompleteEvent, ConversationEvent, ErrorEvent, EventView, ExportEvent,
    MessageEvent, NoticeEvent, PushEvent, PushOutcome, PushedDevice, QueuedEvent, ReadEvent, ResetEvent, ResyncEvent,
    ResyncReason, SessionEndReason, SessionEndedEvent, StartEvent, TypingEvent, UploadEvent,
};
use crate::http::problem::Problem;
use crate::views::message::ResourceView;

impl From<SessionEnd> for SessionEndedEvent {
    fn from(end: SessionEnd) -> Self {
        Self {
            reason: match end {
                SessionEnd::SignedOut => SessionEndReason::SignedOut,
                SessionEnd::Suspended => SessionEndReason::Suspended,
                SessionEnd::Expired => SessionEndReason::Expired,
            },
        }
    }
}

impl From<Announcement> for EventView {
    fn from(announcement: Announcement) -> Self {
        Self::Announcement(AnnouncementEvent {
            id: announcement.id.0,
            title: announcement.title,
            text: announcement.text,
            until: announcement.until,
        })
    }
}

impl EventView {
    /// An event of the stream of `answer`.
    pub(crate) fn of_answer(answer: MessageId, event: AnswerEvent) -> Self {
        let message_id = answer.0;
        match event {
            AnswerEvent::Queued { queue_position, .. } => Self::Queued(QueuedEvent {
                message_id,
                position: queue_position,
            }),
            AnswerEvent::Notice { notice, .. } => Self::Notice(NoticeEvent {
                message_id,
                kind: notice.kind,
                title: notice.title,
                text: notice.text,
                resources: notice.resources.into_iter().map(ResourceView::from).collect(),
            }),
            AnswerEvent::Started { attempt, .. } => Self::Start(StartEvent {
                message_id,
                attempt: attempt.0.into(),
            }),
            AnswerEvent::Chunk { offset, content, .. } => Self::Chunk(ChunkEvent {
                message_id,
                offset: signed(offset),
                content,
            }),
            AnswerEvent::Reset { offset, .. } => Self::Reset(ResetEvent {
                message_id,
                offset: signed(offset),
            }),
            AnswerEvent::Gone { .. } => Self::Error(ErrorEvent {
                message_id: Some(message_id),
                detail: "This message was deleted.".to_owned(),
                ..ErrorEvent::new("message_not_found")
            }),
            AnswerEvent::Ended { message, .. } if message.status == MessageStatus::Error => {
                let code = message.error_code.unwrap_or_else(|| "generation_failed".to_owned());
                let (detail, retryable) = explain(&code);
                Self::Error(ErrorEvent {
                    message_id: Some(message_id),
                    detail: detail.to_owned(),
                    retryable,
                    ..ErrorEvent::new(code)
                })
            }
            AnswerEvent::Ended { message, .. } => Self::Complete(CompleteEvent {
                message_id,
                message: (*message).into(),
            }),
        }
    }

    /// What a reader of `answer` gets whose cursor cannot be used: it begins again, whatever it holds.
    pub(crate) fn restart(answer: MessageId) -> [Self; 2] {
        let reset = AnswerEvent::Reset {
            offset: 0,
            position: Position::START,
        };
        [
            Self::of_user(UserEvent::Resync(Resync::Unknown)),
            Self::of_answer(answer, reset),
        ]
    }

    /// An event of a user.
    pub(crate) fn of_user(event: UserEvent) -> Self {
        match event {
            UserEvent::Message(message) => Self::Message(MessageEvent {
                conversation_id: message.conversation_id.0,
                message_id: message.id.0,
                message: (*message).into(),
            }),
            UserEvent::Answer(answer, event) => Self::of_answer(answer, event),
            UserEvent::Conversation(id, conversation) => Self::Conversation(ConversationEvent {
                conversation_id: id.0,
                deleted: conversation.is_none(),
                conversation: conversation.map(|conversation| (*conversation).into()),
            }),
            UserEvent::Read(conversation, message) => Self::Read(ReadEvent {
                conversation_id: conversation.0,
                message_id: message.0,
            }),
            UserEvent::Typing(conversation, role, is_typing) => Self::Typing(TypingEvent {
                conversation_id: conversation.0,
                role: role.into(),
                is_typing,
            }),
            UserEvent::Export(ready) => Self::Export(ExportEvent {
                status: "ready".to_owned(),
                size: Some(ready.size),
                expires_at: Some(ready.expires_at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            }),
            UserEvent::Push(tested) => Self::Push(PushEvent {
                push_id: tested.push_id,
                devices: tested.devices.into_iter().map(Into::into).collect(),
            }),
            UserEvent::Upload(id, file) => Self::Upload(UploadEvent {
                upload_id: id.0,
                deleted: file.is_none(),
                upload: file.map(|file| (*file).into()),
            }),
            UserEvent::Resync(reason) => Self::Resync(ResyncEvent {
                reason: match reason {
                    Resync::TooOld => ResyncReason::TooOld,
                    Resync::Unknown => ResyncReason::Unknown,
                },
            }),
        }
    }
}

impl From<&StartedAnswer> for AckEvent {
    fn from(started: &StartedAnswer) -> Self {
        Self {
            conversation_id: started.conversation.0,
            user_message_id: started.user_message.id.0,
            message_id: started.answer.id.0,
            client_message_id: None,
            replayed: started.replayed,
        }
    }
}

/// A problem on a socket. `message_id` stays empty: it would say that this answer has ended.
impl From<Problem> for ErrorEvent {
    fn from(problem: Problem) -> Self {
        Self {
            running_message_id: problem.message_id(),
            file_id: problem.file_id(),
            limit: problem.limit().and_then(|limit| i32::try_from(limit).ok()),
            detail: problem.detail().to_owned(),
            retryable: problem.is_retryable(),
            ..Self::new(problem.code())
        }
    }
}

impl ErrorEvent {
    /// An error without a message, for which a retry does not help.
    pub(crate) fn new(code: impl Into<String>) -> Self {
        Self {
            message_id: None,
            code: code.into(),
            detail: String::new(),
            retryable: false,
            client_message_id: None,
            running_message_id: None,
            file_id: None,
            limit: None,
        }
    }
}

/// Offsets fit: an answer has at most a few megabytes.
fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// What the code of a failed answer means to a person, and whether regenerating may help.
fn explain(code: &str) -> (&'static str, bool) {
    match code {
        "provider_refused" => ("The AI service refused to answer this message.", false),
        "context_too_long" => ("The conversation is too long for the AI service.", false),
        "provider_unauthorized" | "provider_misconfigured" | "provider_quota_exhausted" => {
            ("The AI service is misconfigured; the operators have to fix it.", false)
        }
        "provider_rate_limited" => ("The AI service is overloaded. Please try again later.", true),
        "provider_timeout" => ("The AI service took too long to answer. Please try again.", true),
        "empty_answer" => ("The AI service gave an empty answer. Please try again.", true),
        "provider_unavailable" | "provider_protocol" => ("The AI service is unavailable. Please try again.", true),
        _ => ("The answer could not be written. Please try again.", true),
    }
}

impl From<TestedDevice> for PushedDevice {
    fn from(device: TestedDevice) -> Self {
        Self {
            device_id: device.device_id.0,
            outcome: match device.outcome {
                SendOutcome::Sent => PushOutcome::Sent,
                SendOutcome::Retry => PushOutcome::Retry,
                SendOutcome::Gone => PushOutcome::Gone,
                SendOutcome::Inactive => PushOutcome::Inactive,
                SendOutcome::Kept => PushOutcome::Kept,
                SendOutcome::Failed => PushOutcome::Failed,
            },
            code: device.code,
        }
    }
}
