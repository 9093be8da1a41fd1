//! What a user may have written at a time and in a day. As long as anything is left of the day's tokens, one may ask; what
//! runs is reserved until its attempts say what it did cost, so that asking at the same moment does not help.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, Utc};
use cura_domain::{ConversationId, tokens};
use cura_store::usage::Load;
use cura_store::{PgConnection, StoreError, usage};

use crate::chat::AskError;
use crate::{App, Caller};

/// What answers may cost.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Tokens a user may use in a day (UTC), of prompts and answers together; 0 is no limit.
    pub daily_tokens: u64,
    /// Answers of a user that may be written at a time; 0 is no limit.
    pub running_answers: u32,
    /// Tokens that are reserved for an answer before it is known.
    pub answer_tokens: u32,
}

/// What a prompt costs before anything is said: who Cura is, and with whom it speaks.
const SYSTEM_TOKENS: i64 = 250;

/// What one user has left.
pub(crate) struct Budget {
    allowance: Allowance,
    load: Load,
}

impl App {
    /// While there is a limit, makes whoever else looks for what the same user has left wait until this transaction ends.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn lock_budget(&self, connection: &mut PgConnection, caller: Caller) -> Result<(), StoreError> {
        if self.0.allowance.daily_tokens > 0 {
            usage::lock(connection, caller.user).await?;
        }
        Ok(())
    }

    /// What the caller has left.
    ///
    /// # Errors
    /// [`AskError::QuotaExceeded`] when nothing is left.
    pub(crate) async fn budget(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        now: DateTime<Utc>,
    ) -> Result<Budget, AskError> {
        let allowance = self.0.allowance;
        let load = usage::load(connection, caller.user, now.date_naive()).await?;
        let most = i64::try_from(allowance.daily_tokens).unwrap_or(i64::MAX);
        if allowance.daily_tokens > 0 && load.used.saturating_add(load.reserved) >= most {
            let resets_at = (now.date_naive() + Days::new(1)).and_time(NaiveTime::MIN).and_utc();
            let after = (resets_at - now).to_std().unwrap_or(Duration::ZERO);
            return Err(AskError::QuotaExceeded {
                limit: allowance.daily_tokens,
                resets_at,
                after,
            });
        }
        Ok(Budget { allowance, load })
    }
}

impl Budget {
    /// Answers of the user that are not final.
    pub(crate) fn running(&self) -> i32 {
        i32::try_from(self.load.running).unwrap_or(i32::MAX)
    }

    /// Whether as many are written as may be.
    pub(crate) fn is_full(&self) -> bool {
        let most = i64::from(self.allowance.running_answers);
        most > 0 && self.load.written >= most
    }

    /// What an answer to `text` will cost, as far as can be said: the prompt is the last one, its answer, and `text`.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn reservation(
        &self,
        connection: &mut PgConnection,
        conversation: Option<ConversationId>,
        text: &str,
    ) -> Result<i64, StoreError> {
        if self.allowance.daily_tokens == 0 {
            return Ok(0);
        }
        let before = match conversation {
            Some(conversation) => usage::last_cost(connection, conversation).await?,
            None => None,
        };
        let said = i64::try_from(tokens::estimate(text.len())).unwrap_or(i64::MAX);
        Ok(before.unwrap_or(SYSTEM_TOKENS) + said + i64::from(self.allowance.answer_tokens))
    }
}
