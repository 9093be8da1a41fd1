//! The files of a question: which are wanted, and holding them until they belong to it.

use cura_domain::file::{File, FileStatus, LinkedFile};
use cura_domain::{FileId, MessageId, UserId};
use cura_store::{PgConnection, StoreError, attachments};

use super::request::StartAnswerError;
use crate::files::FileLinks;

/// The files that a question is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum WantedFiles {
    /// None.
    #[default]
    None,
    /// Those that the request names: each has to be the caller's, and not known to be bad.
    Named(Vec<FileId>),
    /// Those of the message that is edited, as far as they still exist.
    Kept(Vec<FileId>),
}

/// The files of a question, held as they are until the transaction ends.
#[derive(Debug, Default)]
pub(super) struct HeldFiles {
    /// In the order of the question.
    pub(super) files: Vec<File>,
    /// Why the question may not have them.
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Copy)]
enum Refusal {
    NotFound,
    Infected(FileId),
    Failed(FileId),
}

impl WantedFiles {
    /// The files that a request names, each once.
    pub(super) fn named(ids: &[FileId]) -> Self {
        let mut distinct: Vec<FileId> = Vec::with_capacity(ids.len());
        for id in ids {
            if !distinct.contains(id) {
                distinct.push(*id);
            }
        }
        if distinct.is_empty() {
            Self::None
        } else {
            Self::Named(distinct)
        }
    }

    /// The files of an edited message.
    pub(super) fn kept(ids: Vec<FileId>) -> Self {
        if ids.is_empty() { Self::None } else { Self::Kept(ids) }
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Holds the files. Whether the question may have them is said by [`HeldFiles::check`]: every other reason to refuse it comes first.
    pub(super) async fn hold(&self, connection: &mut PgConnection, user: UserId) -> Result<HeldFiles, StoreError> {
        let (ids, are_named) = match self {
            Self::None => return Ok(HeldFiles::default()),
            Self::Named(ids) => (ids, true),
            Self::Kept(ids) => (ids, false),
        };
        let held = attachments::hold(connection, user, ids).await?;
        let of_id = |id: &FileId| held.iter().find(|file| file.id == *id);
        let refused = |id: &FileId| match of_id(id).map(|file| file.status) {
            None => Some(Refusal::NotFound),
            Some(FileStatus::Infected) => Some(Refusal::Infected(*id)),
            Some(FileStatus::Failed) => Some(Refusal::Failed(*id)),
            Some(FileStatus::Storing | FileStatus::Scanning | FileStatus::Clean) => None,
        };
        Ok(HeldFiles {
            refusal: are_named.then(|| first_refusal(ids, refused)).flatten(),
            files: ids.iter().filter_map(of_id).cloned().collect(),
        })
    }
}

/// That a file is not there comes before what is wrong with another one.
fn first_refusal(ids: &[FileId], refused: impl Fn(&FileId) -> Option<Refusal>) -> Option<Refusal> {
    let refusals: Vec<Refusal> = ids.iter().filter_map(refused).collect();
    let missing = refusals.iter().find(|refusal| matches!(refusal, Refusal::NotFound));
    missing.or(refusals.first()).copied()
}

impl HeldFiles {
    /// Their ids.
    pub(super) fn ids(&self) -> Vec<FileId> {
        self.files.iter().map(|file| file.id).collect()
    }

    /// The files as those of this question, with links.
    pub(super) fn into_attachments(self, question: MessageId, links: &FileLinks) -> Vec<LinkedFile> {
        let attached = self.files.into_iter().map(|file| File {
            message: file.message.or(Some(question)),
            ..file
        });
        attached.map(|file| links.link(file)).collect()
    }

    /// Whether all files that the request names are there, and the caller's.
    ///
    /// # Errors
    /// [`StartAnswerError::FileNotFound`]
    pub(super) fn check_found(&self) -> Result<(), StartAnswerError> {
        match self.refusal {
            Some(Refusal::NotFound) => Err(StartAnswerError::FileNotFound),
            _ => Ok(()),
        }
    }

    /// Whether the question, whose text is blank or not, may have these files.
    ///
    /// # Errors
    /// [`StartAnswerError::FileNotFound`], [`StartAnswerError::FileInfected`] or [`StartAnswerError::FileFailed`] for the first file of
    /// which that is so; [`StartAnswerError::BlankText`] if there is neither text nor a file.
    pub(super) fn check(&self, text_is_blank: bool) -> Result<(), StartAnswerError> {
        match self.refusal {
            Some(Refusal::NotFound) => Err(StartAnswerError::FileNotFound),
            Some(Refusal::Infected(file)) => Err(StartAnswerError::FileInfected { file }),
            Some(Refusal::Failed(file)) => Err(StartAnswerError::FileFailed { file }),
            None if text_is_blank && self.files.is_empty() => Err(StartAnswerError::BlankText),
            None => Ok(()),
        }
    }
}
