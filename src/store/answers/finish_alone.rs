//! The end of an answer by the attempt that wrote it, with all that follows, in one statement.

use chrono::{DateTime, Utc};
use cura_domain::answer::Fence;
use cura_domain::message::FinishReason;
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use super::finish::FinalAnswer;
use crate::StoreError;
use crate::attempts::Outcome;

/// An end that is written by itself.
#[derive(Debug, Clone, Copy)]
pub struct EndAlone<'a> {
    /// The user who asked.
    pub user: UserId,
    /// The conversation of the answer.
    pub conversation: ConversationId,
    /// The answer.
    pub message: MessageId,
    /// The attempt that wrote it.
    pub fence: Fence,
    /// The end, with the whole text. Its usage is what the attempt cost, and comes with its model.
    pub answer: FinalAnswer<'a>,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The job that does this; it is completed if it still is as it was claimed.
    pub job: ClaimedRow<'a>,
    /// The job that asks for a title, if the present one is an excerpt.
    pub title: Option<&'a NewRow>,
    /// The job that pushes the answer, if there is a device to push it to.
    pub push: Option<&'a NewRow>,
}

/// By what the row of a claimed job is recognised.
#[derive(Debug, Clone, Copy)]
pub struct ClaimedRow<'a> {
    /// The job.
    pub id: &'a str,
    /// Who claimed it.
    pub lock_by: &'a str,
    /// The attempt that it was claimed for.
    pub attempt: u32,
}

/// The row of a new job, as the queue has made it.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// Its id.
    pub id: String,
    /// Its queue.
    pub queue: &'static str,
    /// What it works on.
    pub payload: Vec<u8>,
    /// How often it is tried.
    pub max_attempts: i32,
    /// Not before so many seconds from now.
    pub delay: f64,
    /// Two of a queue with the same key are one.
    pub key: String,
    /// The keys of its metadata, and their values.
    pub metadata: (Vec<&'static str>, Vec<String>),
}

/// What came of an [`EndAlone`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedAlone {
    /// The answer is final, and all that follows is written.
    Ended {
        /// The number of its event.
        seq: i64,
        /// Whether the job is completed; if not, another instance has it, or will.
        acknowledged: bool,
    },
    /// Nothing has ended: other answers of the user wait, and may have to start with this end.
    OthersWait,
    /// Nothing has ended: the answer is final or the fence old, or the user is being erased.
    Superseded,
}

/// Writes an end, and completes the job that does. One statement, which is its own transaction: `conn` is in none. It may be
/// repeated when its outcome is unknown; then an end that was written is `Superseded`.
pub async fn finish_alone(
    conn: &mut PgConnection,
    end: &EndAlone<'_>,
    now: DateTime<Utc>,
) -> Result<EndedAlone, StoreError> {
    let EndAlone {
        answer,
        job,
        title,
        push,
        ..
    } = end;
    let (title_keys, title_values) = metadata(*title);
    let (push_keys, push_values) = metadata(*push);
    let row = sqlx::query!(
        r#"SELECT logged, acknowledged, others_wait
           FROM finish_answer($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                              $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38)"#,
        end.user.0,
        end.conversation.0,
        end.message.0,
        i32::from(end.fence),
        answer.result.status().as_str(),
        answer.result.finish_reason().map(FinishReason::as_str),
        answer.result.error_code(),
        answer.text,
        answer.ttft_ms,
        end.outcome.as_str(),
        end.outcome.answers(),
        answer.model.map(|model| &*model.provider),
        answer.model.map(|model| &*model.model),
        answer.usage.map(|usage| usage.input_tokens),
        answer.usage.map(|usage| usage.output_tokens),
        answer.usage.map(|usage| usage.estimated),
        answer.reasoning_tokens,
        job.id,
        job.lock_by,
        i32::try_from(job.attempt).unwrap_or(i32::MAX),
        title.map(|title| &*title.id),
        title.map(|title| title.queue),
        title.map(|title| &*title.payload),
        title.map(|title| title.max_attempts),
        title.map(|title| title.delay),
        title.map(|title| &*title.key),
        title_keys.as_deref(),
        title_values,
        push.map(|push| &*push.id),
        push.map(|push| push.queue),
        push.map(|push| &*push.payload),
        push.map(|push| push.max_attempts),
        push.map(|push| push.delay),
        push.map(|push| &*push.key),
        push_keys.as_deref(),
        push_values,
        now,
        now.date_naive(),
    )
    .fetch_one(conn)
    .await?;
    Ok(match (row.logged, row.others_wait) {
        (Some(seq), _) => EndedAlone::Ended {
            seq,
            acknowledged: row.acknowledged == Some(true),
        },
        (None, Some(true)) => EndedAlone::OthersWait,
        (None, _) => EndedAlone::Superseded,
    })
}

/// The keys of a new job's metadata, and their values.
fn metadata(job: Option<&NewRow>) -> (Option<Vec<String>>, Option<&[String]>) {
    let keys = job.map(|job| job.metadata.0.iter().map(|key| (*key).to_owned()).collect());
    (keys, job.map(|job| &*job.metadata.1))
}
