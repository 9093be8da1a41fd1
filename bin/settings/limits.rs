//! How often clients may call, and how many tokens and answers a user may have.

use cura_api::Rates;
use cura_app::chat::Quota;

use super::variables::Variables;

/// The longest answer, in the provider's tokens, where there is a daily limit and `AI_MAX_OUTPUT_TOKENS` says nothing: what
/// is reserved for an answer must be what it can cost.
const DEFAULT_ANSWER_TOKENS: u32 = 4096;

/// What `USER_STORAGE_MB` counts in, in bytes.
const MEGABYTE: i64 = 1024 * 1024;

/// Sections "Rate limits" and "Quotas".
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// `RATE_LIMIT_*`: calls a minute.
    pub rates: Rates,
    /// `USER_DAILY_TOKENS`, `USER_RUNNING_ANSWERS`
    pub quota: Quota,
    /// `USER_STORAGE_MB` in bytes; `None` is no limit.
    pub max_kept_bytes: Option<i64>,
    /// `USER_CONNECTIONS`
    pub user_connections: usize,
    /// The longest answer, in the provider's tokens, as it is sent to the provider.
    pub max_output_tokens: Option<u32>,
}

impl LimitSettings {
    /// `max_output_tokens` is the longest answer, if it is limited, and `context_tokens` the longest prompt.
    pub(super) fn read(from: &Variables, max_output_tokens: Option<u32>, context_tokens: usize) -> Self {
        let rates = Rates {
            auth: from.parsed("RATE_LIMIT_AUTH", 5),
            chat: from.parsed("RATE_LIMIT_CHAT", 30),
            upload: from.parsed("RATE_LIMIT_UPLOAD", 10),
            default: from.parsed("RATE_LIMIT_DEFAULT", 100),
        };
        let daily_tokens: u64 = from.parsed("USER_DAILY_TOKENS", 0);
        let max_output_tokens = max_output_tokens.or((daily_tokens > 0).then_some(DEFAULT_ANSWER_TOKENS));
        let storage_megabytes: i64 = from.within("USER_STORAGE_MB", 500, 0..=1_000_000);
        Self {
            rates,
            quota: Quota {
                daily_tokens,
                // By default, as many as a user may request in a minute.
                running_answers: from.parsed("USER_RUNNING_ANSWERS", rates.chat),
                answer_tokens: max_output_tokens.unwrap_or(DEFAULT_ANSWER_TOKENS),
                context_tokens,
            },
            max_kept_bytes: (storage_megabytes > 0).then(|| storage_megabytes * MEGABYTE),
            user_connections: from.parsed("USER_CONNECTIONS", 50),
            max_output_tokens,
        }
    }
}
