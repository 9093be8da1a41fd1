//! Postgres.

use cura_providers::Secret;
use secrecy::ExposeSecret;

use super::variables::{SettingError, Variables, wrong};

/// Section "Database".
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`
    pub url: Option<Secret>,
    /// `DATABASE_DIRECT_URL`
    pub direct_url: Option<Secret>,
    /// `DATABASE_POOL_SIZE`
    pub pool_size: u32,
}

impl DatabaseSettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            url: from.secret("DATABASE_URL"),
            direct_url: from.secret("DATABASE_DIRECT_URL"),
            pool_size: from.within("DATABASE_POOL_SIZE", 10, 2..=500),
        }
    }

    /// `DATABASE_URL`, for programs that cannot run without it.
    ///
    /// # Errors
    /// When it is not set.
    pub fn url(&self) -> Result<&str, SettingError> {
        self.url.as_ref().map(ExposeSecret::expose_secret).ok_or_else(|| {
            wrong(
                "DATABASE_URL",
                "is missing; name a Postgres (postgres://user:password@host/database)",
            )
        })
    }

    /// `DATABASE_DIRECT_URL`; `None` where `DATABASE_URL` itself leads to sessions that keep their state.
    pub fn direct_url(&self) -> Option<&str> {
        self.direct_url.as_ref().map(ExposeSecret::expose_secret)
    }

    /// The setting that leads to sessions that keep their state, and its value.
    ///
    /// # Errors
    /// When neither is set.
    pub fn session_url(&self) -> Result<(&'static str, &str), SettingError> {
        match self.direct_url() {
            Some(url) => Ok(("DATABASE_DIRECT_URL", url)),
            None => Ok(("DATABASE_URL", self.url()?)),
        }
    }
}
