//! How many answers a user may have running, and how many tokens a day. While any tokens of the day are left, an answer may
//! start; unfinished answers reserve tokens until their attempts are counted, so concurrent requests cannot exceed the limit.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, Utc};
use cura_domain::{ConversationId, UserId, token_estimate};
use cura_store::usage::Load;
use cura_store::users::HeldUser;
use cura_store::{PgConnection, StoreError, usage, users};

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

/// Unfinished answers of a user for each that may run at a time: one runs, two wait.
const UNFINISHED_PER_RUNNING: u32 = 3;
/// The least number of unfinished answers that a user may have.
const LEAST_MAX_UNFINISHED: u32 = 20;
/// How many a user may have where any number may run: as by default, where as many run as may be asked for in a minute.
const MAX_UNFINISHED_WITHOUT_LIMIT: u32 = 90;
/// When a user with too many unfinished answers may try again: an answer may have ended by then.
const TOO_MANY_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Tokens of the system message, which every prompt has.
const SYSTEM_TOKENS: i64 = 250;

/// One user's limits and present usage.
pub(super) struct Budget {
    quota: Quota,
    load: Load,
}

impl Quota {
    /// How many unfinished answers a user may have, whether they run or wait.
    pub fn max_unfinished(&self) -> u32 {
        match self.running_answers {
            0 => MAX_UNFINISHED_WITHOUT_LIMIT,
            running => running.saturating_mul(UNFINISHED_PER_RUNNING).max(LEAST_MAX_UNFINISHED),
        }
    }

    /// Holds the user alone until this transaction ends: concurrent checks of the same user wait.
    ///
    /// # Errors
    /// [`StoreError::UserGone`] when the account is being erased.
    pub(super) async fn hold(self, connection: &mut PgConnection, user: UserId) -> Result<HeldUser, StoreError> {
        users::hold_alone(connection, user).await?.ok_or(StoreError::UserGone)
    }

    /// The user's limits and present usage.
    ///
    /// # Errors
    /// [`StartAnswerError::TooManyUnfinished`], or [`StartAnswerError::QuotaExceeded`] when no tokens of the day are left.
    pub(super) async fn check(
        self,
        connection: &mut PgConnection,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<Budget, StartAnswerError> {
        let load = usage::load(connection, user, now.date_naive()).await?;
        let max_unfinished = self.max_unfinished();
        if load.running >= i64::from(max_unfinished) {
            return Err(StartAnswerError::TooManyUnfinished {
                limit: max_unfinished,
                after: TOO_MANY_RETRY_AFTER,
            });
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_as_many_may_be_unfinished_as_may_run_but_no_fewer_than_twenty() {
        let max = |running_answers| {
            let quota = Quota {
                daily_tokens: 0,
                running_answers,
                answer_tokens: 0,
            };
            quota.max_unfinished()
        };
        assert_eq!([1, 6, 7, 30, u32::MAX].map(max), [20, 20, 21, 90, u32::MAX]);
        assert_eq!(max(0), 90, "where any number may run, too");
    }
}
