//! What a client uploads, what becomes of it, and why it may be refused.

use std::io;

use cura_domain::MessageId;
use cura_domain::file::LinkedFile;
use cura_domain::file_type::Refusal;
use cura_domain::idempotency::IdempotencyKey;
use cura_store::StoreError;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::still_signed_in::NotAnyMore;

/// A file that has arrived, but for its bytes.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// In bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Its name as the client sent it.
    pub raw_name: String,
    /// The message that it belongs to.
    pub message: Option<MessageId>,
    /// The client's name for this request: a repetition with the same key finds what the first one stored.
    pub key: Option<IdempotencyKey>,
}

impl NewUpload {
    /// SHA-256 of everything that makes two uploads the same one, the key aside. No request for an answer has the same.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"upload\0");
        hash.update(self.sha256);
        match self.message {
            None => hash.update([0]),
            Some(message) => {
                hash.update([1]);
                hash.update(message.0.to_be_bytes());
            }
        }
        hash.update(self.raw_name.as_bytes());
        hash.finalize().into()
    }
}

/// A file that is kept.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The file.
    pub file: LinkedFile,
    /// Whether an earlier request with the same key stored it.
    pub replayed: bool,
}

impl From<NotAnyMore> for UploadError {
    fn from(error: NotAnyMore) -> Self {
        match error {
            NotAnyMore::NotSignedIn => Self::NotSignedIn,
            NotAnyMore::Suspended => Self::Suspended,
            NotAnyMore::Store(error) => error.into(),
        }
    }
}

/// Why an upload is not kept. Nothing of it is left then, or will not be; but see [`Self::may_pass`].
#[derive(Debug, Error)]
pub enum UploadError {
    /// The session has ended meanwhile, or the account is being erased.
    #[error("not signed in")]
    NotSignedIn,
    /// The account was suspended meanwhile.
    #[error("the account is suspended")]
    Suspended,
    /// The file is of a type that is not taken, or is damaged.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The message does not exist, belongs to another user, or is an answer.
    #[error("no such message")]
    MessageNotFound,
    /// The message has as many files as it may.
    #[error("the message has too many files")]
    MessageIsFull,
    /// The caller keeps as much as a person may.
    #[error("the caller keeps too much")]
    QuotaExceeded,
    /// The key was used for another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// What the key stands for was deleted, or the upload that arrives in parts does not exist or belongs to another user.
    #[error("no such file")]
    FileNotFound,
    /// Another request makes a file of the upload, or it was deleted meanwhile.
    #[error("another request has taken over")]
    Superseded,
    /// The file store does not keep it now.
    #[error("the file store is unavailable")]
    FileStoreUnavailable,
    /// The arrived file cannot be read.
    #[error("the arrived file cannot be read")]
    Content(#[from] io::Error),
    /// A bug of ours.
    #[error("keeping the upload panicked")]
    Panicked,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UploadError {
    /// Whether the same upload may be kept later: what has arrived of one in parts stays then.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(_) | Self::MessageNotFound | Self::MessageIsFull | Self::QuotaExceeded | Self::KeyReused => {
                false
            }
            // Who signs in again can go on.
            Self::NotSignedIn | Self::Suspended => true,
            Self::FileNotFound | Self::Superseded | Self::FileStoreUnavailable => true,
            Self::Content(_) | Self::Panicked | Self::Store(_) => true,
        }
    }
}
