//! Answers: from pending to sent or error. An answer is written by at most one attempt at a time: every write carries
//! the fence its attempt received, and a write with an old fence, or to a final answer, changes nothing.

use chrono::{DateTime, Utc};
use cura_domain::answer::{AttemptOffsets, Fence};
use cura_domain::message::{FinishReason, MessageStatus, Usage};
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// An answer that an attempt has just taken.
#[derive(Debug, Clone)]
pub struct TakenAnswer {
    /// Whose answer it is.
    pub user_id: UserId,
    /// Where it is said.
    pub conversation_id: ConversationId,
    /// The question it answers.
    pub question: MessageId,
    /// This attempt's fence.
    pub fence: Fence,
    /// Where each attempt began, this one included.
    pub bases: AttemptOffsets,
    /// What earlier attempts have saved; this one begins at its end.
    pub text: String,
    /// Whether somebody wants it stopped.
    pub cancelled: bool,
    /// When the question was stored.
    pub created_at: DateTime<Utc>,
    /// When the first attempt began.
    pub started_at: DateTime<Utc>,
    /// What the user is called.
    pub name: Option<String>,
    /// The user's IANA time zone.
    pub timezone: String,
    /// The user's language tag.
    pub language: String,
}

/// What came of taking an answer.
#[derive(Debug, Clone)]
pub enum Taken {
    /// It is this attempt's.
    Yes(Box<TakenAnswer>),
    /// Others of its conversation or user come first.
    NotYet,
    /// It is final, deleted, or never was.
    Over,
}

/// Takes a running answer for a new attempt, which goes on where the saved text ends: older attempts can no longer
/// write. Answers of a conversation begin in their order, and of a user at most `most` at a time (0: any number).
///
/// # Errors
/// When Postgres fails.
pub async fn take(conn: &mut PgConnection, id: MessageId, most: u32, now: DateTime<Utc>) -> Result<Taken, StoreError> {
    if let Some(taken) = take_if(conn, id, most, Counted::AllThatAsk, now).await? {
        return Ok(Taken::Yes(taken));
    }
    // Takes of the same instant do not see each other, unless they wait for each other.
    let waits = sqlx::query_scalar!(
        r#"SELECT id FROM messages
           WHERE running AND user_id = (SELECT m.user_id FROM messages m JOIN conversations c ON c.id = m.conversation_id
                                        WHERE m.id = $1 AND m.status = 'sending' AND c.deleted_at IS NULL)
           ORDER BY id + 0 FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    if waits.is_empty() {
        return Ok(Taken::Over);
    }
    let taken = take_if(conn, id, most, Counted::AllThatBegan, now).await?;
    Ok(taken.map_or(Taken::NotYet, Taken::Yes))
}

/// Which answers of a user count against what may be written at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Also those that have not begun: if there is room for all, nobody has to be waited for.
    AllThatAsk,
    /// Those that have begun, which stays true only as long as all of the user's are locked.
    AllThatBegan,
}

async fn take_if(
    conn: &mut PgConnection,
    id: MessageId,
    most: u32,
    counted: Counted,
    now: DateTime<Utc>,
) -> Result<Option<Box<TakenAnswer>>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages m
           SET attempt = attempt + 1, bases = bases || octet_length(content)::bigint, updated_at = $2,
               started_at = COALESCE(started_at, $2)
           FROM conversations c JOIN users u ON u.id = c.user_id
           WHERE m.id = $1 AND m.status = 'sending' AND c.id = m.conversation_id AND c.deleted_at IS NULL
             AND (m.attempt > 0 OR m.cancel_requested_at IS NOT NULL OR (
                 NOT EXISTS (SELECT 1 FROM messages e
                             WHERE e.user_id = m.user_id AND e.conversation_id = m.conversation_id AND e.running
                               AND e.id < m.id)
                 AND ($3 = 0 OR $3 > (SELECT count(*) FROM messages r
                                      WHERE r.user_id = m.user_id AND r.running AND r.id <> m.id
                                        AND (r.attempt > 0 OR $4)))))
           RETURNING m.user_id, m.conversation_id, m.parent_id AS "parent_id!", m.attempt, m.bases, m.content,
                     m.cancel_requested_at IS NOT NULL AS "cancelled!", m.created_at,
                     m.started_at AS "started_at!", u.name, u.timezone, u.language"#,
        id.0,
        now,
        i32::try_from(most).unwrap_or(i32::MAX),
        counted == Counted::AllThatAsk,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        Box::new(TakenAnswer {
            user_id: UserId(row.user_id),
            conversation_id: ConversationId(row.conversation_id),
            question: MessageId(row.parent_id),
            fence: Fence(row.attempt.unsigned_abs()),
            bases: AttemptOffsets(row.bases.into_iter().map(i64::unsigned_abs).collect()),
            text: row.content,
            cancelled: row.cancelled,
            created_at: row.created_at,
            started_at: row.started_at,
            name: row.name,
            timezone: row.timezone,
            language: row.language,
        })
    }))
}

/// Begins this attempt elsewhere than at the end of what was saved: at the end of `text`. `false` when the fence is old.
///
/// # Errors
/// When Postgres fails.
pub async fn rebase(conn: &mut PgConnection, id: MessageId, fence: Fence, text: &str) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"UPDATE messages SET content = $3, bases[$2] = octet_length($3)
           WHERE id = $1 AND attempt = $2 AND status = 'sending'"#,
        id.0,
        i32::from(fence),
        text,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Saves the text so far, who writes it, and how long its first word took, of which the first one ever stays; `false` when
/// the fence is old, or more was saved before: a late save takes nothing back.
///
/// # Errors
/// When Postgres fails.
pub async fn save_progress(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Fence,
    text: &str,
    voice: Option<(&str, &str)>,
    ttft_ms: Option<i64>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"UPDATE messages
           SET content = $3, provider = COALESCE($5, provider), model = COALESCE($6, model),
               ttft_ms = COALESCE(ttft_ms, $7), updated_at = $4
           WHERE id = $1 AND attempt = $2 AND status = 'sending' AND octet_length(content) <= octet_length($3)"#,
        id.0,
        i32::from(fence),
        text,
        now,
        voice.map(|(provider, _)| provider),
        voice.map(|(_, model)| model),
        ttft_ms,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How an answer ends.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// How it is kept: `sent` or `error`.
    pub status: MessageStatus,
    /// Why a sent one ended.
    pub reason: Option<FinishReason>,
    /// Why a failed one failed.
    pub error_code: Option<&'a str>,
    /// The whole text; `None` leaves what was saved.
    pub text: Option<&'a str>,
    /// Who answered, if somebody did: the provider and the model.
    pub voice: Option<(&'a str, &'a str)>,
    /// What the last attempt cost, as far as it is not among the attempts that are over.
    pub usage: Option<Usage>,
    /// From the question stored to the first text, in milliseconds, if no attempt before has saved it.
    pub ttft_ms: Option<i64>,
}

impl<'a> End<'a> {
    /// An answer that somebody stopped; what was saved of it stays.
    pub const CANCELLED: Self = Self {
        status: MessageStatus::Sent,
        reason: Some(FinishReason::Cancelled),
        error_code: None,
        text: None,
        voice: None,
        usage: None,
        ttft_ms: None,
    };

    /// An answer that failed; what was saved of it stays.
    pub const fn failed(code: &'a str) -> Self {
        Self {
            status: MessageStatus::Error,
            reason: None,
            error_code: Some(code),
            ..Self::CANCELLED
        }
    }
}

/// An answer that has just become final.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Whose it is.
    pub user_id: UserId,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// The last attempt.
    pub fence: Fence,
    /// Whether other answers of the user have not begun yet.
    pub others_wait: bool,
}

/// Makes a running answer final; its cost is that of all its attempts. `None` when it was final already, or `fence` is
/// given and old.
///
/// # Errors
/// When Postgres fails.
pub async fn end(
    conn: &mut PgConnection,
    id: MessageId,
    fence: Option<Fence>,
    end: &End<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Ended>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages m
           SET status = $3, finish_reason = $4, error_code = $5, content = COALESCE($6, content),
               provider = COALESCE($7, m.provider), model = COALESCE($8, m.model),
               input_tokens = COALESCE($9 + COALESCE(spent.input, 0), spent.input),
               output_tokens = COALESCE($10 + COALESCE(spent.output, 0), spent.output),
               usage_estimated = COALESCE($11 OR COALESCE(spent.estimated, false), spent.estimated),
               ttft_ms = COALESCE(m.ttft_ms, $12), updated_at = $13,
               latency_ms = (EXTRACT(EPOCH FROM $13::timestamptz - created_at) * 1000)::bigint
           FROM (SELECT sum(input_tokens)::bigint AS input, sum(output_tokens)::bigint AS output,
                        bool_or(estimated) AS estimated
                 FROM answer_attempts WHERE message_id = $1 AND attempt IS DISTINCT FROM $2) spent
           WHERE m.id = $1 AND m.status = 'sending' AND ($2::integer IS NULL OR m.attempt = $2)
           RETURNING m.user_id, m.conversation_id, m.attempt,
                     EXISTS (SELECT 1 FROM messages w WHERE w.user_id = m.user_id AND w.running
                               AND w.attempt = 0 AND w.id <> m.id) AS "others_wait!""#,
        id.0,
        fence.map(i32::from),
        end.status.as_str(),
        end.reason.map(FinishReason::as_str),
        end.error_code,
        end.text,
        end.voice.map(|(provider, _)| provider),
        end.voice.map(|(_, model)| model),
        end.usage.map(|usage| usage.input_tokens),
        end.usage.map(|usage| usage.output_tokens),
        end.usage.map(|usage| usage.estimated),
        end.ttft_ms,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Ended {
        user_id: UserId(row.user_id),
        conversation_id: ConversationId(row.conversation_id),
        fence: Fence(row.attempt.unsigned_abs()),
        others_wait: row.others_wait,
    }))
}

/// An answer whose row is locked until the end of the transaction.
#[derive(Debug, Clone, Copy)]
pub struct LockedAnswer {
    /// How far it has come.
    pub status: MessageStatus,
    /// The attempt that may write; 0 before the first.
    pub fence: Fence,
}

/// Locks an answer of `user`, if there is one, and writes down that it is to be stopped, if it is not final.
///
/// # Errors
/// When Postgres fails.
pub async fn request_cancel(
    conn: &mut PgConnection,
    user: UserId,
    id: MessageId,
    now: DateTime<Utc>,
) -> Result<Option<LockedAnswer>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages m
           SET cancel_requested_at = CASE WHEN m.status = 'sending' THEN COALESCE(m.cancel_requested_at, $3)
                                          ELSE m.cancel_requested_at END
           FROM conversations c
           WHERE m.id = $1 AND m.user_id = $2 AND m.role = 'assistant' AND c.id = m.conversation_id
             AND c.deleted_at IS NULL
           RETURNING m.status, m.attempt"#,
        id.0,
        user.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(LockedAnswer {
            status: MessageStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("message status"))?,
            fence: Fence(row.attempt.unsigned_abs()),
        })
    })
    .transpose()
}

/// The answers of `user` that wait for others of their conversation or user and could begin now, at most 16.
///
/// # Errors
/// When Postgres fails.
pub async fn list_startable(conn: &mut PgConnection, user: UserId) -> Result<Vec<MessageId>, StoreError> {
    let startable = sqlx::query_scalar!(
        r#"SELECT m.id FROM messages m
           WHERE m.user_id = $1 AND m.running AND m.attempt = 0
             AND NOT EXISTS (SELECT 1 FROM messages e
                             WHERE e.user_id = m.user_id AND e.conversation_id = m.conversation_id AND e.running
                               AND e.id < m.id)
           ORDER BY m.id + 0 LIMIT 16"#,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(startable.into_iter().map(MessageId).collect())
}

/// The answers of `user` that are not final.
///
/// # Errors
/// When Postgres fails.
pub async fn list_running(conn: &mut PgConnection, user: UserId) -> Result<Vec<MessageId>, StoreError> {
    let running = sqlx::query_scalar!(
        r#"SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.user_id = $1 AND m.running AND c.deleted_at IS NULL"#,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(running.into_iter().map(MessageId).collect())
}

/// Answers after `after` that nobody has touched since `since` and that are not final, at most 100: their job waits long,
/// died, or was lost with a backup.
///
/// # Errors
/// When Postgres fails.
pub async fn list_untouched(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
    after: MessageId,
) -> Result<Vec<MessageId>, StoreError> {
    let untouched = sqlx::query_scalar!(
        "SELECT id FROM messages WHERE running AND updated_at < $1 AND id > $2 ORDER BY id LIMIT 100",
        since,
        after.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(untouched.into_iter().map(MessageId).collect())
}

/// The answers of `user` that changed after `since`: their texts may still be in `live`.
///
/// # Errors
/// When Postgres fails.
pub async fn list_recent(
    conn: &mut PgConnection,
    user: UserId,
    since: DateTime<Utc>,
) -> Result<Vec<MessageId>, StoreError> {
    let recent = sqlx::query_scalar!(
        "SELECT id FROM messages WHERE user_id = $1 AND role = 'assistant' AND updated_at > $2",
        user.0,
        since,
    )
    .fetch_all(conn)
    .await?;
    Ok(recent.into_iter().map(MessageId).collect())
}

/// The answers of a deleted conversation that changed after `since`: their texts may still be in `live`.
///
/// # Errors
/// When Postgres fails.
pub async fn list_recent_deleted(
    conn: &mut PgConnection,
    id: ConversationId,
    since: DateTime<Utc>,
) -> Result<Vec<MessageId>, StoreError> {
    let recent = sqlx::query_scalar!(
        r#"SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.conversation_id = $1 AND c.deleted_at IS NOT NULL AND m.role = 'assistant' AND m.updated_at > $2"#,
        id.0,
        since,
    )
    .fetch_all(conn)
    .await?;
    Ok(recent.into_iter().map(MessageId).collect())
}

/// Notes that the turn of an answer has come, though it cannot begin yet; gives since when. `None` when it is to be taken,
/// whatever it is: final, gone, to be stopped, or not yet at all.
///
/// # Errors
/// When Postgres fails.
pub async fn turn_came(
    conn: &mut PgConnection,
    id: MessageId,
    most: u32,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let since = sqlx::query_scalar!(
        r#"UPDATE messages m SET started_at = COALESCE(started_at, $2)
           WHERE m.id = $1 AND m.status = 'sending' AND m.cancel_requested_at IS NULL AND (m.started_at IS NOT NULL OR (
               NOT EXISTS (SELECT 1 FROM messages e
                           WHERE e.user_id = m.user_id AND e.conversation_id = m.conversation_id AND e.running
                               AND e.id < m.id)
               AND ($3 = 0 OR $3 > (SELECT count(*) FROM messages r
                                    WHERE r.user_id = m.user_id AND r.running AND r.attempt > 0))))
           RETURNING m.started_at AS "started_at!""#,
        id.0,
        now,
        i32::try_from(most).unwrap_or(i32::MAX),
    )
    .fetch_optional(conn)
    .await?;
    Ok(since)
}

/// Whether the turn of an answer has come, whether it could begin then or not.
///
/// # Errors
/// When Postgres fails.
pub async fn has_had_its_turn(conn: &mut PgConnection, id: MessageId) -> Result<bool, StoreError> {
    let came = sqlx::query_scalar!(
        r#"SELECT started_at IS NOT NULL AS "came!" FROM messages WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(came.unwrap_or(false))
}
