//! Writes one attempt at an answer: to `live` as it comes, to Postgres every second and at the end.
//!
//! The writer has the whole text, so `live` may lose it at any time: it is written back when `live` answers again. An
//! outage of either never stops a generation; a newer attempt does.

use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::MessageId;
use cura_domain::message::{FinishReason, Usage};
use cura_live::AppendError;
use cura_queue::JobError;
use cura_store::answers::{Finished, TakenAnswer};
use cura_store::{StoreError, answers, conversations, in_time, usage};
use tokio::time::Instant;

use crate::Parts;

/// How long a finished answer waits for a database that is away before it is generated anew.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two tries to write the end.
const END_PAUSE: Duration = Duration::from_millis(500);
/// The longest answer we keep, in bytes: far beyond any model's output limit.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// UTF-8 bytes of a token, roughly, when the provider does not count.
const BYTES_PER_TOKEN: usize = 4;

pub(crate) struct AnswerWriter<'a> {
    parts: &'a Parts,
    id: MessageId,
    taken: &'a TakenAnswer,
    text: String,
    saved: usize,
    ttft: Option<TimeDelta>,
    prompt_bytes: usize,
    /// Who answers, and with which model; until that is known, who is asked first.
    voice: (&'static str, String),
    /// Whether `live` holds everything of `text`.
    live_whole: bool,
}

/// What became of a save.
pub(crate) struct Saved {
    written: Result<bool, StoreError>,
    bytes: usize,
}

impl<'a> AnswerWriter<'a> {
    /// How often the text so far is saved.
    pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(1);

    pub(crate) fn new(parts: &'a Parts, id: MessageId, taken: &'a TakenAnswer, prompt_bytes: usize) -> Self {
        Self {
            parts,
            id,
            taken,
            text: String::new(),
            saved: 0,
            ttft: None,
            prompt_bytes,
            voice: (parts.ai.provider(), parts.ai.model().to_owned()),
            live_whole: false,
        }
    }

    pub(crate) fn id(&self) -> MessageId {
        self.id
    }

    /// Notes who answers, which need not be who was asked first.
    pub(crate) fn spoken_by(&mut self, provider: &'static str, model: String) {
        self.voice = (provider, model);
    }

    /// Tells readers that this attempt begins.
    pub(crate) async fn begin(&mut self) {
        let begun = self
            .parts
            .live
            .begin(self.id, self.taken.fence, &self.taken.bases, "")
            .await;
        self.live_whole = begun.is_ok();
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
        Some(async move {
            let written = in_time(async {
                let mut connection = pool.acquire().await?;
                answers::save_progress(&mut connection, id, fence, &text, now).await
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
    /// When the database stays away; the answer is generated anew then.
    pub(crate) async fn complete(
        self,
        reason: FinishReason,
        usage: Option<Usage>,
        model: Option<String>,
    ) -> Result<(), JobError> {
        let finished = Finished {
            text: &self.text,
            provider: self.voice.0,
            model: model.as_deref().unwrap_or(&self.voice.1),
            reason,
            usage: usage.unwrap_or_else(|| self.estimate()),
            ttft_ms: self.ttft.map(|ttft| ttft.num_milliseconds()),
        };
        let written = self
            .patiently(|| async {
                let now = self.parts.clock.now();
                let mut transaction = self.parts.pool.begin().await?;
                let conversation =
                    answers::complete(&mut transaction, self.id, self.taken.fence, &finished, now).await?;
                if let Some(conversation) = conversation {
                    conversations::touch(&mut transaction, conversation, 0, None, now).await?;
                    // Last, because all answers of a user write the same row.
                    usage::add(
                        &mut transaction,
                        self.taken.user_id,
                        finished.model,
                        &finished.usage,
                        now,
                    )
                    .await?;
                    transaction.commit().await?;
                }
                Ok(conversation.is_some())
            })
            .await?;
        self.announce_end(written).await
    }

    /// Makes the answer an error, with the text that came.
    ///
    /// # Errors
    /// When the database stays away.
    pub(crate) async fn fail(self, code: &str) -> Result<(), JobError> {
        let written = self
            .patiently(|| async {
                let mut connection = self.parts.pool.acquire().await?;
                let now = self.parts.clock.now();
                let failed = answers::fail(
                    &mut connection,
                    self.id,
                    Some(self.taken.fence),
                    code,
                    Some(&self.text),
                    now,
                )
                .await?;
                Ok(failed.is_some())
            })
            .await?;
        self.announce_end(written).await
    }

    async fn announce_end(&self, written: bool) -> Result<(), JobError> {
        if !written {
            tracing::info!(message_id = %self.id, "the end of an old attempt was not written");
            return Ok(());
        }
        // Watchers that miss this find out from Postgres.
        let _ = self.parts.live.end(self.id, self.taken.fence).await;
        Ok(())
    }

    async fn patiently<F>(&self, write: impl Fn() -> F) -> Result<bool, JobError>
    where
        F: Future<Output = Result<bool, StoreError>>,
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

    fn estimate(&self) -> Usage {
        let tokens = |bytes: usize| i64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(i64::MAX);
        Usage {
            input_tokens: tokens(self.prompt_bytes),
            output_tokens: tokens(self.text.len()),
            estimated: true,
        }
    }
}

/// A newer attempt writes this answer. Its job is that attempt's; ours only ends.
fn superseded() -> JobError {
    JobError::Retry {
        after: None,
        reason: "a newer attempt has the answer".to_owned(),
    }
}
