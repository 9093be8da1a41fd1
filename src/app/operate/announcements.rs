//! What operators tell everybody who is connected.

use chrono::{DateTime, Utc};
use cura_domain::AnnouncementId;
use cura_domain::announcement::{AnnouncementText, AnnouncementTitle, InvalidEnd, check_end};
use cura_store::announcements::MAX_LIVING;
use cura_store::{StoreError, announcements};
use thiserror::Error;

pub use cura_domain::announcement::Announcement;

use super::acts::{Act, Acts, OperateError};

/// Why nothing is announced, or nothing was ended.
#[derive(Debug, Error)]
pub enum AnnounceError {
    /// It cannot end then.
    #[error(transparent)]
    End(#[from] InvalidEnd),
    /// As many are told already as may be.
    #[error("{MAX_LIVING} announcements are told already")]
    TooMany,
    /// There is none with this id.
    #[error("there is no such announcement")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OperateError for AnnounceError {
    fn code(&self) -> &'static str {
        match self {
            Self::End(_) => "invalid_until",
            Self::TooMany => "too_many_announcements",
            Self::NotFound => "announcement_not_found",
            Self::Store(error) => error.code(),
        }
    }
}

/// The use cases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Announcements {
    acts: Acts,
}

impl Announcements {
    /// Puts the parts together.
    pub const fn new(acts: Acts) -> Self {
        Self { acts }
    }

    /// At most `limit` announcements, newest first, and whether there are more.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list(
        &self,
        before: Option<AnnouncementId>,
        limit: u32,
    ) -> Result<(Vec<Announcement>, bool), StoreError> {
        let (limit, wanted) = (limit as usize, i64::from(limit) + 1);
        let database = self.acts.database();
        let listed = database.connection(async |connection| announcements::list(connection, before, wanted).await);
        let mut listed = listed.await?;
        let has_more = listed.len() > limit;
        listed.truncate(limit);
        Ok((listed, has_more))
    }

    /// Tells everybody who is connected until then; all servers do within two seconds. The record has the lengths, not the words.
    ///
    /// # Errors
    /// [`AnnounceError`] names the rule that it breaks.
    pub async fn announce(
        &self,
        title: &AnnouncementTitle,
        text: &AnnouncementText,
        until: DateTime<Utc>,
    ) -> Result<Announcement, AnnounceError> {
        let now = self.acts.now();
        let act = Act::new("announcements.create")
            .with("until", until)
            .with("title_chars", title.as_str().chars().count())
            .with("text_chars", text.as_str().chars().count());
        self.acts
            .transaction(act, async |connection, act| {
                check_end(until, now)?;
                let made = announcements::insert(connection, title, text, until, now).await?;
                let made = made.ok_or(AnnounceError::TooMany)?;
                act.set_target(made.id);
                Ok(made)
            })
            .await
    }

    /// Ends an announcement: who connects from now on is not told. One that is over stays as it is.
    ///
    /// # Errors
    /// [`AnnounceError::NotFound`] if there is none with this id.
    pub async fn end(&self, id: AnnouncementId) -> Result<Announcement, AnnounceError> {
        let now = self.acts.now();
        self.acts
            .transaction(Act::new("announcements.end").on(id), async |connection, _| {
                let ended = announcements::end(connection, id, now).await?;
                ended.ok_or(AnnounceError::NotFound)
            })
            .await
    }
}
