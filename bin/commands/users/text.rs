//! What people read of users.

use cura_app::operate::users::{Changed, KnownUser, Leftovers, ShownUser, SignedOut, Suspended};

use crate::commands::text::{fields, or_dash, table, time};

pub(super) fn list(users: &[KnownUser]) -> String {
    let rows: Vec<[String; 6]> = users
        .iter()
        .map(|user| {
            [
                user.id.to_string(),
                or_dash(user.email.as_ref()),
                or_dash(user.name.as_ref()),
                standing(user),
                time(user.created_at),
                or_dash(user.last_seen.map(time)),
            ]
        })
        .collect();
    table(["ID", "E-MAIL", "NAME", "STANDING", "CREATED", "LAST SEEN"], &rows)
}

fn standing(user: &KnownUser) -> String {
    let of = [
        user.is_admin.then(|| "admin".to_owned()),
        user.suspended_at
            .map(|since| format!("suspended since {}", time(since))),
        user.erasing_since
            .map(|since| format!("being erased since {}", time(since))),
    ];
    let words: Vec<String> = of.into_iter().flatten().collect();
    if words.is_empty() {
        "–".to_owned()
    } else {
        words.join(", ")
    }
}

pub(super) fn details(shown: &ShownUser) -> String {
    let user = &shown.user;
    let count = |count: i64| {
        let more = if count >= shown.counted_to { " or more" } else { "" };
        format!("{count}{more}")
    };
    let (today, month) = (shown.usage.today, shown.usage.last_30_days);
    let limit = |limit: Option<String>| limit.map_or_else(|| ", no limit".to_owned(), |limit| format!(" of {limit}"));
    let jobs = shown.running.jobs.iter().map(|jobs| {
        let (queue, running, pending) = (&jobs.queue, jobs.running, jobs.pending);
        format!("{queue} ({running} running, {pending} pending)")
    });
    let jobs: Vec<String> = jobs.collect();
    let mut text = fields(&[
        ("user", user.id.to_string()),
        ("e-mail", or_dash(user.email.as_ref())),
        ("name", or_dash(user.name.as_ref())),
        ("standing", standing(user)),
        ("created", time(user.created_at)),
        ("last seen", or_dash(user.last_seen.map(time))),
        ("conversations", count(shown.counts.conversations)),
        ("messages", count(shown.counts.messages)),
        ("files", count(shown.counts.files)),
        (
            "storage",
            format!(
                "{} bytes{}",
                shown.storage.bytes,
                limit(shown.storage.quota.map(|quota| quota.to_string()))
            ),
        ),
        (
            "today",
            format!(
                "{} answers, {} tokens in, {} out, {} reserved{}",
                today.messages,
                today.input_tokens,
                today.output_tokens,
                shown.usage.reserved_tokens,
                limit(shown.usage.daily_tokens.map(|tokens| tokens.to_string())),
            ),
        ),
        (
            "30 days",
            format!(
                "{} answers, {} tokens in, {} out",
                month.messages, month.input_tokens, month.output_tokens
            ),
        ),
        (
            "jobs",
            if jobs.is_empty() {
                "–".to_owned()
            } else {
                jobs.join(", ")
            },
        ),
    ]);
    section(&mut text, "sessions", &sessions(shown), shown.sessions.is_empty());
    section(&mut text, "devices", &devices(shown), shown.devices.is_empty());
    section(&mut text, "answers", &answers(shown), shown.running.answers.is_empty());
    text
}

fn section(text: &mut String, name: &str, rows: &str, is_empty: bool) {
    if !is_empty {
        text.push('\n');
        text.push_str(name);
        text.push('\n');
        text.push_str(rows);
    }
}

fn sessions(shown: &ShownUser) -> String {
    let rows: Vec<[String; 4]> = shown
        .sessions
        .iter()
        .map(|session| {
            [
                session.id.to_string(),
                time(session.created_at),
                time(session.last_used_at),
                time(session.expires_at),
            ]
        })
        .collect();
    table(["ID", "SIGNED IN", "LAST USED", "EXPIRES"], &rows)
}

fn devices(shown: &ShownUser) -> String {
    let rows: Vec<[String; 5]> = shown
        .devices
        .iter()
        .map(|device| {
            [
                device.id.to_string(),
                device.platform.as_str().to_owned(),
                device.kind.as_str().to_owned(),
                if device.is_active { "active" } else { "inactive" }.to_owned(),
                time(device.last_active),
            ]
        })
        .collect();
    table(["ID", "PLATFORM", "KIND", "STATE", "LAST ACTIVE"], &rows)
}

fn answers(shown: &ShownUser) -> String {
    let rows: Vec<[String; 4]> = shown
        .running
        .answers
        .iter()
        .map(|answer| {
            let state = if answer.attempt == 0 {
                "waits".to_owned()
            } else {
                format!("attempt {}", answer.attempt)
            };
            [
                answer.message_id.to_string(),
                answer.conversation_id.to_string(),
                state,
                time(answer.created_at),
            ]
        })
        .collect();
    table(["MESSAGE", "CONVERSATION", "STATE", "ASKED"], &rows)
}

pub(super) fn changed(changed: &Changed, now: &str, already: &str) -> String {
    format!("user {} is {}", changed.id, if changed.changed { now } else { already })
}

pub(super) fn suspended(suspended: &Suspended) -> String {
    let (id, answers) = (suspended.id, suspended.answers_cancelled);
    let state = if suspended.changed {
        "suspended"
    } else {
        "suspended already"
    };
    format!("user {id} is {state}; {answers} unfinished answers were cancelled")
}

pub(super) fn signed_out(signed_out: &SignedOut) -> String {
    format!(
        "user {} is signed out; {} sessions ended",
        signed_out.id, signed_out.sessions_ended
    )
}

pub(super) fn leftovers(left: &Leftovers) -> String {
    let id = left.id;
    let mut lines = Vec::new();
    for table in &left.tables {
        lines.push(format!("{}: {} rows", table.table, table.rows));
    }
    if left.objects_to_delete > 0 {
        lines.push(format!(
            "file store: {} objects are still to be deleted",
            left.objects_to_delete
        ));
    }
    if let Some(files) = left.files_in_folder.filter(|files| *files > 0) {
        lines.push(format!("file store: {files} files in the folder of the user"));
    }
    for jobs in &left.jobs {
        lines.push(format!("jobs: {} of {}", jobs.running + jobs.pending, jobs.queue));
    }
    if let Some(redis) = &left.redis {
        if redis.keys > 0 {
            let expire = redis.keys_expire_within.map_or_else(
                || "which stay".to_owned(),
                |within| format!("which expire within {within} s"),
            );
            lines.push(format!("Redis: {} keys, {expire}", redis.keys));
        }
        if redis.texts_without_message > 0 {
            lines.push(format!(
                "Redis: {} texts of answers that do not exist any more, whoever's they were",
                redis.texts_without_message
            ));
        }
    }
    for unchecked in &left.unchecked {
        lines.push(format!("{unchecked}: not looked at"));
    }
    if left.is_erased {
        lines.insert(0, format!("nothing is left of user {id}"));
    }
    lines.join("\n")
}
