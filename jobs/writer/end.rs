//! How an attempt ends: with the answer's end, or by leaving it to another attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::event::Event;
use cura_domain::message::{FinishReason, Usage};
use cura_domain::{ModelRef, tokens};
use cura_live::Signal;
use cura_queue::{EnqueueOptions, JobError, SummarizeConversation, TitleConversation};
use cura_store::answers::End;
use cura_store::attempts::{Attempt, Outcome};
use cura_store::events;
use cura_store::{PgConnection, StoreError, answers, attempts, with_deadline};
use tokio::time::Instant;

use super::AnswerWriter;
use crate::ending::{self, WrittenEnd};

/// How long a finished answer waits for a database that is away before it is generated anew.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two tries to write the end.
const END_PAUSE: Duration = Duration::from_millis(500);
/// How long a better title waits: it must not take the AI service's time from the answers of the first minute.
const TITLE_PAUSE: Duration = Duration::from_secs(3);

impl AnswerWriter<'_> {
    /// Writes the end, in one transaction, then announces it. Waits out a short absence of the database.
    ///
    /// # Errors
    /// When the database stays away; then there is another attempt.
    pub(crate) async fn complete(self, reason: FinishReason, usage: Option<Usage>) -> Result<(), JobError> {
        let usage = usage.or_else(|| self.estimate());
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
    pub(crate) async fn cancel(self) -> Result<(), JobError> {
        let usage = self.estimate();
        self.write_end(End::CANCELLED, Outcome::Cancelled, usage).await
    }

    /// Makes the answer an error, with the text that came.
    ///
    /// # Errors
    /// When the database stays away.
    pub(crate) async fn fail(self, code: &str) -> Result<(), JobError> {
        let usage = self.estimate();
        self.write_end(End::failed(code), Outcome::Failed, usage).await
    }

    async fn write_end(&self, end: End<'_>, outcome: Outcome, usage: Option<Usage>) -> Result<(), JobError> {
        let ModelRef { provider, model } = self.voice_or_first();
        let end = End {
            text: Some(&self.text),
            voice: usage.map(|_| (&*provider, &*model)),
            usage,
            ttft_ms: self.ttft_ms(),
            ..end
        };
        let written = self
            .patiently(|| async {
                let now = self.parts.clock.now();
                let mut transaction = self.parts.database.pool().begin().await?;
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
                let ended = Event::ends(conversation, &[self.id]);
                let seq = events::append(&mut transaction, self.taken.user_id, &ended, now).await?;
                transaction.commit().await?;
                Ok(Some(seq))
            })
            .await?;
        self.announce_end(written).await
    }

    /// Queues what a finished answer makes possible: a better title, and a summary of a past that has grown long.
    async fn ask_for_more(&self, connection: &mut PgConnection, written: &WrittenEnd) -> Result<(), StoreError> {
        if written.title_is_cut && self.parts.assistant.titles {
            let job = TitleConversation {
                conversation_id: self.taken.conversation_id.0,
            };
            let options = EnqueueOptions {
                after: TITLE_PAUSE,
                ..EnqueueOptions::default()
            };
            cura_queue::enqueue_with(connection, &job, options)
                .await
                .map_err(StoreError::from)?;
        }
        if let Some(message) = self.asked.as_ref().and_then(|asked| asked.summarize) {
            let job = SummarizeConversation { message_id: message.0 };
            cura_queue::enqueue(connection, &job).await.map_err(StoreError::from)?;
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
        let ModelRef { provider, model } = self.voice_or_first();
        let attempt = Attempt {
            message: self.id,
            user: self.taken.user_id,
            fence: self.taken.fence,
            outcome,
            provider: &provider,
            model: &model,
            usage,
        };
        attempts::record(connection, &attempt, now).await
    }

    /// Saves what came and asks for another attempt, which goes on from there.
    pub(crate) async fn try_again(self, after: Option<Duration>, reason: String) -> Result<(), JobError> {
        self.leave(Outcome::Retried).await;
        Err(JobError::Retry { after, reason })
    }

    /// Gives the job back until somebody may be asked. If another took the request and failed, that is counted.
    pub(crate) async fn postpone(self, after: Duration, reason: String) -> Result<(), JobError> {
        if self.asked.is_some() {
            self.leave(Outcome::Retried).await;
        }
        Err(JobError::Snooze { after, reason })
    }

    /// Saves what came and gives the job to another worker, which goes on from there.
    pub(crate) async fn hand_over(self) -> Result<(), JobError> {
        self.leave(Outcome::HandedOver).await;
        Err(JobError::Release)
    }

    /// Writes down how far this attempt has come and what it cost. If that fails, the next one goes on from what was saved
    /// before, or from what `live` has.
    async fn leave(&self, outcome: Outcome) {
        let left = with_deadline(async {
            let now = self.parts.clock.now();
            let mut transaction = self.parts.database.pool().begin().await?;
            let voice = self.voice();
            let voice = voice.as_ref().map(|of| (&*of.provider, &*of.model));
            let (fence, ttft_ms) = (self.taken.fence, self.ttft_ms());
            if answers::save_progress(&mut transaction, self.id, fence, &self.text, voice, ttft_ms, now).await? {
                self.record(&mut transaction, outcome, self.estimate(), now).await?;
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
            self.parts.live.publish_to_user(self.taken.user_id, Signal::Logged(seq))
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
            match with_deadline(write()).await {
                Ok(written) => return Ok(written),
                Err(StoreError::Unavailable(error)) if Instant::now() < give_up => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(message_id = %self.id, %error, "the end of an answer cannot be written yet");
                    }
                    tokio::time::sleep(END_PAUSE).await;
                }
                Err(error) => return Err(crate::errors::retry_on_store_error(error)),
            }
        }
    }

    /// Who answers; who is asked first, while nobody does.
    fn voice_or_first(&self) -> ModelRef {
        self.voice().unwrap_or_else(|| self.parts.ai.primary_model().clone())
    }

    /// What this attempt cost, if it cost anything: what the provider stated before it was cut short, else what it was told;
    /// and what it wrote.
    fn estimate(&self) -> Option<Usage> {
        let asked = self.asked.as_ref()?;
        let (told, said) = asked
            .call
            .report()
            .map_or((None, None), |report| (report.input_tokens, report.output_tokens));
        let count = |tokens: usize| i64::try_from(tokens).unwrap_or(i64::MAX);
        let written = tokens::estimate(self.text.len() - self.taken.text.len());
        Some(Usage {
            input_tokens: told.unwrap_or(count(asked.prompt_tokens)),
            // What was stated of it may be of some time ago, or of thoughts that nobody saw.
            output_tokens: said.unwrap_or_default().max(count(written)),
            estimated: true,
        })
    }
}
