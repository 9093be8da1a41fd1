//! The profile: what users enter about themselves, and what they used.

use chrono::{NaiveDate, TimeDelta};
use cura_domain::Clock;
use cura_domain::account::Name;
use cura_domain::profile::{InvalidPreferences, Language, Preferences, TimeZone};
use cura_store::{Database, StoreError, usage, users};
use serde_json::Value;
use thiserror::Error;

pub use cura_domain::usage::UsageDay;
pub use cura_domain::user::User;

use crate::caller::Caller;

/// Changes to a profile; a field that is `None` stays.
#[derive(Debug, Default)]
pub struct ProfileChange {
    /// A new name; `Some(None)` removes it.
    pub name: Option<Option<Name>>,
    /// A new time zone.
    pub timezone: Option<TimeZone>,
    /// A new language.
    pub language: Option<Language>,
    /// A merge patch for the preferences (RFC 7396).
    pub preferences: Option<Value>,
}

/// Why a profile was not changed.
#[derive(Debug, Error)]
pub enum ChangeProfileError {
    /// The account was erased at this moment.
    #[error("not signed in")]
    NotSignedIn,
    /// The merged preferences would break rules.
    #[error("the preferences are invalid")]
    Preferences(Vec<InvalidPreferences>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases of the profile. Cheap to clone.
#[derive(Clone)]
pub struct Profile {
    database: Database,
    clock: Clock,
}

impl Profile {
    /// Puts the parts together.
    pub fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// The caller's profile; `None` when the account was erased at this moment.
    pub async fn find(&self, caller: Caller) -> Result<Option<User>, StoreError> {
        self.database
            .connection(async |connection| users::find(connection, caller.user).await)
            .await
    }

    /// Changes the caller's profile and returns the new one.
    ///
    /// # Errors
    /// [`ChangeProfileError::Preferences`] when the merged preferences break a rule; nothing is changed then.
    pub async fn change(&self, caller: Caller, change: ProfileChange) -> Result<User, ChangeProfileError> {
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
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
                    user.preferences = Preferences::merged(user.preferences, &patch)
                        .map_err(ChangeProfileError::Preferences)?
                        .into_value();
                }
                users::update_profile(connection, &user, now).await?;
                Ok(user)
            })
            .await
    }

    /// Checks a change of the caller's preferences as [`Self::change`] does, and changes nothing.
    ///
    /// # Errors
    /// [`ChangeProfileError::Preferences`] when the merged preferences would break rules.
    pub async fn check_preferences(&self, caller: Caller, patch: &Value) -> Result<(), ChangeProfileError> {
        let user = self.find(caller).await?.ok_or(ChangeProfileError::NotSignedIn)?;
        let merged = Preferences::merged(user.preferences, patch);
        merged.map(|_| ()).map_err(ChangeProfileError::Preferences)
    }

    /// The caller's usage of the last `days` days including today, by day (UTC) and model, newest day first.
    pub async fn usage(&self, caller: Caller, days: u32) -> Result<Vec<UsageDay>, StoreError> {
        let today: NaiveDate = self.clock.now().date_naive();
        let from = today - TimeDelta::days(i64::from(days) - 1);
        self.database
            .connection(async |connection| usage::list(connection, caller.user, from).await)
            .await
    }
}
