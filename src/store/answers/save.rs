//! What attempts save: the text so far, the last of it, and notes for operators. An attempt writes nothing once a newer one has begun, or
//! its answer was retried.

use chrono::{DateTime, Utc};
use cura_domain::answer::{AttemptOffsets, Fence};
use cura_domain::paid_calls::CallsWithoutText;
use cura_domain::{MessageId, ModelRef};
use sqlx::PgConnection;

use crate::StoreError;

/// The longest note about an attempt.
const MAX_NOTE_BYTES: usize = 300;
/// The last attempt that is noted, unless it ends with what it has written: one that waits for a provider begins again and again.
const MAX_NOTED_ATTEMPT: i32 = 100;

/// Replaces the saved text by `text` and lets the attempt that has just started continue at its end; `false` when the fence
/// is old.
pub async fn restart_at(conn: &mut PgConnection, id: MessageId, fence: Fence, text: &str) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"UPDATE messages SET content = $3, attempt_offsets[$2] = octet_length($3)
           WHERE id = $1 AND attempt = $2 AND status = 'sending'"#,
        id.0,
        i32::from(fence),
        text,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the text that the attempt `fence` saved by `text`, which is shorter, and lets the attempt go on at its end under the
/// next fence; readers see that as they see a new attempt. `text` comes with the tokens of the thought that is taken away. May be
/// repeated with the same `now` when its outcome is unknown. The new fence and where each attempt began; `None` when the fence is
/// old.
pub async fn take_back(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Fence,
    (text, thoughts): (&str, i64),
    now: DateTime<Utc>,
) -> Result<Option<(Fence, AttemptOffsets)>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages
           SET content = $3, attempt = $2 + 1, attempt_offsets = attempt_offsets[1:$2] || octet_length($3)::bigint,
               attempt_starts[$2 + 1] = $4, attempt_workers[$2 + 1] = attempt_workers[$2],
               ttft_ms = CASE WHEN $3 = '' THEN NULL ELSE ttft_ms END, updated_at = $4,
               reasoning_tokens = GREATEST(reasoning_tokens, $5)
           WHERE id = $1 AND status = 'sending' AND attempt IS DISTINCT FROM retried_after
             AND (attempt = $2 OR (attempt = $2 + 1 AND content = $3 AND updated_at = $4))
           RETURNING attempt, attempt_offsets"#,
        id.0,
        i32::from(fence),
        text,
        now,
        thoughts,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let offsets = row.attempt_offsets.into_iter().map(i64::unsigned_abs).collect();
        (Fence(row.attempt.unsigned_abs()), AttemptOffsets(offsets))
    }))
}

/// What a checkpoint saves.
#[derive(Debug, Clone, Copy)]
pub struct SavedText<'a> {
    /// The text so far.
    pub text: &'a str,
    /// The model that writes it.
    pub model: Option<&'a ModelRef>,
    /// The milliseconds to the first text; the first value saved stays.
    pub ttft_ms: Option<i64>,
    /// An estimate of the tokens of the thoughts that were taken out of the text; the largest stays until the answer ends.
    pub thoughts: Option<i64>,
}

/// Saves the text so far, and what is known of it. A crash of Postgres may take the last half second of it back: the attempt goes on,
/// and saves more. `false` when the fence is old, or a longer text was saved before: a late checkpoint takes nothing back.
pub async fn checkpoint(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Fence,
    saved: SavedText<'_>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"UPDATE messages
           SET content = $3, provider = COALESCE($5, provider), model = COALESCE($6, model),
               ttft_ms = COALESCE(ttft_ms, $7), updated_at = $4, reasoning_tokens = GREATEST(reasoning_tokens, $8)
           WHERE id = $1 AND attempt = $2 AND status = 'sending' AND attempt IS DISTINCT FROM retried_after
             AND octet_length(content) <= octet_length($3)
             -- For this transaction: a commit that does not wait for the disk.
             AND set_config('synchronous_commit', 'off', true) = 'off'"#,
        id.0,
        i32::from(fence),
        saved.text,
        now,
        saved.model.map(|model| &*model.provider),
        saved.model.map(|model| &*model.model),
        saved.ttft_ms,
        saved.thoughts,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Saves the last text of an attempt that ends before its answer does, the note why, and with `calls` what providers were paid for
/// without bringing the answer further. `false` as of [`checkpoint`].
///
/// One update: after a second one of the same row Postgres would lock the conversation, behind its message.
pub async fn save_at_leave(
    conn: &mut PgConnection,
    (id, fence): (MessageId, Fence),
    saved: SavedText<'_>,
    note: &str,
    calls: Option<&CallsWithoutText>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"UPDATE messages
           SET content = $3, provider = COALESCE($5, provider), model = COALESCE($6, model),
               ttft_ms = COALESCE(ttft_ms, $7), updated_at = $4, reasoning_tokens = GREATEST(reasoning_tokens, $8),
               attempt_notes[$2] = $9, calls_without_text = COALESCE($10, calls_without_text),
               calls_without_text_at = COALESCE($11, calls_without_text_at)
           WHERE id = $1 AND attempt = $2 AND status = 'sending' AND attempt IS DISTINCT FROM retried_after
             AND octet_length(content) <= octet_length($3)"#,
        id.0,
        i32::from(fence),
        saved.text,
        now,
        saved.model.map(|model| &*model.provider),
        saved.model.map(|model| &*model.model),
        saved.ttft_ms,
        saved.thoughts,
        short(note),
        calls.map(CallsWithoutText::of_backends),
        calls.map(|calls| i64::try_from(calls.after_bytes()).unwrap_or(i64::MAX)),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes about an attempt what operators may ask later, in our own words: why it was not the last, or which providers failed in it. At
/// most [`MAX_NOTE_BYTES`] of it are kept, of the first [`MAX_NOTED_ATTEMPT`] attempts. Changes nothing if the fence is old.
pub async fn note_attempt(conn: &mut PgConnection, id: MessageId, fence: Fence, note: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE messages SET attempt_notes[$2] = $3 WHERE id = $1 AND attempt = $2 AND attempt <= $4
           AND status = 'sending' AND attempt IS DISTINCT FROM retried_after",
        id.0,
        i32::from(fence),
        short(note),
        MAX_NOTED_ATTEMPT,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn short(note: &str) -> &str {
    note.get(..note.floor_char_boundary(MAX_NOTE_BYTES)).unwrap_or_default()
}
