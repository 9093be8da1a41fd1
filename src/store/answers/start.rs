//! Attempts at answers: which answer may start, and what an attempt needs to know.

use chrono::{DateTime, Utc};
use cura_domain::answer::{AttemptOffsets, Fence};
use cura_domain::paid_calls::CallsWithoutText;
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use super::turn::find_turn;
use crate::StoreError;

/// An attempt that has just started, with what it needs to know of its answer and user.
#[derive(Debug, Clone)]
pub struct StartedAttempt {
    /// The user who asked.
    pub user_id: UserId,
    /// The conversation of the answer.
    pub conversation_id: ConversationId,
    /// The question that is answered.
    pub question: MessageId,
    /// This attempt's fence.
    pub fence: Fence,
    /// The offset at which each attempt began, this one included.
    pub attempt_offsets: AttemptOffsets,
    /// The text that earlier attempts saved; this attempt continues at its end.
    pub text: String,
    /// What providers were paid for without bringing the answer further.
    pub calls_without_text: CallsWithoutText,
    /// Whether the answer is to be cancelled.
    pub cancel_requested: bool,
    /// Whether other answers of the user have not started yet.
    pub others_wait: bool,
    /// When the question was stored.
    pub created_at: DateTime<Utc>,
    /// When the answer became eligible to start.
    pub started_at: DateTime<Utc>,
    /// The user's name.
    pub name: Option<String>,
    /// The user's IANA time zone.
    pub timezone: String,
    /// The user's language tag.
    pub language: String,
}

/// The outcome of [`start_attempt`].
#[derive(Debug, Clone)]
pub enum AttemptStart {
    /// The attempt has started.
    Started(Box<StartedAttempt>),
    /// Other answers of the conversation or the user come first.
    Waiting {
        /// When the question was stored.
        since: DateTime<Utc>,
    },
    /// The answer is final or deleted.
    Ended,
}

/// Starts a new attempt at an unfinished answer, at the end of the saved text; older attempts can no longer write.
/// Answers of one conversation start in order, and at most `max_running` of one user run at a time (0: no limit). It is noted when the attempt
/// began and that the instance `worker` makes it.
pub async fn start_attempt(
    conn: &mut PgConnection,
    id: MessageId,
    max_running: u32,
    worker: &str,
    now: DateTime<Utc>,
) -> Result<AttemptStart, StoreError> {
    if let Some(started) = start_if_below(conn, id, (max_running, Counted::Unfinished), worker, now).await? {
        return Ok(AttemptStart::Started(started));
    }
    // Most that come here have to wait, and find out without a lock.
    let Some(turn) = find_turn(conn, id, max_running).await? else {
        return Ok(AttemptStart::Ended);
    };
    let waiting = AttemptStart::Waiting { since: turn.asked_at };
    if !turn.has_come {
        return Ok(waiting);
    }
    // Concurrent starts do not see each other, unless they wait for the same locks.
    let unfinished = sqlx::query_scalar!(
        r#"SELECT id FROM messages
           WHERE running AND user_id = (SELECT m.user_id FROM messages m JOIN conversations c ON c.id = m.conversation_id
                                        WHERE m.id = $1 AND m.status = 'sending' AND c.deleted_at IS NULL)
           ORDER BY id + 0 FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    if unfinished.is_empty() {
        return Ok(AttemptStart::Ended);
    }
    let started = start_if_below(conn, id, (max_running, Counted::Started), worker, now).await?;
    Ok(started.map_or(waiting, AttemptStart::Started))
}

/// Which of the user's answers count against the limit of running ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// All unfinished ones: if the limit holds for all of them, no lock is needed.
    Unfinished,
    /// The started ones. Their number is only reliable while all unfinished answers of the user are locked.
    Started,
}

async fn start_if_below(
    conn: &mut PgConnection,
    id: MessageId,
    (max_running, counted): (u32, Counted),
    worker: &str,
    now: DateTime<Utc>,
) -> Result<Option<Box<StartedAttempt>>, StoreError> {
    let row = sqlx::query!(
        r#"UPDATE messages m
           SET attempt = attempt + 1, attempt_offsets = attempt_offsets || octet_length(content)::bigint, updated_at = $2,
               started_at = COALESCE(started_at, $2), attempt_starts[m.attempt + 1] = $2, attempt_workers[m.attempt + 1] = $5
           FROM conversations c JOIN users u ON u.id = c.user_id
           WHERE m.id = $1 AND m.status = 'sending' AND c.id = m.conversation_id AND c.deleted_at IS NULL
             AND ((m.attempt > 0 AND m.attempt IS DISTINCT FROM m.retried_after) OR m.cancel_requested_at IS NOT NULL OR (
                 NOT EXISTS (SELECT 1 FROM messages e
                             WHERE e.user_id = m.user_id AND e.conversation_id = m.conversation_id AND e.running
                               AND e.id < m.id)
                 AND ($3::bigint = 0 OR $3 > (SELECT count(*) FROM (
                     SELECT 1 FROM messages r WHERE r.user_id = m.user_id AND r.running AND r.id <> m.id
                                                AND ((r.attempt > 0 AND r.attempt IS DISTINCT FROM r.retried_after) OR $4) LIMIT $3) r))))
           RETURNING m.user_id, m.conversation_id, m.parent_id AS "parent_id!", m.attempt, m.attempt_offsets, m.content,
                     m.calls_without_text, m.calls_without_text_at, m.cancel_requested_at IS NOT NULL AS "cancelled!", m.created_at,
                     EXISTS (SELECT 1 FROM messages w WHERE w.user_id = m.user_id AND w.running AND w.attempt = 0
                               AND w.id <> m.id) AS "others_wait!",
                     m.started_at AS "started_at!", u.name, u.timezone, u.language"#,
        id.0,
        now,
        i64::from(max_running),
        counted == Counted::Unfinished,
        worker,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        Box::new(StartedAttempt {
            user_id: UserId(row.user_id),
            conversation_id: ConversationId(row.conversation_id),
            question: MessageId(row.parent_id),
            fence: Fence(row.attempt.unsigned_abs()),
            attempt_offsets: AttemptOffsets(row.attempt_offsets.into_iter().map(i64::unsigned_abs).collect()),
            text: row.content,
            calls_without_text: CallsWithoutText::stored(
                row.calls_without_text_at.unwrap_or_default().unsigned_abs(),
                row.calls_without_text.unwrap_or_default(),
            ),
            cancel_requested: row.cancelled,
            others_wait: row.others_wait,
            created_at: row.created_at,
            started_at: row.started_at,
            name: row.name,
            timezone: row.timezone,
            language: row.language,
        })
    }))
}
