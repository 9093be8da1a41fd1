//! Why a file store did not do what it was asked for. Neither keys nor addresses nor credentials are in it.

use std::borrow::Cow;
use std::io;

use thiserror::Error;

/// The longest code of a store that is repeated, in bytes.
const LONGEST_CODE: usize = 40;

/// Why a file store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileStoreError {
    /// There is no such file.
    #[error("the file is not in the store")]
    Missing,
    /// Not now: the network, a fault of the store, a full disk. Trying later makes sense.
    #[error("the file store is unavailable ({0})")]
    Unavailable(Code),
    /// The store does not accept what we ask for: an operator has to look at the settings.
    #[error("the file store refuses our requests ({0})")]
    Refused(Code),
}

/// What went wrong, in one word: ours, or the store's.
pub type Code = Cow<'static, str>;

/// Why no request can be made with these credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidFileStore {
    /// They have characters that no request can have, or none at all.
    #[error("it cannot be part of a request; copy it again")]
    NotSendable,
    /// A key that everybody may know. Deleting with it does nothing, without an error.
    #[error("it is a public key, which may not delete; take the secret one, or that of the service role")]
    PublicKey,
}

impl FileStoreError {
    pub(super) fn unavailable(code: impl Into<Code>) -> Self {
        Self::Unavailable(code.into())
    }

    pub(super) fn refused(code: impl Into<Code>) -> Self {
        Self::Refused(code.into())
    }

    pub(super) fn timed_out() -> Self {
        Self::unavailable("timed_out")
    }

    /// What went wrong on a disk. The error itself may name a path.
    pub(super) fn of_disk(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::refused("permission_denied"),
            io::ErrorKind::ReadOnlyFilesystem => Self::refused("read_only"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::unavailable("disk_full"),
            io::ErrorKind::UnexpectedEof => Self::unavailable("file_too_short"),
            _ => Self::unavailable("disk_error"),
        }
    }

    /// What went wrong before there was an answer, or while it came. The error itself names the address.
    pub(super) fn of_http(error: &reqwest::Error) -> Self {
        Self::unavailable(if error.is_timeout() {
            "timed_out"
        } else if error.is_connect() {
            "unreachable"
        } else {
            "connection_lost"
        })
    }

    /// The same, where no file can be missing: what is missing is something that the store needs.
    pub(super) fn never_missing(self) -> Self {
        match self {
            Self::Missing => Self::unavailable("gone"),
            other => other,
        }
    }
}

impl From<FileStoreError> for io::Error {
    fn from(error: FileStoreError) -> Self {
        Self::other(error)
    }
}

/// A store's own code, if it is a word that can be shown; else the status.
pub(super) fn code(word: Option<&str>, status: u16) -> Code {
    let is_word = |word: &&str| {
        (1..=LONGEST_CODE).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match word.filter(is_word) {
        Some(word) => Cow::Owned(word.to_owned()),
        None => Cow::Owned(format!("http_{status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_passes_and_a_closed_folder_is_for_an_operator() {
        // ENOSPC, EDQUOT, EIO, EACCES, EROFS, ENOENT
        let of = |number| FileStoreError::of_disk(&io::Error::from_raw_os_error(number));
        for (number, expected) in [
            (28, FileStoreError::unavailable("disk_full")),
            (122, FileStoreError::unavailable("disk_full")),
            (5, FileStoreError::unavailable("disk_error")),
            (13, FileStoreError::refused("permission_denied")),
            (30, FileStoreError::refused("read_only")),
            (2, FileStoreError::Missing),
        ] {
            assert_eq!(of(number), expected, "{number}");
        }
    }

    #[test]
    fn only_a_word_of_the_store_is_repeated() {
        assert_eq!(code(Some("NoSuchBucket"), 404), "NoSuchBucket");
        for other in ["", "bucket \"x\" of y", "7/a.pdf", &"x".repeat(41)] {
            assert_eq!(code(Some(other), 404), "http_404", "{other}");
        }
        assert_eq!(code(None, 502), "http_502");
    }
}
