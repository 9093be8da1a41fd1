//! What became of one answer, from the request that asked for it to the moment it was read: without anybody's words.

mod timeline;

use chrono::{DateTime, Utc};
use cura_domain::message::MessageStatus;
use cura_domain::price::Prices;
use cura_domain::{Clock, ConversationId, MessageId, UserId};
use cura_queue::{GenerateAnswer, JobStatus};
use cura_store::{Database, PgConnection, StoreError, answer_traces, pushes, with_deadline};
use serde::Serialize;

use timeline::Known;
pub use timeline::{Forgotten, Step, StepKind};

/// How many answers of one request are explained: a request over HTTP asks for one, a socket under the id of its own for many.
const MAX_ANSWERS_OF_REQUEST: i64 = 5;

/// What became of an answer.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedAnswer {
    /// The answer.
    pub message_id: MessageId,
    /// The message that it answers.
    pub question_id: Option<MessageId>,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Who asked.
    pub user_id: UserId,
    /// Whether it is written, complete, or an error.
    pub status: MessageStatus,
    /// Why it is as long as it is.
    pub finish_reason: Option<String>,
    /// Why it failed, as its person was told.
    pub error_code: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// The trace of that.
    pub trace_id: Option<String>,
    /// Whether its person has read it.
    pub is_read: bool,
    /// Whether its conversation or its person is being deleted.
    pub is_being_deleted: bool,
    /// Its job, if that is not forgotten.
    pub job: Option<JobStatus>,
    /// The attempts at it, in order.
    pub attempts: Vec<ExplainedAttempt>,
    /// The currency of costs; without prices there is none.
    pub currency: Option<String>,
    /// What happened, by time.
    pub steps: Vec<Step>,
    /// What may have happened, and is not kept any more.
    pub forgotten: Vec<Forgotten>,
}

/// One attempt at an answer.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedAttempt {
    /// Its number.
    pub attempt: i32,
    /// The instance of a worker that made it.
    pub worker: Option<String>,
    /// When it began.
    pub began_at: Option<DateTime<Utc>>,
    /// When its first text came.
    pub first_text_at: Option<DateTime<Utc>>,
    /// When it ended, if it cost anything.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended, in one word, if it cost anything.
    pub outcome: Option<String>,
    /// Who was asked last.
    pub provider: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Tokens of prompts.
    pub input_tokens: Option<i64>,
    /// Tokens of the answer.
    pub output_tokens: Option<i64>,
    /// Whether the tokens are an estimate.
    pub estimated: Option<bool>,
    /// What it cost; `None` where the price is not known.
    pub cost: Option<f64>,
    /// Why it was not the last, or which providers failed in it.
    pub note: Option<String>,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Explain {
    database: Database,
    clock: Clock,
    prices: Option<Prices>,
}

impl Explain {
    /// Puts the parts together.
    pub const fn new(database: Database, clock: Clock, prices: Option<Prices>) -> Self {
        Self {
            database,
            clock,
            prices,
        }
    }

    /// What became of an answer, or of the newest answer to a question; `None` when there is no such message: deleted ones leave nothing.
    pub async fn message(&self, id: MessageId) -> Result<Option<ExplainedAnswer>, StoreError> {
        self.database
            .snapshot(async |connection| with_deadline(self.explain(connection, id)).await)
            .await
    }

    /// What became of the newest answers that a request asked for, newest first, and whether there are more; none when it has stored
    /// nothing.
    pub async fn request(&self, request_id: &str) -> Result<(Vec<ExplainedAnswer>, bool), StoreError> {
        let explained = self.database.snapshot(async |connection| {
            with_deadline(async {
                let limit = MAX_ANSWERS_OF_REQUEST;
                let answers = answer_traces::list_of_request(connection, request_id, limit + 1).await?;
                let mut explained = Vec::new();
                for answer in answers.iter().copied().take(usize::try_from(limit).unwrap_or_default()) {
                    explained.extend(self.explain(connection, answer).await?);
                }
                Ok::<_, StoreError>((explained, answers.len() as i64 > limit))
            })
            .await
        });
        explained.await
    }

    async fn explain(
        &self,
        connection: &mut PgConnection,
        id: MessageId,
    ) -> Result<Option<ExplainedAnswer>, StoreError> {
        let Some(answer) = answer_traces::find(connection, id).await? else {
            return Ok(None);
        };
        let push = pushes::find_logged(connection, answer.id).await?;
        let known = Known {
            attempts: answer_traces::list_attempts(connection, answer.id).await?,
            events: answer_traces::list_events(connection, &answer).await?,
            sends: match &push {
                Some(push) => pushes::list_logged_sends(connection, push.push_id).await?,
                None => Vec::new(),
            },
            push,
            job: cura_queue::find_job::<GenerateAnswer>(connection, &answer.id.to_string()).await?,
            answer,
        };
        Ok(Some(known.explain(self.prices.as_ref(), self.clock.now())))
    }
}
