//! Taking an answer: its first attempt, with all that its prompt needs, in one statement.

use chrono::{DateTime, Utc};
use cura_domain::answer::{AttemptOffsets, Fence};
use cura_domain::file::MAX_WAIT_FOR_SCANS;
use cura_domain::paid_calls::CallsWithoutText;
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use super::start::StartedAttempt;
use crate::StoreError;
use crate::history::{self, History, Said};
use crate::owners::ConversationOwner;

/// The first attempt at an answer, and what it needs to know.
#[derive(Debug, Clone)]
pub struct TakenAnswer {
    /// The attempt.
    pub attempt: Box<StartedAttempt>,
    /// Whose words they are, when the attempt started.
    pub owner: ConversationOwner,
    /// The question and what was said before it.
    pub history: History,
}

/// Starts the first attempt at an answer whose turn has come, which waits for no scan (or has for [`MAX_WAIT_FOR_SCANS`]), while no other
/// answer of its user waits for a turn, and reads about `bytes` UTF-8 bytes of its history. Counts unfinished answers against `max_running` (0: no limit), which needs no lock, and notes that the instance `worker` makes the attempt. `None`
/// where [`start_attempt`](super::start_attempt) has to find out more; then nothing has changed.
///
/// The rule of turns is that of `find_turn`, the walk that of [`history::load`]. All is read as of one moment. Answers that come before this one in the conversation were final then, so the history is whole.
pub async fn take(
    conn: &mut PgConnection,
    id: MessageId,
    (max_running, worker): (u32, &str),
    bytes: i64,
    now: DateTime<Utc>,
) -> Result<Option<TakenAnswer>, StoreError> {
    let row = sqlx::query!(
        r#"WITH RECURSIVE started AS (
               UPDATE messages m
               SET attempt = 1, attempt_offsets = '{0}', updated_at = $2, started_at = COALESCE(started_at, $2),
                   attempt_starts = ARRAY[$2], attempt_workers = ARRAY[$7]
               FROM conversations c JOIN users u ON u.id = c.user_id
               WHERE m.id = $1 AND m.status = 'sending' AND m.attempt = 0 AND m.content = '' AND m.cancel_requested_at IS NULL
                 AND c.id = m.conversation_id AND c.deleted_at IS NULL AND u.erased_at IS NULL
                 AND (m.created_at < $6 OR (SELECT count(*) FROM message_files a JOIN files f ON f.id = a.file_id
                                            WHERE a.message_id = m.parent_id AND f.status = 'scanning') = 0)
                 AND NOT EXISTS (SELECT 1 FROM messages w WHERE w.user_id = m.user_id AND w.running AND w.id <> m.id
                                   AND (w.attempt = 0 OR (w.conversation_id = m.conversation_id AND w.id < m.id)))
                 AND ($3::bigint = 0 OR $3 > (SELECT count(*) FROM (
                     SELECT 1 FROM messages r WHERE r.user_id = m.user_id AND r.running AND r.id <> m.id LIMIT $3) r))
               RETURNING m.user_id, m.conversation_id, m.parent_id, m.calls_without_text, m.calls_without_text_at, m.created_at,
                         m.started_at, u.name, u.timezone, u.language
           ), past AS (
               SELECT m.id, m.conversation_id, m.parent_id, m.role, m.content, m.status, 1 AS depth,
                      octet_length(m.content)::bigint AS bytes, NULL::text AS summary
               FROM started a JOIN messages m ON m.id = a.parent_id AND m.conversation_id = a.conversation_id
               UNION ALL
               SELECT m.id, m.conversation_id, m.parent_id, m.role, m.content, m.status, p.depth + 1,
                      p.bytes + octet_length(m.content), s.content
               FROM past p JOIN messages m ON m.id = p.parent_id AND m.conversation_id = p.conversation_id
                    LEFT JOIN summaries s ON s.message_id = m.id
               WHERE p.summary IS NULL AND p.depth < $4 AND p.bytes < $5
           )
           SELECT s.user_id AS "user_id!", s.conversation_id AS "conversation_id!", s.parent_id AS "parent_id!",
                  s.calls_without_text, s.calls_without_text_at, s.created_at AS "created_at!", s.started_at AS "started_at!",
                  s.name, s.timezone AS "timezone!", s.language AS "language!", said.ids AS "ids!", said.roles AS "roles!",
                  said.contents AS "contents!", said.summaries AS "summaries!: Vec<Option<String>>", said.files AS "files!: Vec<Option<serde_json::Value>>"
           FROM started s CROSS JOIN LATERAL (
               SELECT COALESCE(array_agg(p.id ORDER BY p.depth), '{}') AS ids,
                      COALESCE(array_agg(p.role ORDER BY p.depth), '{}') AS roles,
                      COALESCE(array_agg(p.content ORDER BY p.depth), '{}') AS contents,
                      COALESCE(array_agg(p.summary ORDER BY p.depth), '{}') AS summaries,
                      COALESCE(array_agg((
                          SELECT jsonb_agg(jsonb_build_object('id', f.id, 'name', f.filename, 'type', f.file_type, 'status', f.status)
                                           ORDER BY a.position)
                          FROM message_files a JOIN files f ON f.id = a.file_id
                          WHERE a.message_id = p.id AND f.user_id = s.user_id) ORDER BY p.depth), '{}') AS files
               FROM past p WHERE p.summary IS NOT NULL OR (p.status = 'sent' AND (p.content <> '' OR p.role = 'user'))) said"#,
        id.0,
        now,
        i64::from(max_running),
        history::MAX_MESSAGES,
        bytes,
        now - MAX_WAIT_FOR_SCANS,
        worker,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let messages = row.ids.into_iter().zip(row.roles).zip(row.contents);
    let rows = messages.zip(row.summaries).zip(row.files);
    let history = history::collect(rows.map(|((((id, role), content), summary), files)| Said {
        id,
        role,
        content,
        summary,
        files,
    }))?;
    let (user, conversation) = (UserId(row.user_id), ConversationId(row.conversation_id));
    Ok(Some(TakenAnswer {
        owner: ConversationOwner::read(user, conversation),
        history,
        attempt: Box::new(StartedAttempt {
            user_id: user,
            conversation_id: conversation,
            question: MessageId(row.parent_id),
            fence: Fence::FIRST,
            attempt_offsets: AttemptOffsets(vec![0]),
            text: String::new(),
            calls_without_text: CallsWithoutText::stored(
                row.calls_without_text_at.unwrap_or_default().unsigned_abs(),
                row.calls_without_text.unwrap_or_default(),
            ),
            cancel_requested: false,
            others_wait: false,
            created_at: row.created_at,
            started_at: row.started_at,
            name: row.name,
            timezone: row.timezone,
            language: row.language,
        }),
    }))
}
