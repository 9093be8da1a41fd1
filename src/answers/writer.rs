//! Writes one attempt at an answer: to `live` as the text comes, to Postgres at checkpoints and at the end.
//!
//! The writer has the whole text, so `live` may lose it at any time: it is written back when `live` is reachable again. An
//! outage of `live` or Postgres never stops an attempt; a newer attempt, or the answer's end, does.

use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::answer::{Fence, MAX_ANSWER_BYTES, MAX_ATTEMPT_DURATION};
use cura_domain::message::AnswerResult;
use cura_domain::paid_calls::CallsWithoutText;
use cura_domain::{MessageId, ModelRef, token_estimate};
use cura_live::{AppendError, Appender};
use cura_queue::Claimed;
use cura_store::answers::{SavedText, StartedAttempt};
use cura_store::attempts::{self, Attempt, EarlierAttempt};
use cura_store::{StoreError, answers};
use tokio::time::Instant;

use crate::finish::{Ending, Finished};
use crate::finish_alone::Alone;
use crate::{Answers, AttemptCost, FollowUps, Outcome, WriteError};

/// How long the end of an answer is retried while Postgres is away; then another attempt generates it again.
const FINISH_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two tries to write the end.
const FINISH_PAUSE: Duration = Duration::from_millis(500);

/// Writes one attempt at an answer.
pub struct AnswerWriter {
    answers: Answers,
    id: MessageId,
    attempt: Box<StartedAttempt>,
    text: String,
    /// The UTF-8 bytes that the last checkpoint saved.
    saved: usize,
    /// From the question stored to this attempt's first text.
    ttft: Option<TimeDelta>,
    /// Writes on in `live`, as long as that has, or is about to have, all of `text`.
    appender: Option<Appender>,
    began: Instant,
}

/// The result of a checkpoint, for [`AnswerWriter::record_checkpoint`].
#[derive(Debug)]
pub struct Checkpoint {
    written: Result<bool, StoreError>,
    bytes: usize,
}

impl Checkpoint {
    /// Whether it was not written because of Postgres.
    pub fn failed(&self) -> bool {
        self.written.is_err()
    }
}

impl Answers {
    /// A writer for an attempt that has begun: it continues at the end of the attempt's text.
    pub fn writer(&self, id: MessageId, mut attempt: Box<StartedAttempt>) -> AnswerWriter {
        let text = std::mem::take(&mut attempt.text);
        AnswerWriter {
            answers: self.clone(),
            id,
            attempt,
            saved: text.len(),
            text,
            ttft: None,
            appender: None,
            began: Instant::now(),
        }
    }
}

impl AnswerWriter {
    /// The answer.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// The attempt that writes now.
    pub fn fence(&self) -> Fence {
        self.attempt.fence
    }

    /// The text so far, of this attempt and those before.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The UTF-8 bytes that no checkpoint has saved.
    pub fn unsaved_bytes(&self) -> usize {
        self.text.len().saturating_sub(self.saved)
    }

    /// Whether `live` has all of the text, or is about to, as far as is known, and keeps it if this process dies.
    pub fn live_is_whole(&self) -> bool {
        self.appender.is_some() && self.answers.0.live.outlives_process()
    }

    /// The UTF-8 bytes that this attempt has written.
    pub fn written_bytes(&self) -> usize {
        let start = self.attempt.attempt_offsets.0.last().copied().unwrap_or_default();
        self.text.len() - usize::try_from(start).unwrap_or_default().min(self.text.len())
    }

    /// How long ago the answer became eligible to start.
    pub fn age(&self) -> TimeDelta {
        self.answers.0.clock.now() - self.attempt.started_at
    }

    /// Announces to readers that this attempt begins. If `live` is away, the first [`Self::restore_if_lost`] announces it.
    pub async fn announce_start(&mut self) {
        let live = &self.answers.0.live;
        let begun = live.begin(self.id, self.attempt.fence, &self.attempt.attempt_offsets, &self.text);
        self.appender = begun.await.is_ok().then(|| self.appender());
    }

    /// Appends text, as much as an answer may have.
    ///
    /// # Errors
    /// [`WriteError::Superseded`], or [`WriteError::TooLong`] when text was cut off, at the boundary of a character.
    pub async fn append(&mut self, piece: &str) -> Result<(), WriteError> {
        let room = MAX_ANSWER_BYTES.saturating_sub(self.text.len());
        let fitting = piece.get(..piece.floor_char_boundary(room)).unwrap_or_default();
        if !fitting.is_empty() {
            self.append_fitting(fitting).await?;
        }
        if fitting.len() < piece.len() {
            return Err(WriteError::TooLong);
        }
        Ok(())
    }

    async fn append_fitting(&mut self, piece: &str) -> Result<(), WriteError> {
        self.check_age()?;
        self.ttft
            .get_or_insert_with(|| self.answers.0.clock.now() - self.attempt.created_at);
        self.text.push_str(piece);
        if let Some(appender) = &mut self.appender
            && let Err(error) = appender.append(piece).await
        {
            self.note_live(error)?;
            self.restore().await?;
        }
        Ok(())
    }

    /// Takes back all text that this attempt has written, because it was none of the answer, and all that attempts before it
    /// wrote of the same thought: those of `model`, as long as none of them ended one. The attempt goes on there under the next
    /// fence, which readers see as they see a new attempt. Postgres has the shorter text first, so that nobody
    /// who takes over brings back what was taken. Retries for 60 s while Postgres is away. No checkpoint may be under way.
    ///
    /// # Errors
    /// [`WriteError::Superseded`], or [`WriteError::Store`] when Postgres stays away; then another attempt has to begin.
    pub async fn take_back(&mut self, model: Option<&ModelRef>) -> Result<(), WriteError> {
        self.check_age()?;
        let (database, id, fence) = (&self.answers.0.database, self.id, self.attempt.fence);
        let mut outage = Outage::begin(id);
        let earlier = loop {
            let found = database.connection(async |connection| attempts::without_thoughts(connection, id).await);
            match found.await {
                Ok(earlier) => break earlier,
                Err(error) => outage.pause(error).await?,
            }
        };
        let start = self.thought_start(model, &earlier);
        if start == self.text.len() {
            return Ok(());
        }
        let kept = self.text.get(..start).unwrap_or_default().to_owned();
        let thoughts = token_estimate::estimate(self.text.len() - start);
        let thoughts = i64::try_from(thoughts).unwrap_or(i64::MAX).max(1);
        // The same for every try: by it, a try whose outcome is unknown is recognised.
        let now = self.answers.0.clock.now_micros();
        let taken = loop {
            let taken = database
                .connection(async |connection| answers::take_back(connection, id, fence, (&kept, thoughts), now).await);
            match taken.await {
                Ok(taken) => break taken,
                Err(error) => outage.pause(error).await?,
            }
        };
        let (fence, offsets) = taken.ok_or(WriteError::Superseded)?;
        self.attempt.fence = fence;
        self.attempt.attempt_offsets = offsets;
        self.saved = kept.len();
        self.text = kept;
        if self.text.is_empty() {
            self.ttft = None;
        }
        self.announce_start().await;
        Ok(())
    }

    /// Where the thought began that ends in this attempt. `earlier`: the attempts before it, newest first.
    fn thought_start(&self, model: Option<&ModelRef>, earlier: &[EarlierAttempt]) -> usize {
        let mut start = self.text.len() - self.written_bytes();
        for attempt in earlier {
            let at = (attempt.fence.0 as usize).checked_sub(1);
            let began = at.and_then(|at| self.attempt.attempt_offsets.0.get(at).copied());
            let Some(began) = began.and_then(|began| usize::try_from(began).ok()) else {
                continue;
            };
            // One that wrote nothing says nothing.
            if began >= start {
                continue;
            }
            if attempt.ended_a_thought || model != Some(&attempt.model) {
                break;
            }
            start = began;
        }
        start
    }

    /// Waits until `live` is known to have lost text that was appended: then call [`Self::restore_if_lost`]. Cancel-safe.
    pub async fn lost(&self) {
        match &self.appender {
            Some(appender) => appender.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Writes the whole text back to `live`, if `live` has lost some of it.
    ///
    /// # Errors
    /// [`WriteError::Superseded`].
    pub async fn restore_if_lost(&mut self) -> Result<(), WriteError> {
        if let Some(appender) = &self.appender {
            match appender.failure() {
                Some(error) => self.note_live(error)?,
                None => return Ok(()),
            }
        }
        self.restore().await
    }

    /// An attempt that took too long has a successor, or its words were forgotten so long ago that `live` does not know it.
    fn check_age(&self) -> Result<(), WriteError> {
        if self.began.elapsed() > MAX_ATTEMPT_DURATION {
            return Err(WriteError::Superseded);
        }
        Ok(())
    }

    async fn restore(&mut self) -> Result<(), WriteError> {
        self.check_age()?;
        let live = &self.answers.0.live;
        let restored = live.restore(self.id, self.attempt.fence, &self.attempt.attempt_offsets, &self.text);
        match restored.await {
            Ok(()) => {
                self.appender = Some(self.appender());
                Ok(())
            }
            Err(error) => self.note_live(error),
        }
    }

    /// Notes why `live` does not have all of the text.
    fn note_live(&mut self, error: AppendError) -> Result<(), WriteError> {
        self.appender = None;
        match error {
            AppendError::Stale => Err(WriteError::Superseded),
            _ => Ok(()),
        }
    }

    /// Writes on behind the text that `live` has now.
    fn appender(&self) -> Appender {
        let live = &self.answers.0.live;
        live.appender(self.id, self.attempt.fence, self.text.len() as u64)
    }

    /// Saves the text so far, the model that writes it and the tokens of its thoughts, if there is more than the last checkpoint saved. To be awaited
    /// beside the stream, so that a slow database delays no text; its result goes to [`Self::record_checkpoint`].
    pub fn checkpoint(
        &self,
        model: Option<ModelRef>,
        thoughts: Option<i64>,
    ) -> Option<impl Future<Output = Checkpoint> + Send + use<>> {
        if self.saved == self.text.len() {
            return None;
        }
        let (database, now) = (self.answers.0.database.clone(), self.answers.0.clock.now());
        let (id, fence, text) = (self.id, self.attempt.fence, self.text.clone());
        let ttft_ms = self.ttft_ms();
        Some(async move {
            let saved = SavedText {
                text: &text,
                model: model.as_ref(),
                ttft_ms,
                thoughts,
            };
            let written =
                database.connection(async |connection| answers::checkpoint(connection, id, fence, saved, now).await);
            Checkpoint {
                written: written.await,
                bytes: text.len(),
            }
        })
    }

    /// Takes the result of a checkpoint. One that failed because Postgres is away is made up for by the next.
    ///
    /// # Errors
    /// [`WriteError::Superseded`].
    pub fn record_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), WriteError> {
        match checkpoint.written {
            Ok(true) => self.saved = checkpoint.bytes,
            Ok(false) => return Err(WriteError::Superseded),
            Err(error) => {
                tracing::warn!(message_id = %self.id, %error, "saving an answer's text failed; retrying with the next checkpoint")
            }
        }
        Ok(())
    }

    /// Makes the answer final, with all that follows; the caller publishes it. Retries for 60 s while Postgres is away. With `job`,
    /// the job of this attempt is completed as well, unless much follows ([`Finished::job_is_completed`]).
    ///
    /// # Errors
    /// [`WriteError::Superseded`], or [`WriteError::Store`] when Postgres stays away; then another attempt has to finish.
    pub async fn finish(
        &self,
        result: AnswerResult<'_>,
        cost: Option<&AttemptCost>,
        follow_ups: FollowUps,
        job: Option<&Claimed>,
    ) -> Result<Finished, WriteError> {
        let (user, conversation) = (self.attempt.user_id, self.attempt.conversation_id);
        let ending = Ending {
            fence: self.attempt.fence,
            result,
            text: &self.text,
            cost,
            ttft_ms: self.ttft_ms(),
            follow_ups,
            push: match result {
                AnswerResult::Cancelled => None,
                AnswerResult::Completed(_) | AnswerResult::Failed(_) => self.answers.look_at_end(user, self.id).await,
            },
        };
        let parts = &self.answers.0;
        let mut outage = Outage::begin(self.id);
        let mut alone = match job {
            Some(job) => Alone::new((user, conversation, self.id), &ending, job)?,
            None => None,
        };
        loop {
            if let Some(end) = &alone {
                let written = parts
                    .database
                    .connection(async |connection| end.write(&self.answers, connection).await);
                match written.await {
                    Ok(Some(finished)) => return Ok(finished),
                    Ok(None) => alone = None,
                    Err(WriteError::Store(error)) => outage.pause(error).await?,
                    Err(error) => return Err(error),
                }
                continue;
            }
            let written = parts.database.transaction(async |connection| {
                let now = parts.clock.now();
                let mut finishing = self.answers.lock(connection, user, conversation, now).await?;
                finishing.end(self.id, &ending).await?;
                Ok(finishing.close(Vec::new()).await?)
            });
            match written.await {
                Err(WriteError::Store(error)) => outage.pause(error).await?,
                written => return written,
            }
        }
    }

    /// Ends this attempt but not the answer: saves the text so far and what the attempt cost. If that fails, the next attempt
    /// continues from the last checkpoint, or from what `live` has. `note` says why, in our own words. With `calls`, what providers were paid for without
    /// bringing the answer further: that has to be known to the next attempt, so an absence of Postgres is waited out.
    pub async fn leave(
        &self,
        (outcome, note): (Outcome, &str),
        model: Option<&ModelRef>,
        cost: Option<&AttemptCost>,
        calls: Option<&CallsWithoutText>,
    ) {
        let give_up = Instant::now() + FINISH_TIMEOUT;
        loop {
            match self.try_to_leave((outcome, note), model, cost, calls).await {
                Err(StoreError::Unavailable(_) | StoreError::TookTooLong)
                    if calls.is_some() && Instant::now() < give_up =>
                {
                    tokio::time::sleep(FINISH_PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(message_id = %self.id, %error, "the last text of an attempt could not be saved");
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    async fn try_to_leave(
        &self,
        (outcome, note): (Outcome, &str),
        model: Option<&ModelRef>,
        cost: Option<&AttemptCost>,
        calls: Option<&CallsWithoutText>,
    ) -> Result<(), StoreError> {
        let (id, fence, ttft_ms) = (self.id, self.attempt.fence, self.ttft_ms());
        let left = self.answers.0.database.transaction(async |connection| {
            let now = self.answers.0.clock.now();
            let saved = SavedText {
                text: &self.text,
                model,
                ttft_ms,
                thoughts: cost.and_then(|cost| cost.reasoning_tokens),
            };
            if !answers::save_at_leave(connection, (id, fence), saved, note, calls, now).await? {
                return Ok(());
            }
            if let Some(cost) = cost {
                let attempt = Attempt {
                    message: id,
                    user: self.attempt.user_id,
                    fence,
                    outcome,
                    model: &cost.model,
                    usage: cost.usage,
                    reasoning_tokens: cost.reasoning_tokens,
                    ttft_ms,
                };
                attempts::record(connection, &attempt, now).await?;
            }
            Ok::<_, StoreError>(())
        });
        left.await
    }

    /// Notes about this attempt what operators may ask later, in our own words. It may be awaited beside the stream, and is lost where
    /// Postgres is away.
    pub fn noting(&self, note: String) -> impl Future<Output = ()> + Send + use<> {
        let (database, id, fence) = (self.answers.0.database.clone(), self.id, self.attempt.fence);
        async move {
            let noted =
                database.connection(async |connection| answers::note_attempt(connection, id, fence, &note).await);
            if let Err(error) = noted.await {
                tracing::debug!(message_id = %id, %error, "an attempt could not be noted");
            }
        }
    }

    fn ttft_ms(&self) -> Option<i64> {
        self.ttft.map(|ttft| ttft.num_milliseconds())
    }
}

/// Waits out an absence of Postgres, for [`FINISH_TIMEOUT`].
struct Outage {
    answer: MessageId,
    give_up: Instant,
    warned: bool,
}

impl Outage {
    fn begin(answer: MessageId) -> Self {
        Self {
            answer,
            give_up: Instant::now() + FINISH_TIMEOUT,
            warned: false,
        }
    }

    /// Pauses after this failure; the failure itself when another try does not help, or there were enough.
    async fn pause(&mut self, error: StoreError) -> Result<(), WriteError> {
        let may_pass = matches!(error, StoreError::Unavailable(_) | StoreError::TookTooLong);
        if !may_pass || Instant::now() >= self.give_up {
            return Err(error.into());
        }
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(message_id = %self.answer, %error, "the database is unavailable; retrying to store the end of an answer");
        }
        tokio::time::sleep(FINISH_PAUSE).await;
        Ok(())
    }
}
