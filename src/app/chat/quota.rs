//! How many answers a user may have running, and how many tokens a day. While any tokens of the day are left, an answer may
//! start; unfinished answers reserve tokens until their attempts are counted, so concurrent requests cannot exceed the limit.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, Utc};
use cura_domain::{ConversationId, UserId, token_estimate};
use cura_store::usage::Load;
use cura_store::{PgConnection, StoreError, usage};

use super::request::StartAnswerError;

/// The limits on answers.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Tokens a user may use in a day (UTC), of prompts and answers together; 0 is no limit.
    pub daily_tokens: u64,
    /// Answers of a user that may run at a time; 0 is no limit.
    pub running_answers: u32,
    /// Tokens reserved for an answer while its length is unknown.
    pub answer_tokens: u32,
}

/// Tokens of the system message, which every prompt has.
const SYSTEM_TOKENS: i64 = 250;

/// One user's limits and present usage.
pub(super) struct Budget {
    quota: Quota,
    load: Load,
}

impl Quota {
    /// While there is a daily limit, lets concurrent checks of the same user wait until this transaction ends.
    pub(super) async fn lock(&self, connection: &mut PgConnection, user: UserId) -> Result<(), StoreError> {
        if self.daily_tokens > 0 {
            usage::lock(connection, user).await?;
        }
        Ok(())
    }

    /// The user's limits and present usage.
    ///
    /// # Errors
    /// [`StartAnswerError::QuotaExceeded`] when no tokens of the day are left.
    pub(super) async fn check(
        self,
        connection: &mut PgConnection,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<Budget, StartAnswerError> {
        let load = usage::load(connection, user, now.date_naive()).await?;
        let limit = i64::try_from(self.daily_tokens).unwrap_or(i64::MAX);
        if self.daily_tokens > 0 && load.used.saturating_add(load.reserved) >= limit {
            let resets_at = (now.date_naive() + Days::new(1)).and_time(NaiveTime::MIN).and_utc();
            let after = (resets_at - now).to_std().unwrap_or(Duration::ZERO);
            return Err(StartAnswerError::QuotaExceeded {
                limit: self.daily_tokens,
                resets_at,
                after,
            });
        }
        Ok(Budget { quota: self, load })
    }
}

impl Budget {
    /// Unfinished answers of the user.
    pub(super) fn running(&self) -> i32 {
        i32::try_from(self.load.running).unwrap_or(i32::MAX)
    }

    /// Whether as many answers run as may.
    pub(super) fn is_full(&self) -> bool {
        let most = i64::from(self.quota.running_answers);
        most > 0 && self.load.started >= most
    }

    /// An estimate of the tokens of an answer to `text`: its prompt is the last prompt of the conversation, the answer to it, and
    /// `text`.
    pub(super) async fn reservation(
        &self,
        connection: &mut PgConnection,
        conversation: Option<ConversationId>,
        text: &str,
    ) -> Result<i64, StoreError> {
        if self.quota.daily_tokens == 0 {
            return Ok(0);
        }
        let before = match conversation {
            Some(conversation) => usage::last_cost(connection, conversation).await?,
            None => None,
        };
        let said = i64::try_from(token_estimate::estimate(text.len())).unwrap_or(i64::MAX);
        Ok(before.unwrap_or(SYSTEM_TOKENS) + said + i64::from(self.quota.answer_tokens))
    }
}
