//! Redis.

use cura_providers::Secret;
use secrecy::ExposeSecret;

use super::variables::{SettingError, Variables, wrong};

/// Section "Redis".
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `REDIS_URL`
    pub url: Option<Secret>,
}

impl RedisSettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            url: from.secret("REDIS_URL"),
        }
    }

    /// `REDIS_URL`, for programs that cannot run without it.
    ///
    /// # Errors
    /// When it is not set.
    pub fn url(&self) -> Result<&str, SettingError> {
        self.url.as_ref().map(ExposeSecret::expose_secret).ok_or_else(|| {
            wrong(
                "REDIS_URL",
                "is missing; servers and workers meet there (redis://host:6379), only `cura-server dev` can do without",
            )
        })
    }
}
