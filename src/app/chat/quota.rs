//! How many answers a user may have running, and how many tokens a day.
//!
//! Before an answer is asked for, all that it can cost is reserved: its prompt, and the output limit that is sent to the
//! provider. What does not fit into the day is refused; but a user who has no answer under way may ask as long as anything is
//! left, so that the last answer of a day may exceed it. An answer's reservation ends with it, when its attempts are counted.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, Utc};
use cura_domain::message::Follows;
use cura_domain::{UserId, attachment_note, token_estimate};
use cura_store::history::{self, PastOf};
use cura_store::users::HeldUser;
use cura_store::{PgConnection, StoreError, usage, users};

use super::question_files::HeldFiles;
use super::request::StartAnswerError;
use super::target::{AnswerTarget, Question};

/// The limits on answers.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Tokens a user may use in a day (UTC), of prompts and answers together; 0 is no limit.
    pub daily_tokens: u64,
    /// Answers of a user that may run at a time; 0 is no limit.
    pub running_answers: u32,
    /// The longest answer, in tokens.
    pub answer_tokens: u32,
    /// The longest prompt, in tokens.
    pub context_tokens: usize,
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

/// One user's limits at a moment.
struct Budget {
    user: UserId,
    quota: Quota,
    now: DateTime<Utc>,
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

    /// The tokens to reserve for an answer to the target's question, or why they do not fit into the day. The transaction holds
    /// the user alone.
    pub(super) async fn reserve(
        self,
        connection: &mut PgConnection,
        user: UserId,
        (target, files): (&AnswerTarget, &HeldFiles),
        now: DateTime<Utc>,
    ) -> Result<Result<i64, StartAnswerError>, StoreError> {
        let load = usage::load(connection, user, now).await?;
        let budget = Budget { user, quota: self, now };
        if load.spoken_for() >= budget.limit() {
            return Ok(Err(budget.exceeded()));
        }
        let prompt = budget.prompt_tokens(connection, target, files).await?;
        let wanted = prompt.saturating_add(self.answer_tokens.into());
        let fits = load.running == 0 || load.spoken_for().saturating_add(wanted) <= budget.limit();
        Ok(if fits { Ok(wanted) } else { Err(budget.exceeded()) })
    }

    /// The refusal of a user with as many unfinished answers as a user may have.
    pub(super) fn too_many(self) -> StartAnswerError {
        StartAnswerError::TooManyUnfinished {
            limit: self.max_unfinished(),
            after: TOO_MANY_RETRY_AFTER,
        }
    }
}

impl Budget {
    /// An estimate of the prompt, on the high side: the system message, the question with the names of its files, and as much of the past
    /// as has room.
    async fn prompt_tokens(
        &self,
        connection: &mut PgConnection,
        target: &AnswerTarget,
        files: &HeldFiles,
    ) -> Result<i64, StoreError> {
        let notes = attachment_note::max_bytes(files.files.iter().map(|file| file.name.as_str()));
        let said = high_estimate(count(target.question.text().len() + notes));
        let most = count(self.quota.context_tokens);
        let past = match &target.question {
            Question::New {
                follows: Follows::TheLast,
                ..
            } => PastOf::TheLast,
            Question::New {
                follows: Follows::SameAs(earlier),
                ..
            } => PastOf::Beside(*earlier),
            // Which holds the question itself once more: on the high side.
            Question::Existing(question) => PastOf::Message(question.id),
        };
        let bytes = match target.conversation {
            None => 0,
            Some(conversation) => {
                let unfinished = i64::from(self.quota.answer_tokens) * count(token_estimate::BYTES_PER_TOKEN);
                let measured = most * count(token_estimate::BYTES_PER_TOKEN);
                history::measure(connection, self.user, conversation, past, unfinished, measured).await?
            }
        };
        // The question is sent whatever its length.
        Ok((SYSTEM_TOKENS + said + high_estimate(bytes)).min(most.max(SYSTEM_TOKENS + said)))
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.quota.daily_tokens).unwrap_or(i64::MAX)
    }

    fn exceeded(&self) -> StartAnswerError {
        let resets_at = (self.now.date_naive() + Days::new(1))
            .and_time(NaiveTime::MIN)
            .and_utc();
        StartAnswerError::QuotaExceeded {
            limit: self.quota.daily_tokens,
            resets_at,
            after: (resets_at - self.now).to_std().unwrap_or(Duration::ZERO),
        }
    }
}

fn high_estimate(bytes: i64) -> i64 {
    bytes / count(token_estimate::MIN_BYTES_PER_TOKEN) + 1
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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
                context_tokens: 0,
            };
            quota.max_unfinished()
        };
        assert_eq!([1, 6, 7, 30, u32::MAX].map(max), [20, 20, 21, 90, u32::MAX]);
        assert_eq!(max(0), 90, "where any number may run, too");
    }
}
