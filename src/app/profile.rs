//! Profiles: what people tell us about themselves, what they used, and having it all erased.

use chrono::NaiveDate;
use chrono::TimeDelta;
use cura_domain::account::Name;
use cura_domain::profile::{InvalidPreferences, Language, Preferences, TimeZone};
use cura_queue::{EraseUser, GenerateAnswer};
use cura_store::{StoreError, answers, sessions, usage, users};
use serde_json::Value;
use thiserror::Error;

pub use cura_domain::usage::UsageDay;

use crate::accounts::{ChangePasswordError, User};
use crate::{App, Caller, stamp};

/// What to change of a profile; what is `None` stays.
#[derive(Debug, Default)]
pub struct ProfileChange {
    /// A new name, or none.
    pub name: Option<Option<Name>>,
    /// Another time zone.
    pub timezone: Option<TimeZone>,
    /// Another language.
    pub language: Option<Language>,
    /// What to merge into the preferences (RFC 7396).
    pub preferences: Option<Value>,
}

/// Why a profile was not changed.
#[derive(Debug, Error)]
pub enum ChangeProfileError {
    /// The account was erased in this moment.
    #[error("not signed in")]
    NotSignedIn,
    /// The preferences would break a rule.
    #[error(transparent)]
    Preferences(#[from] InvalidPreferences),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Changes the caller's profile; gives the new one.
    ///
    /// # Errors
    /// [`ChangeProfileError::Preferences`] when the merged preferences break a rule; nothing is changed then.
    pub async fn change_profile(&self, caller: Caller, change: ProfileChange) -> Result<User, ChangeProfileError> {
        let now = stamp(&self.0.clock);
        self.write(async |connection| {
            let mut user = users::lock(connection, caller.user)
                .await?
                .ok_or(ChangeProfileError::NotSignedIn)?;
            if let Some(name) = change.name {
                user.name = name.map(|name| name.as_str().to_owned());
            }
            if let Some(timezone) = change.timezone {
                timezone.as_str().clone_into(&mut user.timezone);
            }
            if let Some(language) = change.language {
                language.as_str().clone_into(&mut user.language);
            }
            if let Some(patch) = change.preferences {
                user.preferences = Preferences::merged(user.preferences, &patch)?.into_value();
            }
            users::update_profile(connection, &user, now).await?;
            Ok(user)
        })
        .await
    }

    /// What the caller used in the last `days` days, today included, by day (UTC) and model, the newest day first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self, caller: Caller, days: u32) -> Result<Vec<UsageDay>, StoreError> {
        let today: NaiveDate = self.0.clock.now().date_naive();
        let from = today - TimeDelta::days(i64::from(days) - 1);
        self.read(async |connection| usage::list(connection, caller.user, from).await)
            .await
    }

    /// Erases the caller: at once for everybody to see, and to the last row by a job.
    ///
    /// # Errors
    /// [`ChangePasswordError::WrongPassword`] when `password` is not theirs.
    pub async fn erase_account(&self, caller: Caller, password: &str) -> Result<(), ChangePasswordError> {
        self.check_password(caller, password).await?;
        let now = stamp(&self.0.clock);
        let erased = self.write(async |connection| {
            users::begin_erasure(connection, caller.user, now).await?;
            sessions::end_all(connection, caller.user, None, now).await?;
            let running = answers::list_running(connection, caller.user).await?;
            for answer in &running {
                cura_queue::cancel::<GenerateAnswer>(connection, &answer.to_string())
                    .await
                    .map_err(StoreError::from)?;
            }
            let job = EraseUser {
                user_id: caller.user.0,
                round: 0,
            };
            cura_queue::enqueue(connection, &job).await.map_err(StoreError::from)?;
            Ok::<_, StoreError>(running)
        });
        let running = erased.await?;
        tracing::info!(user_id = %caller.user, "an account is being erased");
        self.announce_over(&running).await;
        Ok(())
    }
}
