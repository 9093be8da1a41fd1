//! The event log of a user: events in commit order, numbered without gaps. Events hold ids; the rows behind them are read
//! when the events are reported.

use chrono::{DateTime, Utc};
use cura_domain::event::{Event, Logged};
use cura_domain::export::ReadyExport;
use cura_domain::{ConversationId, FileId, MessageId, UserId};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::StoreError;

/// The status in the payload of an export event; there is no other.
const EXPORT_READY: &str = "ready";
/// The most events that are looked at to find an end whose number is not known.
const MAX_SEARCHED_EVENTS: i64 = 1000;

/// Appends events in the transaction that makes them true, and returns the number of the last one. Other transactions of
/// the same user wait here until this one ends, so it must be the last statement of a transaction. An answer whose end is
/// among the events is given the number of that event; the transaction has its row locked since it made the answer final.
/// `log_events` (migration 0026) does the same within the functions of requests and ends.
pub async fn append(
    conn: &mut PgConnection,
    user: UserId,
    events: &[Event],
    now: DateTime<Utc>,
) -> Result<i64, StoreError> {
    let kinds: Vec<String> = events.iter().map(|event| kind(event).to_owned()).collect();
    let payloads: Vec<Value> = events.iter().map(payload).collect();
    Ok(sqlx::query_scalar!(
        r#"WITH last AS (
               INSERT INTO event_counters AS c (user_id, seq) VALUES ($1, cardinality($2::text[]))
               ON CONFLICT (user_id) DO UPDATE SET seq = c.seq + cardinality($2::text[])
               RETURNING seq
           ), logged AS (
               INSERT INTO events (user_id, seq, kind, payload, created_at)
               SELECT $1, last.seq - cardinality($2::text[]) + new.number, new.kind, new.payload, $4
               FROM last, unnest($2::text[], $3::jsonb[]) WITH ORDINALITY AS new (kind, payload, number)
           ), ended AS (
               UPDATE messages m SET end_seq = last.seq - cardinality($2::text[]) + new.number
               FROM last, unnest($2::text[], $3::jsonb[]) WITH ORDINALITY AS new (kind, payload, number)
               WHERE new.kind = 'ended' AND m.id = (new.payload ->> 'message_id')::bigint
           )
           SELECT seq FROM last"#,
        user.0,
        &kinds,
        &payloads,
        now,
    )
    .fetch_one(conn)
    .await?)
}

/// The events of `user` after number `seq`, in order, at most `limit`.
pub async fn list_after(
    conn: &mut PgConnection,
    user: UserId,
    seq: i64,
    limit: i64,
) -> Result<Vec<Logged>, StoreError> {
    let rows = sqlx::query!(
        "SELECT seq, kind, payload FROM events WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        user.0,
        seq,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Logged {
            seq: row.seq,
            event: read(&row.kind, &row.payload),
        })
        .collect())
}

/// The end of a log at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogHead {
    /// The number of the last event; 0 before the first.
    pub seq: i64,
    /// The answers that are not final, by id.
    pub running: Vec<MessageId>,
}

/// The number of the last event of `user`, and the answers that are not final at that moment, of one conversation or all.
pub async fn head(
    conn: &mut PgConnection,
    user: UserId,
    conversation: Option<ConversationId>,
) -> Result<LogHead, StoreError> {
    let row = sqlx::query!(
        r#"SELECT COALESCE((SELECT seq FROM event_counters WHERE user_id = $1), 0) AS "seq!",
                  ARRAY(SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
                        WHERE m.user_id = $1 AND m.running AND c.deleted_at IS NULL
                          AND ($2::bigint IS NULL OR m.conversation_id = $2)
                        ORDER BY m.id + 0) AS "running!""#,
        user.0,
        conversation.map(|conversation| conversation.0),
    )
    .fetch_one(conn)
    .await?;
    Ok(LogHead {
        seq: row.seq,
        running: row.running.into_iter().map(MessageId).collect(),
    })
}

/// The number of the last event of each of these users; users without events are left out.
pub async fn list_last(conn: &mut PgConnection, users: &[UserId]) -> Result<Vec<(UserId, i64)>, StoreError> {
    let ids: Vec<i64> = users.iter().map(|user| user.0).collect();
    let rows = sqlx::query!("SELECT user_id, seq FROM event_counters WHERE user_id = ANY($1)", &ids)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (UserId(row.user_id), row.seq)).collect())
}

/// Whether the log reports the end of an answer of `user` after number `seq`. The answer's row has the number. For those that
/// became final under an earlier release, the next events after `seq` are looked at, 1,000 at most.
pub async fn has_end_after(
    conn: &mut PgConnection,
    user: UserId,
    message: MessageId,
    seq: i64,
) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        "SELECT end_seq FROM messages WHERE id = $1 AND user_id = $2",
        message.0,
        user.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    match row {
        None => Ok(false),
        Some(row) if row.end_seq.is_some() => Ok(row.end_seq > Some(seq)),
        Some(_) => {
            let next = list_after(conn, user, seq, MAX_SEARCHED_EVENTS).await?;
            Ok(next
                .iter()
                .any(|logged| matches!(logged.event, Event::Ended(_, ended) if ended == message)))
        }
    }
}

const fn kind(event: &Event) -> &'static str {
    match event {
        Event::Message(..) => "message",
        Event::Ended(..) => "ended",
        Event::Conversation(..) => "conversation",
        Event::Read(..) => "read",
        Event::Export(_) => "export",
        Event::Push(_) => "push",
        Event::Upload(_) => "upload",
        Event::Unknown => "unknown",
    }
}

fn payload(event: &Event) -> Value {
    match event {
        Event::Message(conversation, message)
        | Event::Ended(conversation, message)
        | Event::Read(conversation, message) => {
            json!({ "conversation_id": conversation.0, "message_id": message.0 })
        }
        Event::Conversation(conversation) => json!({ "conversation_id": conversation.0 }),
        Event::Export(ready) => {
            json!({ "status": EXPORT_READY, "size": ready.size, "expires_at": ready.expires_at })
        }
        Event::Push(tested) => json!(tested),
        Event::Upload(file) => json!({ "file_id": file.0 }),
        Event::Unknown => Value::Null,
    }
}

fn read(kind: &str, payload: &Value) -> Event {
    let conversation = payload["conversation_id"].as_i64().map(ConversationId);
    let message = payload["message_id"].as_i64().map(MessageId);
    match (kind, conversation, message) {
        ("message", Some(conversation), Some(message)) => Event::Message(conversation, message),
        ("ended", Some(conversation), Some(message)) => Event::Ended(conversation, message),
        ("conversation", Some(conversation), _) => Event::Conversation(conversation),
        ("read", Some(conversation), Some(message)) => Event::Read(conversation, message),
        ("export", ..) => read_export(payload).map_or(Event::Unknown, Event::Export),
        ("upload", ..) => payload["file_id"]
            .as_i64()
            .map_or(Event::Unknown, |id| Event::Upload(FileId(id))),
        ("push", ..) => serde_json::from_value(payload.clone()).map_or(Event::Unknown, Event::Push),
        _ => Event::Unknown,
    }
}

fn read_export(payload: &Value) -> Option<ReadyExport> {
    let expires_at = payload["expires_at"].as_str()?.parse().ok()?;
    Some(ReadyExport {
        size: payload["size"].as_i64()?,
        expires_at,
    })
}
