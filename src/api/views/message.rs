//! A message as clients see it, wherever it appears.

use chrono::{DateTime, Utc};
use cura_app::messages::Message;
use cura_domain::message::{FinishReason, MessageStatus, Role};
use cura_domain::notice::{Notice, Resource};
use poem_openapi::{Enum, Object};

/// Who speaks.
#[derive(Enum)]
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

/// How far a message has come.
#[derive(Enum)]
#[oai(rename = "MessageStatus", rename_all = "lowercase")]
enum StatusView {
    /// An answer that is queued or being written.
    Sending,
    /// Final.
    Sent,
    /// Final, and failed: `metadata.error` says why.
    Error,
}

/// Why an answer ended.
#[derive(Enum)]
#[oai(rename = "FinishReason", rename_all = "snake_case")]
enum FinishReasonView {
    /// The model was done.
    Stop,
    /// The model's output limit was reached.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// The user stopped it.
    Cancelled,
}

/// A file that belongs to a message.
#[derive(Object)]
#[oai(rename = "File")]
struct FileView {
    id: i64,
}

/// Tokens an answer cost.
#[derive(Object)]
#[oai(rename = "Usage")]
struct UsageView {
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
    /// Whether these are an estimate, because the provider did not say.
    estimated: bool,
}

/// Where to find help.
#[derive(Object)]
#[oai(rename = "Resource")]
pub(crate) struct ResourceView {
    name: String,
    /// A number to call, or how else to reach them.
    contact: String,
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

/// Help that is shown beside an answer, because the question points to danger.
#[derive(Object)]
#[oai(rename = "Notice")]
struct NoticeView {
    /// What danger: a stable word.
    kind: String,
    title: String,
    text: String,
    resources: Vec<ResourceView>,
}

/// How an answer came about; empty for a user's message.
#[derive(Object)]
#[oai(rename = "MessageMetadata")]
struct MetadataView {
    /// The model, in the provider's words.
    model: Option<String>,
    /// The provider: `openai`, `anthropic`, `custom`, `demo`.
    provider: Option<String>,
    finish_reason: Option<FinishReasonView>,
    usage: Option<UsageView>,
    /// From the moment the message was stored to the end of the answer, in milliseconds.
    latency_ms: Option<i64>,
    /// From the moment the message was stored to the first text of the answer, in milliseconds.
    ttft_ms: Option<i64>,
    /// How many attempts it took.
    attempts: i64,
    /// With status `error`: a stable word that says why.
    #[oai(skip_serializing_if_is_none)]
    error: Option<String>,
    /// What is to be shown beside the answer, as the `notice` event says it.
    #[oai(skip_serializing_if_is_none)]
    notice: Option<NoticeView>,
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

/// A message of either side.
#[derive(Object)]
#[oai(rename = "Message")]
pub(crate) struct MessageView {
    id: i64,
    conversation_id: i64,
    /// The message this one answers or follows.
    parent_id: Option<i64>,
    role: RoleView,
    /// The text; of a running answer, what there is so far.
    content: String,
    status: StatusView,
    attachments: Vec<FileView>,
    metadata: MetadataView,
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
            attachments: Vec::new(),
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
                latency_ms: message.latency_ms,
                ttft_ms: message.ttft_ms,
                attempts: message.attempt.0.into(),
                error: message.error_code,
                notice: message.notice.map(NoticeView::from),
            },
            created_at: message.created_at,
        }
    }
}
