//! A message as clients see it.

use chrono::{DateTime, Utc};
use cura_app::messages::Message;
use cura_domain::file::{FileUse, UsedFile};
use cura_domain::message::{FinishReason, MessageStatus, Role};
use cura_domain::notice::{Notice, Resource};
use poem_openapi::{Enum, Object};
use serde::Serialize;

use crate::http::payload::written;
use crate::views::attachment::AttachmentView;

/// The author of a message.
#[derive(Enum, Serialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename = "Role", rename_all = "lowercase")]
pub(crate) enum RoleView {
    User,
    Assistant,
    System,
}

impl From<Role> for RoleView {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
            Role::System => Self::System,
        }
    }
}

/// The status of a message.
#[derive(Enum, Serialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename = "MessageStatus", rename_all = "lowercase")]
enum StatusView {
    /// The answer is queued or being written.
    Sending,
    /// The message is final.
    Sent,
    /// The answer failed: `metadata.error` says why.
    Error,
}

/// Why an answer ended.
#[derive(Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "FinishReason", rename_all = "snake_case")]
enum FinishReasonView {
    /// The model finished.
    Stop,
    /// The model's output limit was reached.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// The user cancelled it.
    Cancelled,
}

/// The tokens of an answer.
#[derive(Object, Serialize)]
#[oai(rename = "Usage")]
struct UsageView {
    /// The tokens that the model was given.
    input_tokens: i64,
    /// The tokens that the model wrote, thoughts included.
    output_tokens: i64,
    /// The sum of both.
    total_tokens: i64,
    /// Whether the numbers are estimated, because the provider reported none.
    estimated: bool,
}

/// A place to find help.
#[derive(Object, Serialize)]
#[oai(rename = "Resource")]
pub(crate) struct ResourceView {
    /// The name of the service that helps.
    name: String,
    /// A phone number, or another way to reach them.
    contact: String,
    /// Its web page, with https; null if it has none.
    url: Option<String>,
}

impl From<Resource> for ResourceView {
    fn from(resource: Resource) -> Self {
        Self {
            name: resource.name,
            contact: resource.contact,
            url: resource.url,
        }
    }
}

/// Help to show beside an answer, because the message suggests danger.
#[derive(Object, Serialize)]
#[oai(rename = "Notice")]
struct NoticeView {
    /// The kind of danger: a stable code.
    kind: String,
    /// A short heading.
    title: String,
    /// A few sentences, in the user's language where possible.
    text: String,
    /// Where to find help: emergency numbers first, then services that listen.
    resources: Vec<ResourceView>,
}

/// How an answer was generated; empty for a message of the user.
#[derive(Object, Serialize)]
#[oai(rename = "MessageMetadata")]
struct MetadataView {
    /// The model, as the provider names it.
    model: Option<String>,
    /// The provider: `openai`, `anthropic`, `custom`, `demo`.
    provider: Option<String>,
    /// Why the answer ended; null before its end, if it failed, and for a message of the user.
    finish_reason: Option<FinishReasonView>,
    /// The tokens of the answer; null before its end and for a message of the user.
    usage: Option<UsageView>,
    /// Those of the output tokens that the model spent on thoughts, which are not shown; estimated where the provider does
    /// not state them.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<i64>,
    /// The time from storing the message to the end of the answer, in milliseconds.
    latency_ms: Option<i64>,
    /// The time from storing the message to the first text of the answer, in milliseconds.
    ttft_ms: Option<i64>,
    /// The number of attempts. Text that turns out to be a thought is taken back, and the attempt that goes on counts anew.
    attempts: i64,
    /// With status `error`: a stable code that says why.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Help to show beside the answer, as in the `notice` event.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<NoticeView>,
    /// How much of the files in the conversation the model was given for the answer, the newest first; only where there were any.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<UsedFileView>>,
}

/// How much of a file the model was given.
#[derive(Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "FileUse", rename_all = "snake_case")]
enum FileUseView {
    /// All of it.
    Whole,
    /// The beginning of its text.
    Cut,
    /// Nothing but its name.
    LeftOut,
}

/// A file, and how much of it the model was given.
#[derive(Object, Serialize)]
#[oai(rename = "UsedFile")]
struct UsedFileView {
    /// The file; it may be deleted since.
    id: i64,
    /// How much of it the model was given.
    used: FileUseView,
    /// How many pages of a document the model was given, from the first.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u32>,
    /// How many pages the document has.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    page_count: Option<u32>,
}

impl From<UsedFile> for UsedFileView {
    fn from(file: UsedFile) -> Self {
        Self {
            id: file.id.0,
            used: match file.used {
                FileUse::Whole => FileUseView::Whole,
                FileUse::Cut => FileUseView::Cut,
                FileUse::LeftOut => FileUseView::LeftOut,
            },
            pages: file.pages,
            page_count: file.page_count,
        }
    }
}

impl From<Notice> for NoticeView {
    fn from(notice: Notice) -> Self {
        Self {
            kind: notice.kind,
            title: notice.title,
            text: notice.text,
            resources: notice.resources.into_iter().map(ResourceView::from).collect(),
        }
    }
}

/// A message of the user or of Cura.
#[derive(Object, Serialize)]
#[oai(rename = "Message")]
pub(crate) struct MessageView {
    /// The id of the message.
    id: i64,
    /// The conversation that it belongs to.
    conversation_id: i64,
    /// The message that this one answers or follows.
    parent_id: Option<i64>,
    /// Who wrote it.
    role: RoleView,
    /// The text; of a running answer, the text so far.
    content: String,
    /// Whether it is final.
    status: StatusView,
    /// The files of a user's message.
    attachments: Vec<AttachmentView>,
    /// How an answer was generated; empty for a message of the user.
    metadata: MetadataView,
    /// When it was stored; of an answer, when it was asked for.
    #[serde(serialize_with = "written::time")]
    created_at: DateTime<Utc>,
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        let usage = message.usage.map(|usage| UsageView {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            estimated: usage.estimated,
        });
        Self {
            id: message.id.0,
            conversation_id: message.conversation_id.0,
            parent_id: message.parent_id.map(|id| id.0),
            role: message.role.into(),
            content: message.content,
            status: match message.status {
                MessageStatus::Sending => StatusView::Sending,
                MessageStatus::Sent => StatusView::Sent,
                MessageStatus::Error => StatusView::Error,
            },
            attachments: message.attachments.into_iter().map(AttachmentView::from).collect(),
            metadata: MetadataView {
                model: message.model,
                provider: message.provider,
                finish_reason: message.finish_reason.map(|reason| match reason {
                    FinishReason::Stop => FinishReasonView::Stop,
                    FinishReason::Length => FinishReasonView::Length,
                    FinishReason::ContentFilter => FinishReasonView::ContentFilter,
                    FinishReason::Cancelled => FinishReasonView::Cancelled,
                }),
                usage,
                reasoning_tokens: message.reasoning_tokens,
                latency_ms: message.latency_ms,
                ttft_ms: message.ttft_ms,
                attempts: message.attempt.0.into(),
                error: message.error_code,
                notice: message.notice.map(NoticeView::from),
                files: message
                    .files_used
                    .map(|files| files.into_iter().map(UsedFileView::from).collect()),
            },
            created_at: message.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::answer::{AttemptOffsets, Fence};
    use cura_domain::file::{File, FileReason, FileStatus, Finding, LinkedFile, Links};
    use cura_domain::file_type::FileType;
    use cura_domain::message::Usage;
    use cura_domain::{ConversationId, FileId, MessageId};
    use poem_openapi::types::ToJSON;

    use super::*;

    fn assert_written_as_described(message: Message) {
        let view = MessageView::from(message);
        assert_eq!(serde_json::to_value(&view).unwrap(), view.to_json().unwrap());
    }

    fn file(reason: Option<FileReason>, findings: Vec<Finding>, is_linked: bool) -> LinkedFile {
        LinkedFile {
            file: File {
                id: FileId(7),
                name: "photo.jpg".to_owned(),
                file_type: FileType::Jpeg,
                size: 10,
                sha256: vec![1, 254],
                status: if is_linked {
                    FileStatus::Clean
                } else {
                    FileStatus::Failed
                },
                reason,
                signature: None,
                findings,
                has_thumbnail: is_linked,
                message: is_linked.then_some(MessageId(2)),
                created_at: DateTime::from_timestamp_micros(1_700_000_000_100_000).unwrap(),
            },
            links: is_linked.then(|| Links {
                original: "/files/7?v=original".to_owned(),
                thumbnail: Some("/files/7?v=thumb".to_owned()),
                expires_in: 3600,
            }),
        }
    }

    #[test]
    fn a_message_is_written_as_it_is_described() {
        let empty = Message {
            id: MessageId(2),
            conversation_id: ConversationId(1),
            parent_id: None,
            role: Role::User,
            content: "\u{1f408} \"meow\"\n".to_owned(),
            attachments: Vec::new(),
            status: MessageStatus::Sent,
            attempt: Fence(0),
            attempt_offsets: AttemptOffsets::default(),
            model: None,
            provider: None,
            finish_reason: None,
            usage: None,
            reasoning_tokens: None,
            latency_ms: None,
            ttft_ms: None,
            error_code: None,
            notice: None,
            files_used: None,
            created_at: DateTime::UNIX_EPOCH,
        };
        assert_written_as_described(empty.clone());
        let notice = |url: Option<&str>| Notice {
            kind: "kind".to_owned(),
            title: "title".to_owned(),
            text: "text".to_owned(),
            resources: vec![Resource {
                name: "name".to_owned(),
                contact: "112".to_owned(),
                url: url.map(str::to_owned),
            }],
        };
        for (role, status, finish_reason) in [
            (Role::Assistant, MessageStatus::Sending, FinishReason::Stop),
            (Role::System, MessageStatus::Error, FinishReason::Length),
            (Role::User, MessageStatus::Sent, FinishReason::ContentFilter),
            (Role::Assistant, MessageStatus::Sent, FinishReason::Cancelled),
        ] {
            assert_written_as_described(Message {
                parent_id: Some(MessageId(1)),
                role,
                status,
                attempt: Fence(3),
                model: Some("m".to_owned()),
                provider: Some("p".to_owned()),
                finish_reason: Some(finish_reason),
                usage: Some(Usage {
                    input_tokens: 1,
                    output_tokens: 2,
                    estimated: true,
                }),
                reasoning_tokens: Some(1),
                latency_ms: Some(5),
                ttft_ms: Some(4),
                error_code: Some("code".to_owned()),
                notice: Some(notice((role == Role::User).then_some("https://example.com"))),
                created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
                attachments: vec![
                    file(None, Vec::new(), true),
                    file(Some(FileReason::ScannerUnavailable), vec![Finding::PdfLaunch], false),
                ],
                ..empty.clone()
            });
        }
    }
}
