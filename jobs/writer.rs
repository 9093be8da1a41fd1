//! Writes one attempt at an answer: to `live` as it comes, to Postgres every second and at the end.
//!
//! The writer has the whole text, so `live` may lose it at any time: it is written back when `live` answers again. An
//! outage of either never stops a generation; a newer attempt does.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::MessageId;
use cura_domain::message::{FinishReason, Usage};
use cura_live::{AppendError, Signal};
use cura_providers::ai::Speaking;
use cura_queue::{JobError, SummarizeConversation, TitleConversation, Turn};
use cura_store::answers::{End, TakenAnswer};
use cura_store::attempts::{Attempt, Outcome};
use cura_store::events::{self, Event};
use cura_store::{PgConnection, StoreError, answers, attempts, in_time};
use tokio::time::Instant;

use crate::ending::{self, WrittenEnd};
use crate::{Parts, queue_error};

/// How long a finished answer waits for a database that is away before it is generated anew.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two tries to write the end.
const END_PAUSE: Duration = Duration::from_millis(500);
/// The longest answer we keep, in bytes: far beyond any model's output limit.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How long a better title waits: it must not take the AI service's time from the answers of the first minute.
const TITLE_PAUSE: Duration = Duration::from_secs(3);
/// UTF-8 bytes of a token, roughly, when the provider does not count.
const BYTES_PER_TOKEN: usize = 4;

pub(crate) struct AnswerWriter<'a> {
    parts: &'a Parts,
    id: MessageId,
    taken: &'a TakenAnswer,
    text: String,
    saved: usize,
    ttft: Option<TimeDelta>,
    /// Who answers, once somebody does.
    voice: Option<Voice>,
    /// Whether `live` holds everything of `text`.
    live_whole: bool,
}

/// Who answers, and what it was told.
struct Voice {
    provider: &'static str,
    model: String,
    prompt_tokens: usize,
    summarize: Option<MessageId>,
}

/// Whether a provider was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Nobody,
    /// Perhaps it has charged for the prompt.
    Somebody,
}

/// What became of a save.
pub(crate) struct Saved {
    written: Result<bool, StoreError>,
    bytes: usize,
}

impl<'a> AnswerWriter<'a> {
    /// How often the text so far is saved.
    pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(1);

    /// A writer that goes on at the end of the text that was taken.
    pub(crate) fn new(parts: &'a Parts, id: MessageId, taken: &'a TakenAnswer) -> Self {
        Self {
            parts,
            id,
            taken,
            text: taken.text.clone(),
            saved: taken.text.len(),
            ttft: None,
            voice: None,
            live_whole: false,
        }
    }

    pub(crate) fn id(&self) -> MessageId {
        self.id
    }

    /// The text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is any text, of this attempt or one before.
    pub(crate) fn has_written(&self) -> bool {
        !self.text.is_empty()
    }

    /// How long ago the first attempt began.
    pub(crate) fn age(&self) -> TimeDelta {
        self.parts.clock.now() - self.taken.started_at
    }

    /// Tells readers that this attempt begins; whether `live` took it.
    pub(crate) async fn begin(&self) -> bool {
        let begun = self
            .parts
            .live
            .begin(self.id, self.taken.fence, &self.taken.bases, &self.text)
            .await;
        begun.is_ok()
    }

    /// Notes whether `live` has what was written so far.
    pub(crate) fn begun(&mut self, live_whole: bool) {
        self.live_whole = live_whole;
    }

    /// Notes who answers, how many tokens it was told, and up to where the past should be put in short.
    pub(crate) fn answered_by(&mut self, speaking: &Speaking, prompt_tokens: usize, summarize: Option<MessageId>) {
        self.voice = Some(Voice {
            provider: speaking.provider,
            model: speaking.model.clone(),
            prompt_tokens,
            summarize,
        });
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// When a newer attempt has begun, or the answer grows out of bounds.
    pub(crate) async fn append(&mut self, piece: &str) -> Result<(), JobError> {
        if self.text.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(JobError::Fail {
                reason: "the answer is longer than 1 MiB".to_owned(),
            });
        }
        self.ttft
            .get_or_insert_with(|| self.parts.clock.now() - self.taken.created_at);
        let offset = self.text.len() as u64;
        self.text.push_str(piece);
        if self.live_whole {
            let appended = self.parts.live.append(self.id, self.taken.fence, offset, piece).await;
            self.note(appended)?;
            if !self.live_whole {
                self.restore().await?;
            }
        }
        Ok(())
    }

    /// Writes back to `live` what it lost.
    ///
    /// # Errors
    /// When a newer attempt has begun.
    pub(crate) async fn restore_if_lost(&mut self) -> Result<(), JobError> {
        if self.live_whole { Ok(()) } else { self.restore().await }
    }

    /// Saves the text so far, if there is more than was saved; to be awaited beside the stream, then told to
    /// [`Self::saved`].
    pub(crate) fn save(&self) -> Option<impl Future<Output = Saved> + Send + 'static> {
        if self.saved == self.text.len() {
            return None;
        }
        let (pool, now) = (self.parts.pool.clone(), self.parts.clock.now());
        let (id, fence, text) = (self.id, self.taken.fence, self.text.clone());
        let voice = self.voice.as_ref().map(|voice| (voice.provider, voice.model.clone()));
        Some(async move {
            let written = in_time(async {
                let mut connection = pool.acquire().await?;
                let voice = voice.as_ref().map(|(provider, model)| (*provider, model.as_str()));
                answers::save_progress(&mut connection, id, fence, &text, voice, now).await
            });
            Saved {
                written: written.await,
                bytes: text.len(),
            }
        })
    }

    /// Notes what became of a save. A database that is away is no error: there is another second.
    ///
    /// # Errors
    /// When a newer attempt has begun.
    pub(crate) fn saved(&mut self, saved: Saved) -> Result<(), JobError> {
        match saved.written {
            Ok(true) => self.saved = saved.bytes,
            Ok(false) => return Err(superseded()),
            Err(error) => tracing::warn!(message_id = %self.id, %error, "saving an answer's progress failed"),
        }
        Ok(())
    }

    /// Writes the end, in one transaction, then announces it. Waits out a short absence of the database.
    ///
    /// # Errors
    /// When the database stays away; then there is another attempt.
    pub(crate) async fn complete(
        mut self,
        reason: FinishReason,
        usage: Option<Usage>,
        model: Option<String>,
    ) -> Result<(), JobError> {
        if let Some((voice, model)) = self.voice.as_mut().zip(model) {
            voice.model = model;
        }
        let usage = usage.or_else(|| self.estimate(Asked::Somebody));
        let end = End {
            reason: Some(reason),
            ..End::CANCELLED
        };
        self.write_end(end, Outcome::Completed, usage).await
    }

    /// Ends an answer that somebody wants stopped, with the text that came.
    ///
    /// # Errors
    /// When the database stays away.
    pub(crate) async fn cancel(self, asked: Asked) -> Result<(), JobError> {
        let usage = self.estimate(asked);
        self.write_end(End::CANCELLED, Outcome::Cancelled, usage).await
    }

    /// Makes the answer an error, with the text that came.
    ///
    /// # Errors
    /// When the database stays away.
    pub(crate) async fn fail(self, code: &str) -> Result<(), JobError> {
        let usage = self.estimate(Asked::Nobody);
        self.write_end(End::failed(code), Outcome::Failed, usage).await
    }

    async fn write_end(&self, end: End<'_>, outcome: Outcome, usage: Option<Usage>) -> Result<(), JobError> {
        let provider = self
            .voice
            .as_ref()
            .map_or(self.parts.ai.provider(), |voice| voice.provider);
        let model = self.voice.as_ref().map_or(self.parts.ai.model(), |voice| &voice.model);
        let end = End {
            text: Some(&self.text),
            voice: usage.map(|_| (provider, model)),
            usage,
            ttft_ms: self.ttft.map(|ttft| ttft.num_milliseconds()),
            ..end
        };
        let written = self
            .patiently(|| async {
                let now = self.parts.clock.now();
                let mut transaction = self.parts.pool.begin().await?;
                let conversation = self.taken.conversation_id;
                let fence = Some(self.taken.fence);
                let Some(written) = ending::write(&mut transaction, conversation, self.id, fence, &end, now).await?
                else {
                    return Ok(None);
                };
                if outcome == Outcome::Completed {
                    self.ask_for_more(&mut transaction, &written).await?;
                }
                self.record(&mut transaction, outcome, usage, now).await?;
                let ended = [Event::Ended(conversation, self.id)];
                let seq = events::append(&mut transaction, self.taken.user_id, &ended, now).await?;
                transaction.commit().await?;
                Ok(Some(seq))
            })
            .await?;
        self.announce_end(written).await
    }

    /// Queues what a finished answer makes possible: a better title, and a summary of a past that has grown long.
    async fn ask_for_more(&self, connection: &mut PgConnection, written: &WrittenEnd) -> Result<(), StoreError> {
        if written.title_is_cut && self.parts.manner.titles {
            let job = TitleConversation {
                conversation_id: self.taken.conversation_id.0,
            };
            let turn = Turn {
                after: TITLE_PAUSE,
                ..Turn::default()
            };
            cura_queue::enqueue_for(connection, &job, turn)
                .await
                .map_err(queue_error)?;
        }
        if let Some(message) = self.voice.as_ref().and_then(|voice| voice.summarize) {
            let job = SummarizeConversation { message_id: message.0 };
            cura_queue::enqueue(connection, &job).await.map_err(queue_error)?;
        }
        Ok(())
    }

    /// Counts this attempt, if it cost anything.
    async fn record(
        &self,
        connection: &mut PgConnection,
        outcome: Outcome,
        usage: Option<Usage>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(usage) = usage else {
            return Ok(());
        };
        let attempt = Attempt {
            message: self.id,
            user: self.taken.user_id,
            fence: self.taken.fence,
            outcome,
            provider: self
                .voice
                .as_ref()
                .map_or(self.parts.ai.provider(), |voice| voice.provider),
            model: self.voice.as_ref().map_or(self.parts.ai.model(), |voice| &voice.model),
            usage,
        };
        attempts::record(connection, &attempt, now).await
    }

    /// Saves what came and asks for another attempt, which goes on from there.
    pub(crate) async fn try_again(self, after: Option<Duration>, reason: String) -> Result<(), JobError> {
        self.leave(Outcome::Retried).await;
        Err(JobError::Retry { after, reason })
    }

    /// Saves what came and gives the job to another worker, which goes on from there.
    pub(crate) async fn hand_over(self) -> Result<(), JobError> {
        self.leave(Outcome::HandedOver).await;
        Err(JobError::Handover)
    }

    /// Writes down how far this attempt has come and what it cost. If that fails, the next one goes on from what was saved
    /// before, or from what `live` has.
    async fn leave(&self, outcome: Outcome) {
        let left = in_time(async {
            let now = self.parts.clock.now();
            let mut transaction = self.parts.pool.begin().await?;
            let voice = self.voice.as_ref().map(|voice| (voice.provider, voice.model.as_str()));
            if answers::save_progress(&mut transaction, self.id, self.taken.fence, &self.text, voice, now).await? {
                self.record(&mut transaction, outcome, self.estimate(Asked::Nobody), now)
                    .await?;
                transaction.commit().await?;
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = left.await {
            tracing::warn!(message_id = %self.id, %error, "an attempt's last words could not be saved");
        }
    }

    async fn announce_end(&self, written: Option<i64>) -> Result<(), JobError> {
        let Some(seq) = written else {
            tracing::info!(message_id = %self.id, "the end of an old attempt was not written");
            return Ok(());
        };
        // Watchers that miss this find out from Postgres.
        let _ = tokio::join!(
            self.parts.live.end(self.id, self.taken.fence),
            self.parts.live.tell_user(self.taken.user_id, Signal::Logged(seq))
        );
        Ok(())
    }

    async fn patiently<T, F>(&self, write: impl Fn() -> F) -> Result<T, JobError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let give_up = Instant::now() + END_PATIENCE;
        let mut said = false;
        loop {
            match in_time(write()).await {
                Ok(written) => return Ok(written),
                Err(StoreError::Unavailable(error)) if Instant::now() < give_up => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(message_id = %self.id, %error, "the end of an answer cannot be written yet");
                    }
                    tokio::time::sleep(END_PAUSE).await;
                }
                Err(error) => return Err(crate::store_error(error)),
            }
        }
    }

    /// Writes the whole text back to `live`.
    async fn restore(&mut self) -> Result<(), JobError> {
        let restored = self
            .parts
            .live
            .restore(self.id, self.taken.fence, &self.taken.bases, &self.text)
            .await;
        self.live_whole = true;
        self.note(restored)
    }

    fn note(&mut self, written: Result<(), AppendError>) -> Result<(), JobError> {
        match written {
            Ok(()) => Ok(()),
            Err(AppendError::Stale) => Err(superseded()),
            Err(_) => {
                self.live_whole = false;
                Ok(())
            }
        }
    }

    /// What this attempt cost, if it cost anything: the provider has not said.
    fn estimate(&self, asked: Asked) -> Option<Usage> {
        let tokens = |bytes: usize| bytes.div_ceil(BYTES_PER_TOKEN);
        let told = match (&self.voice, asked) {
            (Some(voice), _) => voice.prompt_tokens,
            (None, Asked::Somebody) => 0,
            (None, Asked::Nobody) => return None,
        };
        let written = self.text.len() - self.taken.text.len();
        Some(Usage {
            input_tokens: i64::try_from(told).unwrap_or(i64::MAX),
            output_tokens: i64::try_from(tokens(written)).unwrap_or(i64::MAX),
            estimated: true,
        })
    }
}

/// A newer attempt writes this answer. Its job is that attempt's; ours only ends.
fn superseded() -> JobError {
    JobError::Retry {
        after: None,
        reason: "a newer attempt has the answer".to_owned(),
    }
}
