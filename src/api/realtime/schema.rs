//! The events that clients receive: one schema for server-sent events and sockets.

mod mapping;

use chrono::{DateTime, Utc};
use poem_openapi::types::ToJSON;
use poem_openapi::{Enum, Object, Union};
use serde::Serialize;

use crate::views::attachment::AttachmentView;
use crate::views::conversation::ConversationView;
use crate::views::message::{MessageView, ResourceView, RoleView};

/// An event. `type` says which.
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
    #[oai(mapping = "push")]
    Push(PushEvent),
    #[oai(mapping = "upload")]
    Upload(UploadEvent),
    #[oai(mapping = "announcement")]
    Announcement(AnnouncementEvent),
    #[oai(mapping = "resync")]
    Resync(ResyncEvent),
    #[oai(mapping = "session_ended")]
    SessionEnded(SessionEndedEvent),
    #[oai(mapping = "pong")]
    Pong(PongEvent),
    #[oai(mapping = "auth")]
    Auth(AuthEvent),
}

/// The message is stored, and its answer is queued.
#[derive(Object)]
pub(crate) struct AckEvent {
    /// The conversation that the message was stored in; a new one if the request named none.
    pub(crate) conversation_id: i64,
    /// The id of the user's message.
    pub(crate) user_message_id: i64,
    /// The id of the answer.
    pub(crate) message_id: i64,
    /// On a socket: the `client_message_id` of the message.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) client_message_id: Option<String>,
    /// Whether an earlier request with the same key had stored it.
    pub(crate) replayed: bool,
}

/// The answer waits, because all workers are busy.
#[derive(Object)]
pub(crate) struct QueuedEvent {
    /// The id of the answer.
    message_id: i64,
    /// Its position in the queue, from 1.
    position: i64,
}

/// Help to show beside the answer, because the message suggests danger. It never replaces or delays the answer.
#[derive(Object)]
pub(crate) struct NoticeEvent {
    /// The id of the answer that it is shown beside.
    message_id: i64,
    /// The kind of danger: a stable code.
    kind: String,
    /// A short heading.
    title: String,
    /// A few sentences, in the user's language where possible.
    text: String,
    /// Where to find help: emergency numbers first, then services that listen.
    resources: Vec<ResourceView>,
}

/// A worker has started an attempt.
#[derive(Object)]
pub(crate) struct StartEvent {
    /// The id of the answer.
    message_id: i64,
    /// The number of the attempt, from 1.
    attempt: i64,
}

/// Text to append.
#[derive(Object)]
pub(crate) struct ChunkEvent {
    /// The id of the answer.
    message_id: i64,
    /// The offset of the text in the answer, in UTF-8 bytes.
    offset: i64,
    /// The text to append.
    content: String,
}

/// Truncate the text: a new attempt cannot continue exactly.
#[derive(Object)]
pub(crate) struct ResetEvent {
    /// The id of the answer.
    message_id: i64,
    /// How many UTF-8 bytes to keep.
    offset: i64,
}

/// The end: the final message. Its `content` equals the joined chunks.
#[derive(Object)]
pub(crate) struct CompleteEvent {
    /// The id of the answer.
    message_id: i64,
    /// The final answer, as it is stored.
    message: MessageView,
}

/// The end: the answer failed. Without `message_id`, on a socket: a command is refused, and no answer ends.
#[derive(Object)]
pub(crate) struct ErrorEvent {
    /// The id of the answer that has ended; null or absent if none has.
    pub(crate) message_id: Option<i64>,
    /// What happened, for programs: a stable code.
    pub(crate) code: String,
    /// What happened, for people.
    pub(crate) detail: String,
    /// Whether a retry may help.
    pub(crate) retryable: bool,
    /// On a socket: the `client_message_id` of the refused message.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) client_message_id: Option<String>,
    /// On a socket, with `generation_in_progress`: the running answer, which continues.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) running_message_id: Option<i64>,
    /// On a socket, with `file_infected` and `file_failed`: the file.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) file_id: Option<i64>,
    /// On a socket, with `queue_full`: how many messages of a conversation may wait.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) limit: Option<i32>,
}

/// A message was stored, or an answer was started: as it was then.
#[derive(Object)]
pub(crate) struct MessageEvent {
    /// The conversation of the message.
    conversation_id: i64,
    /// The id of the message.
    message_id: i64,
    /// The message as it was then.
    message: MessageView,
}

/// A conversation was created, changed or deleted.
#[derive(Object)]
pub(crate) struct ConversationEvent {
    /// The id of the conversation.
    conversation_id: i64,
    /// Whether it was deleted.
    deleted: bool,
    /// The conversation as it is now.
    #[oai(skip_serializing_if_is_none)]
    conversation: Option<ConversationView>,
}

/// The user, on another device, or Cura is typing or has stopped.
#[derive(Object)]
pub(crate) struct TypingEvent {
    /// The conversation.
    conversation_id: i64,
    /// `user` for the user on another device, `assistant` for Cura.
    role: RoleView,
    /// `true` when typing begins, `false` when it stops.
    is_typing: bool,
}

/// The user has read the conversation up to this message.
#[derive(Object)]
pub(crate) struct ReadEvent {
    /// The conversation.
    conversation_id: i64,
    /// The last message that was read.
    message_id: i64,
}

/// What became of a test notification.
#[derive(Object)]
pub(crate) struct PushEvent {
    /// What `/devices/test-notification` returned.
    push_id: i64,
    /// What became of it on each device.
    devices: Vec<PushedDevice>,
}

/// What became of a test notification on one device.
#[derive(Object)]
pub(crate) struct PushedDevice {
    /// The id of the device, which may be removed since.
    device_id: i64,
    /// What came of the push.
    outcome: PushOutcome,
    /// What the push service said, in one word; `service_unavailable` if it took no pushes.
    code: Option<String>,
}

/// What came of a push.
#[derive(Enum, Clone, Copy)]
#[oai(rename_all = "lowercase")]
pub(crate) enum PushOutcome {
    /// The push service has taken it.
    Sent,
    /// The push service was asked too often, or did not answer.
    Retry,
    /// The device is gone, and was removed.
    Gone,
    /// The device belongs to another sender, and is inactive now.
    Inactive,
    /// It was not sent: the operator has to set something right.
    Kept,
    /// The push service does not take what was sent.
    Failed,
}

/// A file was uploaded, changed or deleted, on another device or by a worker.
#[derive(Object)]
pub(crate) struct UploadEvent {
    /// The id of the file.
    upload_id: i64,
    /// Whether it was deleted.
    deleted: bool,
    /// The file as it is now.
    #[oai(skip_serializing_if_is_none)]
    upload: Option<AttachmentView>,
}

/// The export is ready at `/users/me/export`.
#[derive(Object)]
pub(crate) struct ExportEvent {
    /// `ready`.
    status: String,
    /// In bytes.
    size: Option<i64>,
    /// When it is deleted.
    expires_at: Option<String>,
}

/// The operators tell everybody something. Every stream and socket gets it once that is open before `until`, also one that continues from
/// a cursor: show what has a known `id` once, and nothing of it after `until`.
#[derive(Object)]
pub(crate) struct AnnouncementEvent {
    /// Clients know by it what they have shown.
    id: i64,
    /// One line.
    title: String,
    /// Plain text, which may have line breaks.
    text: String,
    /// When it is over.
    until: DateTime<Utc>,
}

/// Why a cursor cannot be used.
#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum ResyncReason {
    /// It is older than seven days.
    TooOld,
    /// This installation did not issue it.
    Unknown,
}

/// The cursor cannot be used: reload by REST, and continue from the cursor of this event.
#[derive(Object)]
pub(crate) struct ResyncEvent {
    /// Why the cursor cannot be used.
    reason: ResyncReason,
}

/// The reply to `ping`, on a socket.
#[derive(Object)]
pub(crate) struct PongEvent {
    /// The server's time.
    pub(crate) at: DateTime<Utc>,
}

/// The reply to `auth`, on a socket: the new token is accepted.
#[derive(Object)]
pub(crate) struct AuthEvent {
    /// When it expires.
    pub(crate) expires_at: DateTime<Utc>,
}

/// Why a session has ended.
#[derive(Enum)]
#[oai(rename = "SessionEndReason", rename_all = "snake_case")]
enum SessionEndReason {
    /// Signed out, here or elsewhere.
    SignedOut,
    /// The account was suspended.
    Suspended,
    /// The access token has expired; reconnect with a new one and the same cursor.
    Expired,
}

/// The session has ended, and the connection is closed: do not reconnect with this token.
#[derive(Object)]
pub(crate) struct SessionEndedEvent {
    /// Why it has ended, and so whether a fresh token helps.
    reason: SessionEndReason,
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
            Self::Push(_) => "push",
            Self::Upload(_) => "upload",
            Self::Announcement(_) => "announcement",
            Self::Resync(_) => "resync",
            Self::SessionEnded(_) => "session_ended",
            Self::Pong(_) => "pong",
            Self::Auth(_) => "auth",
        }
    }

    /// The event as one line of JSON.
    pub(crate) fn to_line(&self) -> String {
        let mut line = Vec::new();
        self.write_line(&mut line);
        String::from_utf8(line).unwrap_or_default()
    }

    /// Adds the event as one line of JSON.
    pub(crate) fn write_line(&self, into: &mut Vec<u8>) {
        match self {
            // Nothing in it, and nothing about memory, can fail.
            Self::Chunk(chunk) => drop(serde_json::to_writer(into, &chunk.line())),
            _ => into.extend_from_slice(self.to_json_string().as_bytes()),
        }
    }
}

impl ChunkEvent {
    /// What [`ToJSON`] writes of the event, without a tree in between: there is one for each token.
    fn line(&self) -> ChunkLine<'_> {
        ChunkLine {
            content: &self.content,
            message_id: self.message_id,
            offset: self.offset,
            kind: "chunk",
        }
    }
}

#[derive(Serialize)]
struct ChunkLine<'a> {
    content: &'a str,
    message_id: i64,
    offset: i64,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_written_as_any_other_event() {
        let event = EventView::Chunk(ChunkEvent {
            message_id: 7,
            offset: 3,
            content: "a \"quoted\" 👋\u{2028}\n\u{1}".to_owned(),
        });
        assert_eq!(event.to_line(), event.to_json_string());
        let mut line = Vec::new();
        event.write_line(&mut line);
        assert_eq!(line, event.to_json_string().as_bytes());
    }
}
