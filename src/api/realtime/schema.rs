//! Events: one schema for every transport.

use chrono::{DateTime, SecondsFormat, Utc};
use cura_app::chat::StartedAnswer;
use cura_app::feed::AnswerEvent;
use cura_app::feed::{Resync, UserEvent};
use cura_app::session_watch::SessionEnd;
use cura_domain::MessageId;
use cura_domain::message::MessageStatus;
use poem_openapi::types::ToJSON;
use poem_openapi::{Enum, Object, Union};

use crate::http::problem::Problem;
use crate::views::conversation::ConversationView;
use crate::views::message::{MessageView, ResourceView, RoleView};

/// Something that happened. `type` says what.
#[derive(Union)]
#[oai(rename = "Event", one_of = true, discriminator_name = "type")]
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
    #[oai(mapping = "message")]
    Message(MessageEvent),
    #[oai(mapping = "conversation")]
    Conversation(ConversationEvent),
    #[oai(mapping = "typing")]
    Typing(TypingEvent),
    #[oai(mapping = "read")]
    Read(ReadEvent),
    #[oai(mapping = "export")]
    Export(ExportEvent),
    #[oai(mapping = "resync")]
    Resync(ResyncEvent),
    #[oai(mapping = "session_ended")]
    SessionEnded(SessionEndedEvent),
    #[oai(mapping = "pong")]
    Pong(PongEvent),
    #[oai(mapping = "auth")]
    Auth(AuthEvent),
}

/// Delivery confirmation: stored and queued.
#[derive(Object)]
pub(crate) struct AckEvent {
    pub(crate) conversation_id: i64,
    pub(crate) user_message_id: i64,
    /// The answer.
    pub(crate) message_id: i64,
    /// On a socket: the sender's name for it.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) client_message_id: Option<String>,
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

/// The end: the answer failed. Without `message_id`, on a socket: what was asked for is refused, and no answer ends.
#[derive(Object)]
pub(crate) struct ErrorEvent {
    pub(crate) message_id: Option<i64>,
    /// What happened, for programs: a stable word.
    pub(crate) code: String,
    /// What happened, for people.
    pub(crate) detail: String,
    /// Whether asking again may help.
    pub(crate) retryable: bool,
    /// On a socket: the message that was refused, by its sender's name.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) client_message_id: Option<String>,
    /// On a socket, with `generation_in_progress`: the answer that is being written, and goes on.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) running_message_id: Option<i64>,
}

/// A message was said, or an answer asked for: as it was then.
#[derive(Object)]
pub(crate) struct MessageEvent {
    conversation_id: i64,
    message_id: i64,
    message: MessageView,
}

/// A conversation was made, changed or deleted.
#[derive(Object)]
pub(crate) struct ConversationEvent {
    conversation_id: i64,
    /// Whether it was deleted.
    deleted: bool,
    /// The conversation as it is now.
    #[oai(skip_serializing_if_is_none)]
    conversation: Option<ConversationView>,
}

/// Somebody types, or has stopped: the user elsewhere, or Cura.
#[derive(Object)]
pub(crate) struct TypingEvent {
    conversation_id: i64,
    role: RoleView,
    is_typing: bool,
}

/// The user has read as far as this message.
#[derive(Object)]
pub(crate) struct ReadEvent {
    conversation_id: i64,
    message_id: i64,
}

/// An archive of everything is ready at `/users/me/export`.
#[derive(Object)]
pub(crate) struct ExportEvent {
    /// `ready`.
    status: String,
    /// In bytes.
    size: Option<i64>,
    /// Until when it can be fetched.
    expires_at: Option<String>,
}

/// Why a cursor is of no use.
#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum ResyncReason {
    /// It is older than seven days.
    TooOld,
    /// It is from elsewhere.
    Unknown,
}

/// The cursor is of no use: reload by REST, and go on from here.
#[derive(Object)]
pub(crate) struct ResyncEvent {
    reason: ResyncReason,
}

/// The answer to `ping`, on a socket.
#[derive(Object)]
pub(crate) struct PongEvent {
    /// The server's time.
    pub(crate) at: DateTime<Utc>,
}

/// The answer to `auth`, on a socket: the new token is taken.
#[derive(Object)]
pub(crate) struct AuthEvent {
    /// When it expires.
    pub(crate) expires_at: DateTime<Utc>,
}

/// Why a session is over.
#[derive(Enum)]
#[oai(rename = "SessionEndReason", rename_all = "snake_case")]
enum SessionEndReason {
    /// Signed out, here or elsewhere.
    SignedOut,
    /// The account was suspended.
    Suspended,
    /// The access token has expired; with a fresh one, go on where you were.
    Expired,
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
                SessionEnd::Expired => SessionEndReason::Expired,
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
            Self::Message(_) => "message",
            Self::Conversation(_) => "conversation",
            Self::Typing(_) => "typing",
            Self::Read(_) => "read",
            Self::Export(_) => "export",
            Self::Resync(_) => "resync",
            Self::SessionEnded(_) => "session_ended",
            Self::Pong(_) => "pong",
            Self::Auth(_) => "auth",
        }
    }

    /// The event as one line of JSON.
    pub(crate) fn to_line(&self) -> String {
        self.to_json_string()
    }

    /// What a auth of `answer` is told.
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

    /// What a connection of a user is told.
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
            detail: problem.detail().to_owned(),
            retryable: problem.is_retryable(),
            ..Self::new(problem.code())
        }
    }
}

impl ErrorEvent {
    /// An error of no message, for which trying again does not help.
    pub(crate) fn new(code: impl Into<String>) -> Self {
        Self {
            message_id: None,
            code: code.into(),
            detail: String::new(),
            retryable: false,
            client_message_id: None,
            running_message_id: None,
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
