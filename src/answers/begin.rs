//! Begins an attempt: at the offset that readers have seen, or at 0 if the provider cannot continue a text.

use cura_domain::MessageId;
use cura_domain::answer::{AttemptOffsets, Fence};
use cura_store::answers::{AttemptStart, TakenAnswer};
use cura_store::{PgConnection, StoreError, answers, attempts, conversations, usage};

use crate::follow_ups::make_waiting_answers_ready;
use crate::{Answers, shown_text};

/// How an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginOptions<'a> {
    /// How many answers of one user may run at a time; 0 is no limit.
    pub max_running: u32,
    /// Whether the provider can continue a text.
    pub can_continue: bool,
    /// The instance that makes the attempt.
    pub worker: &'a str,
}

impl Answers {
    /// Begins the first attempt at an answer, in one statement, with about `history_bytes` of what its prompt needs. `None` when
    /// this is no first attempt, the answer's turn has not come, or another one waits for its turn: [`Self::begin`] finds out.
    ///
    /// # Errors
    /// [`StoreError`]; the attempt may have begun all the same, and then the next one is a later one.
    pub async fn take(
        &self,
        id: MessageId,
        options: BeginOptions<'_>,
        history_bytes: i64,
    ) -> Result<Option<TakenAnswer>, StoreError> {
        let now = self.0.clock.now();
        let database = &self.0.database;
        database
            .connection(async |connection| {
                let how = (options.max_running, options.worker);
                answers::take(connection, id, how, history_bytes, now).await
            })
            .await
    }

    /// Begins an attempt at an answer in the caller's transaction: the new fence, the offset at which the attempt begins and
    /// the cost of the attempt before become visible together.
    ///
    /// After a crash the text that readers were shown, which may be longer than the saved one, is where the attempt begins.
    pub async fn begin(
        &self,
        transaction: &mut PgConnection,
        id: MessageId,
        options: BeginOptions<'_>,
    ) -> Result<AttemptStart, StoreError> {
        let now = self.0.clock.now();
        // Before the message, in the order of locks: where its row is updated twice, Postgres locks the conversation by itself.
        conversations::hold_of_message(transaction, id).await?;
        let start = answers::start_attempt(transaction, id, options.max_running, options.worker, now).await?;
        let AttemptStart::Started(mut attempt) = start else {
            return Ok(start);
        };
        // Ends that commit at once see no more than their own, and make the same answer ready: it makes the next one so.
        if attempt.others_wait {
            make_waiting_answers_ready(transaction, attempt.user_id, options.max_running).await?;
        }
        if attempt.fence == Fence::FIRST {
            return Ok(AttemptStart::Started(attempt));
        }
        let saved = std::mem::take(&mut attempt.text);
        let before = AttemptOffsets(attempt.attempt_offsets.0.iter().rev().skip(1).rev().copied().collect());
        let mut text = shown_text::shown_before(&self.0.live, id, &before, &saved).await;
        let before = Fence(attempt.fence.0 - 1);
        // Counted here because the new fence keeps that attempt from counting itself.
        let lost = attempts::record_lost(transaction, id, before, text.len(), &self.0.default_model, now).await?;
        if !attempt.cancel_requested && (!options.can_continue || text.trim().is_empty()) {
            text.clear();
        }
        if text != saved {
            answers::restart_at(transaction, id, attempt.fence, &text).await?;
            if let Some(start) = attempt.attempt_offsets.0.last_mut() {
                *start = text.len() as u64;
            }
        }
        attempt.text = text;
        if let Some(lost) = lost {
            usage::add(transaction, lost.user, &lost.model, 0, &lost.usage, now).await?;
        }
        Ok(AttemptStart::Started(attempt))
    }
}
