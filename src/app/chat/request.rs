//! What a client asks for when it wants an answer, what it gets, and why it may get none.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::{Message, MessageText};
use cura_domain::{ConversationId, FileId, MessageId};
use cura_store::StoreError;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What the answer replies to.
#[derive(Debug, Clone)]
pub enum RequestKind {
    /// A new message.
    Send {
        /// The conversation; `None` creates one.
        conversation: Option<ConversationId>,
        /// The message.
        text: MessageText,
        /// Its files. Without any, the text is not blank.
        files: Vec<FileId>,
    },
    /// A new version of an earlier message, as its sibling.
    Edit {
        /// The earlier message.
        message: MessageId,
        /// The new text.
        text: MessageText,
        /// Its files; `None` keeps those of the earlier message. Without any, the text is not blank.
        files: Option<Vec<FileId>>,
    },
    /// The same question; the new answer is a sibling of the earlier one.
    Regenerate {
        /// The earlier answer.
        answer: MessageId,
    },
}

/// What happens if an answer in the conversation is unfinished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BusyPolicy {
    /// The request is refused, and nothing is stored.
    #[default]
    Reject,
    /// The unfinished answers are cancelled.
    Interrupt,
    /// The new answer waits for the unfinished ones.
    Queue,
}

/// A request for an answer.
#[derive(Debug, Clone)]
pub struct AnswerRequest {
    /// What the answer replies to.
    pub kind: RequestKind,
    /// What happens if an answer in the conversation is unfinished.
    pub busy_policy: BusyPolicy,
    /// The client's name for this request: a repetition with the same key finds what the first one stored.
    pub key: Option<IdempotencyKey>,
    /// Where it came from.
    pub origin: RequestOrigin,
}

/// By what the HTTP request is found in logs and traces. Kept with the answer and its job, for operators.
#[derive(Debug, Clone, Default)]
pub struct RequestOrigin {
    /// Its `X-Request-Id`: at most 128 bytes of ASCII letters, digits, `-`, `_` and `.`.
    pub request_id: Option<String>,
    /// Its trace, if it belongs to one: 32 hexadecimal digits (W3C Trace Context).
    pub trace_id: Option<String>,
}

impl AnswerRequest {
    /// Whether it is about a message that exists.
    pub(super) fn names_a_message(&self) -> bool {
        !matches!(self.kind, RequestKind::Send { .. })
    }

    /// SHA-256 of everything that makes two requests the same one, the key aside.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(match self.busy_policy {
            BusyPolicy::Reject => b"reject".as_slice(),
            BusyPolicy::Interrupt => b"interrupt",
            BusyPolicy::Queue => b"queue",
        });
        match &self.kind {
            RequestKind::Send {
                conversation,
                text,
                files,
            } => {
                match conversation {
                    None => hash.update(b"send to a new conversation"),
                    Some(conversation) => {
                        hash.update(b"send");
                        hash.update(conversation.0.to_be_bytes());
                    }
                }
                hash.update(text.as_str().as_bytes());
                if !files.is_empty() {
                    add_files(&mut hash, files);
                }
            }
            RequestKind::Edit { message, text, files } => {
                hash.update(b"edit");
                hash.update(message.0.to_be_bytes());
                hash.update(text.as_str().as_bytes());
                if let Some(files) = files {
                    add_files(&mut hash, files);
                }
            }
            RequestKind::Regenerate { answer } => {
                hash.update(b"regenerate");
                hash.update(answer.0.to_be_bytes());
            }
        }
        hash.finalize().into()
    }
}

/// After a text, which has no NUL: no other text and files are the same bytes.
fn add_files(hash: &mut Sha256, files: &[FileId]) {
    hash.update(b"\0files");
    for file in files {
        hash.update(file.0.to_be_bytes());
    }
}

/// A stored question and its answer, which is queued, running or final.
#[derive(Debug, Clone)]
pub struct StartedAnswer {
    /// The conversation of both.
    pub conversation: ConversationId,
    /// The user's message.
    pub user_message: Message,
    /// The answer, as it was when it was read.
    pub answer: Message,
    /// Whether an earlier request with the same key stored both.
    pub replayed: bool,
}

/// Why no answer was started. Nothing was stored.
#[derive(Debug, Error)]
pub enum StartAnswerError {
    /// The conversation is not there, or not the caller's.
    #[error("no such conversation")]
    ConversationNotFound,
    /// The message is not there, not the caller's, or of the wrong role.
    #[error("no such message")]
    MessageNotFound,
    /// A file of the request is not there, or not the caller's.
    #[error("no such file")]
    FileNotFound,
    /// Something bad was found in a file of the request.
    #[error("a file is infected")]
    FileInfected {
        /// The first such file.
        file: FileId,
    },
    /// A file of the request could not be scanned.
    #[error("a file could not be scanned")]
    FileFailed {
        /// The first such file.
        file: FileId,
    },
    /// The message has neither text nor files.
    #[error("nothing is said")]
    BlankText,
    /// An answer in this conversation is unfinished.
    #[error("an answer is being written")]
    Busy {
        /// The first unfinished answer.
        running: MessageId,
    },
    /// As many answers are unfinished in this conversation as may be.
    #[error("too many messages wait in this conversation")]
    QueueFull {
        /// How many that are.
        limit: usize,
    },
    /// The caller has as many unfinished answers as a user may have.
    #[error("too many answers are unfinished")]
    TooManyUnfinished {
        /// How many that are.
        limit: u32,
        /// When trying again may help.
        after: Duration,
    },
    /// The caller has used up the tokens of the day.
    #[error("the tokens of the day are used up")]
    QuotaExceeded {
        /// Tokens per day.
        limit: u64,
        /// When the next day begins.
        resets_at: DateTime<Utc>,
        /// The time until then.
        after: Duration,
    },
    /// The account was suspended after the request had been let in.
    #[error("the account is suspended")]
    Suspended,
    /// The key was used for another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
