//! The registry of personal data: every table that holds any. Erasure and export follow it, and a test fails when a
//! migration adds a table that is not listed here.
//!
//! Personal data outside of these tables:
//! - the file store: the bytes of files, of the pictures made of them, of avatars and of archives, under keys that begin with the id of
//!   their person. Each is named by a row of `files`, `file_pictures`, `avatar_pictures` or `export_objects` or, once that is gone, of
//!   `object_deletions`, so that nothing has to be listed to find it;
//! - `apalis.jobs`: ids only. All jobs of a person are cancelled at erasure; completed ones are deleted after a day, discarded ones after
//!   30;
//! - Redis, `cura:answer:*`: texts of running answers. Deleted with their conversation or user, which leaves a mark without
//!   words for half an hour, so that no frozen worker writes them again; a minute after their end; or half an hour after the
//!   last write;
//! - Redis, `cura:user:*`: ids of users who look, and numbers of their connections. They expire half a minute after the
//!   last one has closed; with the ids of answers that have just ended, after five minutes;
//! - Redis, `cura:limit:*`: ids, client addresses and keyed hashes of e-mail addresses. They expire after a minute; those of accounts
//!   whose passwords are guessed (`cura:limit:sign-in:*`), an hour after the last try.

use cura_domain::UserId;
use futures_util::{Stream, TryStreamExt as _};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::StoreError;
use crate::owners::AccountOwner;

/// Reads some lines, so few that this takes less than a deadline even if each is as long as an answer may be.
const FETCH: &str = "FETCH 16 FROM lines";

/// A table with personal data.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The condition for the rows of user `$1`.
    owned: &'static str,
    /// Which rows are deleted next.
    next: Next,
    /// How it is exported.
    pub export: Export,
}

/// Which rows of a table are deleted next. No batch looks at the rows of the batches before or after it: erasing takes as
/// long as there are rows.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// Any.
    Any,
    /// In this order, which an index has: rows that refer to others of the table first.
    By(&'static str),
    /// Those of the rows of a parent table, by an index on this column.
    ChildrenOf {
        /// The table that has `user_id`.
        parent: &'static str,
        /// The column that refers to its `id`.
        column: &'static str,
    },
}

/// How a table is exported to its user.
#[derive(Debug, Clone, Copy)]
pub enum Export {
    /// A file of JSON lines.
    File {
        /// Its name.
        name: &'static str,
        /// Selects the lines of user `$1` in their order.
        sql: &'static str,
    },
    /// Not exported.
    Nothing {
        /// Why.
        reason: &'static str,
    },
}

const TECHNICAL: Export = Export::Nothing {
    reason: "technical: hashes and numbers that say nothing about the person",
};

const UNFINISHED: Export = Export::Nothing {
    reason: "what the person is sending and has not finished: gone after a day, or a line of files.jsonl",
};

/// Every table with personal data, in the order in which a user's rows can be deleted.
pub const TABLES: [Table; 27] = [
    Table {
        name: "tickets",
        owned: "user_id = $1",
        next: Next::Any,
        export: TECHNICAL,
    },
    Table {
        name: "idempotency_keys",
        owned: "user_id = $1",
        next: Next::Any,
        export: TECHNICAL,
    },
    Table {
        name: "resumable_parts",
        owned: "upload_id IN (SELECT id FROM resumable_uploads WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "resumable_uploads", column: "upload_id" },
        export: UNFINISHED,
    },
    Table {
        name: "resumable_uploads",
        owned: "user_id = $1",
        next: Next::Any,
        export: UNFINISHED,
    },
    Table {
        name: "message_files",
        owned: "file_id IN (SELECT id FROM files WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "files", column: "file_id" },
        export: Export::Nothing {
            reason: "part of files.jsonl, and beside it as files",
        },
    },
    Table {
        // As with those of files.
        name: "file_pictures",
        owned: "file_id IN (SELECT id FROM files WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "files", column: "file_id" },
        export: Export::Nothing {
            reason: "made of the files",
        },
    },
    Table {
        name: "file_texts",
        owned: "file_id IN (SELECT id FROM files WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "files", column: "file_id" },
        export: Export::Nothing {
            reason: "made of the files",
        },
    },
    Table {
        // Their objects are listed in `object_deletions` by a trigger.
        name: "files",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "files.jsonl",
            // Without the key of the object.
            sql: "SELECT json_build_object(
                      'id', f.id, 'filename', f.filename, 'file_type', f.file_type, 'size', f.size, 'sha256', encode(f.sha256, 'hex'),
                      'status', f.status, 'reason', f.reason_code, 'signature', f.reason_signature, 'findings', f.findings,
                      'message_ids', (SELECT json_agg(a.message_id ORDER BY a.message_id) FROM message_files a JOIN messages m ON m.id = a.message_id
                                          JOIN conversations c ON c.id = m.conversation_id
                                      WHERE a.file_id = f.id AND c.deleted_at IS NULL),
                      'created_at', f.created_at)::text
                  FROM files f WHERE f.user_id = $1 AND f.status <> 'storing' ORDER BY f.id + 0",
        },
    },
    Table {
        // As with those of files.
        name: "avatar_pictures",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::Nothing {
            reason: "beside the tables, as pictures",
        },
    },
    Table {
        // As with those of files.
        name: "export_objects",
        owned: "export_id IN (SELECT id FROM exports WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "exports", column: "export_id" },
        export: Export::Nothing {
            reason: "an earlier export",
        },
    },
    Table {
        // What the release before has made.
        name: "export_parts",
        owned: "export_id IN (SELECT id FROM exports WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "exports", column: "export_id" },
        export: Export::Nothing {
            reason: "an earlier export",
        },
    },
    Table {
        name: "exports",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::Nothing {
            reason: "an earlier export",
        },
    },
    Table {
        name: "events",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "events.jsonl",
            sql: "SELECT json_build_object('seq', seq, 'kind', kind, 'payload', payload, 'created_at', created_at)::text
                  FROM events WHERE user_id = $1 ORDER BY seq",
        },
    },
    Table {
        name: "event_counters",
        owned: "user_id = $1",
        next: Next::Any,
        export: TECHNICAL,
    },
    Table {
        name: "usage_days",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "usage.jsonl",
            sql: "SELECT json_build_object('day', day, 'model', model, 'messages', messages,
                                           'input_tokens', input_tokens, 'output_tokens', output_tokens)::text
                  FROM usage_days WHERE user_id = $1 ORDER BY day, model",
        },
    },
    Table {
        name: "known_places",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "known_places.jsonl",
            // A hash, because nothing else is stored.
            sql: "SELECT json_build_object('keyed_hash_of_address', encode(place, 'hex'), 'last_used_at', last_used_at)::text
                  FROM known_places WHERE user_id = $1 ORDER BY last_used_at, place",
        },
    },
    Table {
        name: "refresh_tokens",
        owned: "session_id IN (SELECT id FROM sessions WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "sessions", column: "session_id" },
        export: TECHNICAL,
    },
    Table {
        name: "answer_attempts",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::Nothing {
            reason: "technical: what usage.jsonl is the sum of",
        },
    },
    Table {
        name: "model_calls",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::Nothing {
            reason: "technical: what usage.jsonl is the sum of",
        },
    },
    Table {
        name: "summaries",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "summaries.jsonl",
            sql: "SELECT json_build_object(
                      'message_id', s.message_id, 'content', s.content, 'model', s.model, 'created_at', s.created_at)::text
                  FROM summaries s JOIN messages m ON m.id = s.message_id JOIN conversations c ON c.id = m.conversation_id
                  WHERE s.user_id = $1 AND c.deleted_at IS NULL ORDER BY s.message_id",
        },
    },
    Table {
        name: "messages",
        owned: "user_id = $1",
        // An answer refers to its question: the newest first.
        next: Next::By("id + 0 DESC"),
        export: Export::File {
            name: "messages.jsonl",
            sql: "SELECT json_build_object(
                      'id', m.id, 'conversation_id', m.conversation_id, 'parent_id', m.parent_id, 'role', m.role,
                      'content', m.content, 'status', m.status, 'model', m.model, 'provider', m.provider,
                      'finish_reason', m.finish_reason, 'input_tokens', m.input_tokens,
                      'output_tokens', m.output_tokens, 'reasoning_tokens', m.reasoning_tokens, 'error', m.error_code, 'notice', m.notice, 'files', m.files_used,
                      'created_at', m.created_at)::text
                  FROM messages m JOIN conversations c ON c.id = m.conversation_id
                  WHERE m.user_id = $1 AND c.deleted_at IS NULL ORDER BY m.id + 0",
        },
    },
    Table {
        name: "conversations",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "conversations.jsonl",
            sql: "SELECT json_build_object(
                      'id', id, 'title', title, 'status', status, 'muted', muted, 'message_count', message_count,
                      'last_read_message_id', last_read_message_id,
                      'created_at', created_at, 'updated_at', updated_at)::text
                  FROM conversations WHERE user_id = $1 AND deleted_at IS NULL ORDER BY id + 0",
        },
    },
    Table {
        name: "push_sends",
        owned: "push_id IN (SELECT id FROM pushes WHERE user_id = $1)",
        next: Next::ChildrenOf { parent: "pushes", column: "push_id" },
        export: Export::Nothing {
            reason: "part of pushes.jsonl",
        },
    },
    Table {
        name: "pushes",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "pushes.jsonl",
            sql: "SELECT json_build_object(
                      'id', p.id, 'kind', p.kind, 'conversation_id', p.conversation_id, 'message_id', p.message_id,
                      'decision', p.decision, 'quiet_until', p.quiet_until, 'decided_at', p.decided_at,
                      'sends', (SELECT json_agg(json_build_object(
                                    'device_id', s.device_id, 'outcome', s.outcome, 'code', s.code, 'at', s.claimed_at)
                                    ORDER BY s.device_id)
                                FROM push_sends s WHERE s.push_id = p.id))::text
                  FROM pushes p WHERE p.user_id = $1 ORDER BY p.id + 0",
        },
    },
    Table {
        name: "devices",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "devices.jsonl",
            // Without what would let somebody else push to it: of a browser's address only the service.
            sql: "SELECT json_build_object(
                      'id', id, 'platform', platform, 'kind', kind, 'device_name', device_name,
                      'push_service', substring(CASE kind WHEN 'webpush' THEN address END FROM '^https?://([^/:]+)'),
                      'is_active', is_active, 'last_active', last_active, 'created_at', created_at)::text
                  FROM devices WHERE user_id = $1 ORDER BY id + 0",
        },
    },
    Table {
        name: "sessions",
        owned: "user_id = $1",
        next: Next::Any,
        export: Export::File {
            name: "sessions.jsonl",
            sql: "SELECT json_build_object(
                      'id', id, 'device_name', device_name, 'created_at', created_at, 'last_used_at', last_used_at,
                      'expires_at', expires_at, 'ended_at', ended_at)::text
                  FROM sessions WHERE user_id = $1 ORDER BY id + 0",
        },
    },
    Table {
        name: "users",
        owned: "id = $1",
        next: Next::Any,
        export: Export::File {
            name: "profile.jsonl",
            sql: "SELECT json_build_object(
                      'id', id, 'email', email, 'name', name, 'avatar_url', avatar_url, 'preferences', preferences,
                      'timezone', timezone, 'language', language, 'last_seen', last_seen, 'created_at', created_at)::text
                  FROM users WHERE id = $1",
        },
    },
];

/// Tables that hold a person's data until others have done their work: rows go when the file store has deleted the object that they
/// name, and erasing ends when none is left ([`crate::object_deletions`]).
pub const TABLES_WORKED_OFF: [&str; 1] = ["object_deletions"];

/// The tables without personal data. What operators did to somebody names an id at most, which is nobody's once they are erased; so does
/// the list of erasures, by which a restored backup is erased again.
pub const TABLES_WITHOUT_PERSONAL_DATA: [&str; 7] = [
    "_sqlx_migrations",
    "announcements",
    "backups",
    "erasures",
    "operator_actions",
    "paused_queues",
    "switches",
];

impl Table {
    /// Deletes at most `limit` of a user's rows and returns their number; 0 when none is left.
    pub async fn erase(&self, conn: &mut PgConnection, user: UserId, limit: i64) -> Result<u64, StoreError> {
        let Self { name, owned, next, .. } = self;
        let rows = match next {
            Next::Any => format!("SELECT ctid FROM {name} WHERE {owned} LIMIT $2"),
            Next::By(order) => format!("SELECT ctid FROM {name} WHERE {owned} ORDER BY {order} LIMIT $2"),
            Next::ChildrenOf { parent, column } => format!(
                "SELECT child.ctid FROM {parent} parent
                 CROSS JOIN LATERAL (SELECT ctid FROM {name} WHERE {column} = parent.id LIMIT $2) child
                 WHERE parent.user_id = $1 LIMIT $2"
            ),
        };
        // Constants of this file, not input.
        let delete = AssertSqlSafe(format!("DELETE FROM {name} WHERE ctid = ANY(ARRAY({rows}))"));
        let deleted = sqlx::query(delete).bind(user.0).bind(limit).execute(conn).await?;
        Ok(deleted.rows_affected())
    }

    /// The number of rows of a user.
    pub async fn count(&self, conn: &mut PgConnection, user: UserId) -> Result<i64, StoreError> {
        let Self { name, owned, .. } = self;
        // Constants of this file, not input.
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {name} WHERE {owned}"));
        Ok(sqlx::query_scalar(count).bind(user.0).fetch_one(conn).await?)
    }
}

/// Opens the cursor [`FETCH`] reads: the lines of an exported file, produced as they are read. One at a time in a transaction.
pub async fn open_lines(conn: &mut PgConnection, sql: &'static str, owner: &AccountOwner) -> Result<(), StoreError> {
    // A constant of this file, not input.
    let open = AssertSqlSafe(format!("DECLARE lines NO SCROLL CURSOR FOR {sql}"));
    sqlx::query(open).bind(owner.user().0).execute(conn).await?;
    Ok(())
}

/// The next lines of the open file, one by one as Postgres sends them; none after the last.
pub fn next_lines(conn: &mut PgConnection) -> impl Stream<Item = Result<String, StoreError>> + Send {
    sqlx::query_scalar::<_, String>(FETCH)
        .fetch(conn)
        .map_err(StoreError::from)
}

/// Closes the file.
pub async fn close_lines(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("CLOSE lines").execute(conn).await?;
    Ok(())
}
