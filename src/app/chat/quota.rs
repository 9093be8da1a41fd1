//! How many answers a user may have running, and how many tokens a day.
//!
//! Before an answer is asked for, all that it can cost is reserved: its prompt, and the output limit that is sent to the
//! provider. What does not fit into the day is refused; but a user who has no answer under way may ask as long as anything is
//! left, so that the last answer of a day may exceed it. An answer's reservation ends with it, when its attempts are counted.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, Utc};
use cura_domain::message::Follows;
use cura_domain::picture_tokens::PictureCost;
use cura_domain::prompt::{self, FileContent, FileRules};
use cura_domain::{UserId, token_estimate};
use cura_store::history::{self, MeasuredPast, PastOf};
use cura_store::users::HeldUser;
use cura_store::{PgConnection, StoreError, prompt_files, usage, users};

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
    rules: FileRules,
    now: DateTime<Utc>,
}

/// What the files of a question cost, in tokens.
#[derive(Debug, Clone, Copy, Default)]
struct FileTokens {
    documents: i64,
    beside_text: i64,
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
    pub(crate) async fn hold(self, connection: &mut PgConnection, user: UserId) -> Result<HeldUser, StoreError> {
        users::hold_alone(connection, user).await?.ok_or(StoreError::UserGone)
    }

    /// The tokens to reserve for an answer to the target's question, or why they do not fit into the day. The transaction holds
    /// the user alone.
    pub(super) async fn reserve(
        self,
        connection: &mut PgConnection,
        user: UserId,
        (target, files, rules): (&AnswerTarget, &HeldFiles, FileRules),
        now: DateTime<Utc>,
    ) -> Result<Result<i64, StartAnswerError>, StoreError> {
        let load = usage::load(connection, user, now).await?;
        let budget = Budget {
            user,
            quota: self,
            rules,
            now,
        };
        if load.spoken_for() >= budget.limit() {
            return Ok(Err(budget.exceeded()));
        }
        let prompt = budget.prompt_tokens(connection, target, files).await?;
        let wanted = prompt.saturating_add(self.answer_tokens.into());
        let fits = load.running == 0 || load.spoken_for().saturating_add(wanted) <= budget.limit();
        Ok(if fits { Ok(wanted) } else { Err(budget.exceeded()) })
    }

    /// The tokens to reserve for an answer that is made again, for which `reserved` were when it was asked for; `None` if they do not fit
    /// into the day. The transaction holds the user alone.
    pub(crate) async fn reserve_again(
        self,
        connection: &mut PgConnection,
        user: UserId,
        reserved: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<i64>, StoreError> {
        if self.daily_tokens == 0 {
            return Ok(Some(reserved));
        }
        let limit = i64::try_from(self.daily_tokens).unwrap_or(i64::MAX);
        let load = usage::load(connection, user, now).await?;
        let most = count(self.context_tokens).saturating_add(self.answer_tokens.into());
        // Where none were reserved, there was no limit then.
        let wanted = if reserved > 0 { reserved } else { most };
        let left = limit.saturating_sub(load.spoken_for());
        Ok((left > 0 && (load.running == 0 || wanted <= left)).then_some(wanted))
    }

    /// Whether `user` may have one more unfinished answer. It waits for its turn as any other.
    pub(crate) async fn has_room(
        self,
        connection: &mut PgConnection,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let unfinished = usage::load(connection, user, now).await?.running;
        Ok(unfinished < i64::from(self.max_unfinished()))
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
    /// An estimate of the prompt, on the high side: the system message, the question with its files, and as much of the past as has room.
    async fn prompt_tokens(
        &self,
        connection: &mut PgConnection,
        target: &AnswerTarget,
        files: &HeldFiles,
    ) -> Result<i64, StoreError> {
        let lines = prompt::max_line_bytes(files.files.iter().map(|file| file.name.as_str()));
        let of_files = self.file_tokens(connection, files).await?;
        let said = high_estimate(count(target.question.text().len() + lines)) + of_files.documents;
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
        let past = match target.conversation {
            None => MeasuredPast::default(),
            Some(conversation) => {
                let unfinished = i64::from(self.quota.answer_tokens) * count(token_estimate::BYTES_PER_TOKEN);
                let measured = most * count(token_estimate::BYTES_PER_TOKEN);
                let document = count(self.quota.context_tokens / 2 * token_estimate::MIN_BYTES_PER_TOKEN);
                history::measure(
                    connection,
                    self.user,
                    conversation,
                    past,
                    (unfinished, document),
                    measured,
                )
                .await?
            }
        };
        // The question is sent whatever its length.
        let text = (SYSTEM_TOKENS + said + high_estimate(past.bytes)).min(most.max(SYSTEM_TOKENS + said));
        Ok(text + of_files.beside_text + self.beside_text_of_past(past))
    }

    /// What the files of a question cost. What is not scanned yet counts as the dearest picture, or as text that takes all room for it.
    async fn file_tokens(&self, connection: &mut PgConnection, files: &HeldFiles) -> Result<FileTokens, StoreError> {
        let mut tokens = FileTokens::default();
        if files.files.is_empty() {
            return Ok(tokens);
        }
        let found = prompt_files::list(connection, self.user, &files.ids(), 0).await?;
        let most_of_documents = count(self.quota.context_tokens / 2);
        for file in &files.files {
            let stored = found.iter().find(|stored| stored.id == file.id);
            let (documents, beside_text) = match stored.map(|stored| (&stored.content, stored.text_bytes)) {
                Some((FileContent::Picture { width, height, .. }, _)) => {
                    (0, self.picture_tokens(|cost| cost.tokens(*width, *height)))
                }
                Some((FileContent::Text { .. }, bytes)) => (high_estimate(i64::try_from(bytes).unwrap_or(i64::MAX)), 0),
                Some((FileContent::Pdf { pages, .. }, _))
                    if self.rules.takes.pdfs && *pages <= prompt::MAX_PDF_PAGES =>
                {
                    (0, self.rules.pictures.of_pdf(*pages))
                }
                Some((FileContent::Pdf { .. } | FileContent::Nothing | FileContent::Unknown, _)) => (0, 0),
                None if file.file_type.is_picture() => (0, self.picture_tokens(PictureCost::of_unknown_size)),
                None => (most_of_documents, 0),
            };
            tokens.documents = tokens.documents.saturating_add(documents).min(most_of_documents);
            tokens.beside_text = tokens.beside_text.saturating_add(count(beside_text));
        }
        Ok(tokens)
    }

    fn picture_tokens(&self, tokens: impl Fn(PictureCost) -> usize) -> usize {
        if self.rules.takes.pictures {
            tokens(self.rules.pictures)
        } else {
            0
        }
    }

    fn beside_text_of_past(&self, past: MeasuredPast) -> i64 {
        let most = count(prompt::MAX_PICTURES);
        let picture = count(self.picture_tokens(PictureCost::of_unknown_size));
        let pages = if self.rules.takes.pdfs { past.pdf_pages } else { 0 };
        // No prompt has more of them than of pictures.
        let most_pages = i64::from(prompt::MAX_PDF_PAGES) * most;
        let pages = u32::try_from(pages.min(most_pages)).unwrap_or_default();
        picture
            .saturating_mul(past.pictures.min(most))
            .saturating_add(count(self.rules.pictures.of_pdf(pages)))
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
