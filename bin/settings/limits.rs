//! How often clients may call, and how many tokens and answers a user may have.

use cura_api::Rates;
use cura_app::chat::Quota;

use super::variables::{SettingError, Variables};

/// The tokens reserved for an answer whose length is not known yet and not limited.
const DEFAULT_ANSWER_TOKENS: u32 = 1000;

/// Sections "Rate limits" and "Quotas".
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// `RATE_LIMIT_*`: calls a minute.
    pub rates: Rates,
    /// `USER_DAILY_TOKENS`, `USER_RUNNING_ANSWERS`
    pub quota: Quota,
    /// `USER_CONNECTIONS`
    pub user_connections: usize,
}

impl LimitSettings {
    /// `max_output_tokens` is the longest answer, if it is limited.
    pub(super) fn read(from: &Variables, max_output_tokens: Option<u32>) -> Result<Self, SettingError> {
        let rates = Rates {
            auth: from.parsed("RATE_LIMIT_AUTH", 5)?,
            chat: from.parsed("RATE_LIMIT_CHAT", 30)?,
            upload: from.parsed("RATE_LIMIT_UPLOAD", 10)?,
            default: from.parsed("RATE_LIMIT_DEFAULT", 100)?,
        };
        Ok(Self {
            rates,
            quota: Quota {
                daily_tokens: from.parsed("USER_DAILY_TOKENS", 0)?,
                // By default, as many as a user may request in a minute.
                running_answers: from.parsed("USER_RUNNING_ANSWERS", rates.chat)?,
                answer_tokens: max_output_tokens.unwrap_or(DEFAULT_ANSWER_TOKENS),
            },
            user_connections: from.parsed("USER_CONNECTIONS", 50)?,
        })
    }
}
