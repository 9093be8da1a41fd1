//! What a run does before it asks a provider: checks that one can be asked, begins an attempt, and reads the prompt's context.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_answers::{AttemptStart, BeginOptions, StartedAttempt, TakenAnswer};
use cura_domain::file::MAX_WAIT_FOR_SCANS;
use cura_domain::prompt::{self, FileRules, HistoryMessage, Prompt, PromptMessage, UserContext};
use cura_domain::{MessageId, token_estimate};
use cura_providers::ai::EncodedFiles;
use cura_queue::{JobError, Run};
use cura_store::history::{self, History};
use cura_store::owners::{self, ConversationOwner};
use cura_store::{PgConnection, StoreError, answers, attachments};
use tokio::time::Instant;

use super::prompt_files::{FilesAway, HistoryFiles};
use crate::context::JobContext;
use crate::errors::snooze_while_slow;

/// The longest a person waits for a provider that cannot be asked, from when the answer became eligible to start.
pub(crate) const MAX_WAIT_FOR_PROVIDER: TimeDelta = TimeDelta::minutes(2);
/// How long a job is snoozed at first while other answers come first, unless it is made ready before.
const MIN_WAITING_SNOOZE: Duration = Duration::from_secs(2);
/// How long at most: the answer that it waits for makes it ready, so this only catches what got lost.
const MAX_WAITING_SNOOZE: Duration = Duration::from_secs(60);
/// How long at most while a file of the question is being scanned: the end of the scan makes the job ready, so this only catches what got
/// lost.
const SCAN_SNOOZE: Duration = Duration::from_secs(5);
/// The shortest snooze while no provider can be asked.
const MIN_PROVIDER_SNOOZE: Duration = Duration::from_millis(100);

/// The outcome of beginning an attempt.
pub(crate) enum PreparedAttempt {
    /// The attempt has begun, with the context of its prompt.
    Started(Box<StartedAttempt>, PromptContext),
    /// The attempt has begun, and the answer is to be cancelled.
    CancelRequested(Box<StartedAttempt>),
    /// The answer is final or deleted.
    Ended,
}

/// The system message and the history, before they are cut to a token budget.
#[derive(Clone)]
pub(crate) struct PromptContext {
    /// Whose words they are.
    pub(crate) owner: ConversationOwner,
    /// When the statement was sent that read the owner.
    pub(crate) owner_asked_at: Instant,
    system: PromptMessage,
    newest_first: Vec<HistoryMessage>,
    files: Arc<HistoryFiles>,
}

/// Begins an attempt.
///
/// # Errors
/// [`JobError::Snooze`] while other answers come first, a file of the question is being scanned, or no provider can be asked.
pub(crate) async fn prepare_attempt(
    context: &JobContext,
    id: MessageId,
    run: &Run,
) -> Result<PreparedAttempt, JobError> {
    if context.ai.holds_anybody() {
        snooze_until_provider_may_be_asked(context, id).await?;
    }
    let claimed = run.claimed();
    let options = BeginOptions {
        max_running: context.assistant.running_answers,
        can_continue: context.ai.can_continue(),
        worker: &claimed.instance_id,
    };
    let bytes =
        i64::try_from(context.assistant.context_tokens * token_estimate::MAX_BYTES_PER_TOKEN).unwrap_or(i64::MAX);
    let asked_at = Instant::now();
    if run.attempt == 1
        && let Some(TakenAnswer {
            attempt,
            owner,
            history,
        }) = context
            .answers
            .take(id, options, bytes)
            .await
            .map_err(snooze_while_slow)?
    {
        let prompt_context = PromptContext::new(context, (owner, asked_at), &attempt, history);
        return Ok(PreparedAttempt::Started(
            attempt,
            prompt_context.with_files(context).await?,
        ));
    }
    // Also in a later run: the worker of the one before may have died while its answer waited.
    snooze_while_files_are_scanned(context, id).await?;
    let begun = context.database.transaction(async |connection| {
        Ok::<_, StoreError>(match context.answers.begin(connection, id, options).await? {
            AttemptStart::Waiting { since } => Err(since),
            AttemptStart::Ended => Ok(PreparedAttempt::Ended),
            AttemptStart::Started(attempt) if attempt.cancel_requested => Ok(PreparedAttempt::CancelRequested(attempt)),
            AttemptStart::Started(attempt) => Ok(match read_context(context, connection, &attempt, bytes).await? {
                Some(prompt_context) => PreparedAttempt::Started(attempt, prompt_context),
                None => PreparedAttempt::Ended,
            }),
        })
    });
    match begun.await.map_err(snooze_while_slow)? {
        Ok(PreparedAttempt::Started(attempt, prompt_context)) => Ok(PreparedAttempt::Started(
            attempt,
            prompt_context.with_files(context).await?,
        )),
        Ok(other) => Ok(other),
        Err(since) => Err(JobError::Snooze {
            after: waiting_snooze(id, context.clock.now() - since),
            reason: "other answers come first".to_owned(),
        }),
    }
}

/// How long an answer of this age waits before it looks again whether its turn has come: as long as it has waited already, up
/// to [`MAX_WAITING_SNOOZE`] and a quarter, so that those that were asked for together do not look together.
fn waiting_snooze(id: MessageId, age: TimeDelta) -> Duration {
    let age = age.to_std().unwrap_or_default();
    let spread = u32::try_from(id.0.rem_euclid(16)).unwrap_or_default();
    let snooze = age.clamp(MIN_WAITING_SNOOZE, MAX_WAITING_SNOOZE);
    snooze + snooze * spread / 64
}

/// Snoozes a job while no provider can be asked for its person, without spending an attempt. Once the person has waited long
/// enough, the attempt begins all the same, and fails.
async fn snooze_until_provider_may_be_asked(context: &JobContext, id: MessageId) -> Result<(), JobError> {
    let database = &context.database;
    let owner = database.connection(async |connection| owners::find_of_message(connection, id).await);
    let person = owner.await.map_err(snooze_while_slow)?.map(|owner| owner.user());
    let Err(open) = context.ai.check(person) else {
        return Ok(());
    };
    let now = context.clock.now();
    let max_running = context.assistant.running_answers;
    let eligible =
        database.connection(async |connection| answers::record_eligible(connection, id, max_running, now).await);
    match eligible.await.map_err(snooze_while_slow)? {
        Some(since) if now - since < MAX_WAIT_FOR_PROVIDER => Err(JobError::Snooze {
            after: open.retry_after.max(MIN_PROVIDER_SNOOZE),
            reason: "no provider can be asked for this person yet".to_owned(),
        }),
        // The answer is to be cancelled, not eligible, or waits for too long: beginning an attempt tells which.
        _ => Ok(()),
    }
}

/// Snoozes a job while a file of its question is being scanned, without spending an attempt. Once the person has waited for
/// [`MAX_WAIT_FOR_SCANS`], the attempt begins without that file.
async fn snooze_while_files_are_scanned(context: &JobContext, id: MessageId) -> Result<(), JobError> {
    let waits = context
        .database
        .connection(async |connection| attachments::waits_for_scans_since(connection, id).await);
    let Some(since) = waits.await.map_err(snooze_while_slow)? else {
        return Ok(());
    };
    let left = since + MAX_WAIT_FOR_SCANS - context.clock.now();
    match left.to_std() {
        Ok(left) if !left.is_zero() => Err(JobError::Snooze {
            after: left.min(SCAN_SNOOZE),
            reason: "a file of the question is being scanned".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// `None` when the words are deleted.
async fn read_context(
    context: &JobContext,
    connection: &mut PgConnection,
    attempt: &StartedAttempt,
    bytes: i64,
) -> Result<Option<PromptContext>, StoreError> {
    let asked_at = Instant::now();
    let Some(owner) = owners::find(connection, attempt.conversation_id).await? else {
        return Ok(None);
    };
    let past = history::load(connection, &owner, attempt.question, bytes).await?;
    Ok(Some(PromptContext::new(context, (owner, asked_at), attempt, past)))
}

impl PromptContext {
    fn new(
        context: &JobContext,
        (owner, asked_at): (ConversationOwner, Instant),
        attempt: &StartedAttempt,
        past: History,
    ) -> Self {
        let user = UserContext {
            name: attempt.name.as_deref(),
            language: &attempt.language,
            time_zone: &attempt.timezone,
            now: context.clock.now(),
        };
        Self {
            owner,
            owner_asked_at: asked_at,
            system: prompt::system(&context.assistant.persona, &user, past.summary.as_deref()),
            newest_first: past.newest_first,
            files: Arc::default(),
        }
    }

    /// The same, with what its files hold.
    async fn with_files(self, context: &JobContext) -> Result<Self, JobError> {
        let files = HistoryFiles::read(context, self.owner.user(), &self.newest_first).await?;
        Ok(Self {
            files: Arc::new(files),
            ..self
        })
    }

    /// Fetches what goes beside the text of a prompt of this context.
    ///
    /// # Errors
    /// [`FilesAway`], while it may help to wait.
    pub(super) async fn fetch_files(
        &self,
        context: &JobContext,
        messages: &mut [PromptMessage],
        may_wait: bool,
    ) -> Result<EncodedFiles, FilesAway> {
        let takes = context.ai.file_rules().takes;
        self.files.fetch(context, messages, (takes, may_wait)).await
    }

    /// Cuts the context to `budget` tokens. Counting many tokens is done off the async threads, and only where the count can
    /// matter.
    ///
    /// # Errors
    /// When the counting thread panicked.
    pub(crate) async fn assemble(&self, context: &JobContext, budget: usize) -> Result<Prompt, JobError> {
        let prompt_context = self.clone();
        let rules = context.ai.file_rules();
        let bytes: usize = prompt_context
            .newest_first
            .iter()
            .map(|spoken| spoken.message.content.len())
            .sum();
        // A token has at least one byte.
        let has_files = prompt_context
            .newest_first
            .iter()
            .any(|said| !said.message.files.is_empty());
        if !has_files && bytes + prompt_context.system.content.len() <= budget / 2 {
            return Ok(prompt_context.assembled(budget, rules, |text| token_estimate::estimate(text.len())));
        }
        let counter = context.ai.token_counter();
        tokio::task::spawn_blocking(move || prompt_context.assembled(budget, rules, |text| counter.count(text)))
            .await
            .map_err(|error| JobError::Retry {
                after: None,
                reason: error.to_string(),
            })
    }

    fn assembled(self, budget: usize, rules: FileRules, count: impl Fn(&str) -> usize) -> Prompt {
        let files = (&self.files.contents, rules);
        prompt::assemble(self.system, self.newest_first, budget, files, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_waits_looks_less_and_less_often() {
        let seconds = |id, age| waiting_snooze(MessageId(id), TimeDelta::seconds(age)).as_secs();
        assert_eq!(
            [-5, 0, 2, 10, 60, 9999].map(|age| seconds(16, age)),
            [2, 2, 2, 10, 60, 60]
        );
        assert_eq!([7, 15].map(|id| seconds(id, 9999)), [66, 74], "not all at once");
    }
}
