//! Writes one attempt at an answer: to `live` as it comes, to Postgres every second and at the end.
//!
//! The writer has the whole text, so `live` may lose it at any time: it is written back when `live` answers again. An
//! outage of either never stops a generation; a newer attempt does.

mod end;

use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::answer::MAX_ANSWER_BYTES;
use cura_domain::{MessageId, ModelRef};
use cura_live::AppendError;
use cura_providers::ai::{Call, RequestKey};
use cura_queue::JobError;
use cura_store::answers::TakenAnswer;
use cura_store::{StoreError, answers, with_deadline};

use crate::context::JobContext;

pub(crate) struct AnswerWriter<'a> {
    parts: &'a JobContext,
    id: MessageId,
    taken: &'a TakenAnswer,
    text: String,
    saved: usize,
    /// From the question stored to this attempt's first text.
    ttft: Option<TimeDelta>,
    /// What is asked, once it is; until the provider fails without having accepted it.
    asked: Option<Asked>,
    /// Whether `live` holds everything of `text`.
    live_whole: bool,
}

/// What is asked.
struct Asked {
    call: Call,
    prompt_tokens: usize,
    /// Up to where the past should be put in short.
    summarize: Option<MessageId>,
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
    pub(crate) fn new(parts: &'a JobContext, id: MessageId, taken: &'a TakenAnswer) -> Self {
        Self {
            parts,
            id,
            taken,
            text: taken.text.clone(),
            saved: taken.text.len(),
            ttft: None,
            asked: None,
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

    /// Tells readers that this attempt begins.
    pub(crate) async fn begin(&mut self) {
        let begun = self
            .parts
            .live
            .begin(self.id, self.taken.fence, &self.taken.bases, &self.text)
            .await;
        self.live_whole = begun.is_ok();
    }

    /// The call that is about to be made, with a prompt of so many tokens: from now on the attempt has a cost, whoever ends
    /// it.
    pub(crate) fn ask(&mut self, prompt_tokens: usize, summarize: Option<MessageId>) -> Call {
        let call = Call::new(RequestKey::Answer(self.id));
        self.asked = Some(Asked {
            call: call.clone(),
            prompt_tokens,
            summarize,
        });
        call
    }

    /// Notes that the provider failed: who did not even accept the request charges nothing for it.
    pub(crate) fn failed(&mut self) {
        self.asked.take_if(|asked| asked.call.report().is_none());
    }

    /// The backend that accepted the request, if one has.
    fn voice(&self) -> Option<ModelRef> {
        Some(self.asked.as_ref()?.call.report()?.model)
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// When a newer attempt has begun, or the answer grows out of bounds.
    pub(crate) async fn append(&mut self, piece: &str) -> Result<(), JobError> {
        if self.text.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(JobError::Discard {
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
        let (pool, now) = (self.parts.database.pool().clone(), self.parts.clock.now());
        let (id, fence, text) = (self.id, self.taken.fence, self.text.clone());
        let voice = self.voice();
        let ttft_ms = self.ttft_ms();
        Some(async move {
            let written = with_deadline(async {
                let mut connection = pool.acquire().await?;
                let voice = voice.as_ref().map(|of| (&*of.provider, &*of.model));
                answers::save_progress(&mut connection, id, fence, &text, voice, ttft_ms, now).await
            });
            Saved {
                written: written.await,
                bytes: text.len(),
            }
        })
    }

    fn ttft_ms(&self) -> Option<i64> {
        self.ttft.map(|ttft| ttft.num_milliseconds())
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
}

/// A newer attempt writes this answer. Its job is that attempt's; ours only ends.
fn superseded() -> JobError {
    JobError::Retry {
        after: None,
        reason: "a newer attempt has the answer".to_owned(),
    }
}
