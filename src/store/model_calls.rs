//! What titles and summaries cost their person. A call is reserved before it is made, and settled once: by the run that made
//! it, or, if that was lost, by the next one.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::message::Usage;
use cura_domain::{ModelRef, UserId};
use sqlx::PgConnection;

use crate::owners::ConversationOwner;
use crate::{StoreError, usage};

/// A call that began so long ago was lost: no run of a job takes as long.
pub(crate) const LOST_AFTER: TimeDelta = TimeDelta::minutes(15);

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// A title of a conversation.
    Title,
    /// A summary of a conversation, or of a part.
    Summary,
}

impl CallKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Summary => "summary",
        }
    }
}

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewCall {
    /// What it is for.
    pub kind: CallKind,
    /// Its prompt, as estimated.
    pub prompt_tokens: i64,
    /// The prompt and the longest answer.
    pub reserved_tokens: i64,
}

/// Reserves a call and returns its id. The caller holds the user alone.
pub async fn reserve(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
    call: NewCall,
    now: DateTime<Utc>,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO model_calls (user_id, conversation_id, kind, prompt_tokens, reserved_tokens, begun_at)
           VALUES ($1, $2, $3, $4, $5, $6) RETURNING id"#,
        owner.user().0,
        owner.conversation().0,
        call.kind.as_str(),
        call.prompt_tokens,
        call.reserved_tokens,
        now,
    )
    .fetch_one(conn)
    .await?)
}

/// Records what a call cost, and adds it to the usage of the day; changes nothing when it was settled before.
pub async fn settle(
    conn: &mut PgConnection,
    id: i64,
    model: &ModelRef,
    cost: &Usage,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let user = sqlx::query_scalar!(
        r#"UPDATE model_calls
           SET provider = $2, model = $3, input_tokens = $4, output_tokens = $5, estimated = $6, ended_at = $7
           WHERE id = $1 AND ended_at IS NULL RETURNING user_id"#,
        id,
        model.provider,
        model.model,
        cost.input_tokens,
        cost.output_tokens,
        cost.estimated,
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(user) = user {
        usage::add(conn, UserId(user), &model.model, 0, cost, now).await?;
    }
    Ok(())
}

/// Removes a reserved call that no provider accepted: it cost nothing.
pub async fn cancel(conn: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM model_calls WHERE id = $1 AND ended_at IS NULL", id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Settles calls whose run was lost, at their estimated prompt: earlier ones for the same thing, of which one job at a time
/// makes any, and those that began long ago. The caller holds the user alone. `model` is whom they are billed to.
pub async fn settle_lost(
    conn: &mut PgConnection,
    owner: &ConversationOwner,
    kind: CallKind,
    model: &ModelRef,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let lost = sqlx::query!(
        r#"SELECT id, prompt_tokens FROM model_calls
           WHERE user_id = $1 AND ended_at IS NULL AND ((conversation_id = $2 AND kind = $3) OR begun_at < $4)
           ORDER BY id"#,
        owner.user().0,
        owner.conversation().0,
        kind.as_str(),
        now - LOST_AFTER,
    )
    .fetch_all(&mut *conn)
    .await?;
    for call in lost {
        let cost = Usage {
            input_tokens: call.prompt_tokens,
            output_tokens: 0,
            estimated: true,
        };
        settle(conn, call.id, model, &cost, now).await?;
    }
    Ok(())
}
