//! What a run does before it asks anybody: makes sure that its turn has come, takes the answer, finds out where readers have
//! seen it end, and reads what the model is to be told.

use std::time::Duration;

use cura_domain::answer::Fence;
use cura_domain::prompt::{self, HistoryMessage, Prompt, PromptMessage, UserContext};
use cura_domain::{MessageId, tokens};
use cura_providers::ai::RequestKey;
use cura_queue::JobError;
use cura_store::answers::{Taken, TakenAnswer};
use cura_store::{PgConnection, StoreError, answers, attempts, history, usage, with_deadline};
use sqlx::Connection as _;

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;
use crate::generate_answer::PATIENCE;

/// When an answer looks again whether its turn has come, if nobody tells it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What came of taking an answer.
pub(crate) enum Taking {
    /// It is ours, and this is what the model is told.
    Taken(Box<TakenAnswer>, Told),
    /// It is ours, and somebody wants it stopped.
    Cancelled(Box<TakenAnswer>),
    /// It is final, or gone.
    Over,
}

/// What the model is told, before it is cut to what it can take.
#[derive(Clone)]
pub(crate) struct Told {
    system: PromptMessage,
    newest_first: Vec<HistoryMessage>,
}

/// Takes the answer.
///
/// # Errors
/// [`JobError::Snooze`] when its turn has not come, or nobody can be asked.
pub(crate) async fn take(parts: &JobContext, id: MessageId) -> Result<Taking, JobError> {
    if let Err(open) = parts.ai.reserve(RequestKey::Answer(id)) {
        wait_for_provider(parts, id, open.retry_after).await?;
    }
    match with_deadline(take_and_read(parts, id))
        .await
        .map_err(snooze_if_unavailable)?
    {
        Some(taking) => Ok(taking),
        None => Err(JobError::Snooze {
            after: LOOK_AGAIN,
            reason: "other answers come first".to_owned(),
        }),
    }
}

/// Takes the answer and reads what is to be told, on one connection; `None` when others come first.
async fn take_and_read(parts: &JobContext, id: MessageId) -> Result<Option<Taking>, StoreError> {
    let mut connection = parts.database.pool().acquire().await?;
    Ok(match take_at_its_end(parts, &mut connection, id).await? {
        Taken::NotYet => None,
        Taken::Over => Some(Taking::Over),
        Taken::Yes(taken) if taken.cancelled => Some(Taking::Cancelled(taken)),
        Taken::Yes(taken) => {
            let told = read(parts, &mut connection, &taken).await?;
            Some(Taking::Taken(taken, told))
        }
    })
}

/// Nobody can be asked for `wait`: that is no attempt, unless the person has waited long enough.
async fn wait_for_provider(parts: &JobContext, id: MessageId, wait: Duration) -> Result<(), JobError> {
    let now = parts.clock.now();
    let most = parts.assistant.running_answers;
    let begun =
        with_deadline(async { answers::turn_came(&mut *parts.database.pool().acquire().await?, id, most, now).await });
    match begun.await.map_err(snooze_if_unavailable)? {
        Some(begun) if now - begun < PATIENCE => Err(JobError::Snooze {
            after: wait.max(Duration::from_millis(100)),
            reason: "the providers' circuit breakers are open".to_owned(),
        }),
        // Stopped, too old, or not yet: taking it says which.
        _ => Ok(()),
    }
}

/// Takes the answer where readers have seen the text end, or at its beginning if nobody can go on. In one transaction: a
/// fence that is seen has its place, and the attempt before is counted once the fence keeps it from counting itself.
async fn take_at_its_end(
    parts: &JobContext,
    connection: &mut PgConnection,
    id: MessageId,
) -> Result<Taken, StoreError> {
    let now = parts.clock.now();
    let mut transaction = connection.begin().await?;
    let taken = answers::take(&mut transaction, id, parts.assistant.running_answers, now).await?;
    let Taken::Yes(mut taken) = taken else {
        return Ok(taken);
    };
    if taken.fence.0 > 1 {
        let saved = std::mem::take(&mut taken.text);
        // Half a second at most, and only after a crash or a hand-over.
        let shown = parts.live.read(id).await.ok().flatten();
        let mut text = match shown {
            Some(shown) if shown.fence < taken.fence && shown.text.starts_with(&saved) => shown.text,
            _ => saved.clone(),
        };
        let before = Fence(taken.fence.0 - 1);
        let model = parts.ai.primary_model();
        let voice = (&*model.provider, &*model.model);
        let lost = attempts::record_lost(&mut transaction, id, before, text.len(), voice, now).await?;
        if !taken.cancelled && (!parts.ai.can_continue() || text.trim().is_empty()) {
            text.clear();
        }
        if text != saved {
            answers::rebase(&mut transaction, id, taken.fence, &text).await?;
            if let Some(base) = taken.bases.0.last_mut() {
                *base = text.len() as u64;
            }
        }
        taken.text = text;
        if let Some(lost) = lost {
            usage::add(&mut transaction, lost.user, &lost.model, 0, &lost.usage, now).await?;
        }
    }
    transaction.commit().await?;
    Ok(Taken::Yes(taken))
}

/// What was said before the question does not change any more.
async fn read(parts: &JobContext, connection: &mut PgConnection, taken: &TakenAnswer) -> Result<Told, StoreError> {
    let bytes = i64::try_from(parts.assistant.context_tokens * tokens::MANY_BYTES_PER_TOKEN).unwrap_or(i64::MAX);
    let past = history::of(connection, taken.conversation_id, taken.question, bytes).await?;
    let person = UserContext {
        name: taken.name.as_deref(),
        language: &taken.language,
        time_zone: &taken.timezone,
        now: parts.clock.now(),
    };
    Ok(Told {
        system: prompt::system(&parts.assistant.persona, &person, past.summary.as_deref()),
        newest_first: past.newest_first,
    })
}

impl Told {
    /// Cuts it to `budget` tokens. Counting many is no work for an async thread, and is not done where it cannot matter.
    ///
    /// # Errors
    /// When the counting thread vanished.
    pub(crate) async fn assemble(&self, parts: &JobContext, budget: usize) -> Result<Prompt, JobError> {
        let told = self.clone();
        let bytes: usize = told
            .newest_first
            .iter()
            .map(|spoken| spoken.message.content.len())
            .sum();
        // No token has less than a byte.
        if bytes + told.system.content.len() <= budget / 2 {
            let estimate = |text: &str| tokens::estimate(text.len());
            return Ok(prompt::assemble(told.system, told.newest_first, budget, estimate));
        }
        let counter = parts.ai.token_counter();
        tokio::task::spawn_blocking(move || {
            prompt::assemble(told.system, told.newest_first, budget, |text| counter.count(text))
        })
        .await
        .map_err(|error| JobError::Retry {
            after: None,
            reason: error.to_string(),
        })
    }
}
