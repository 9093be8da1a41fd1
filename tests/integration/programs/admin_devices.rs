//! `cura-admin devices`: what an operator sees of devices, why a phone rang or stayed silent, and pruning at once.

use std::process::Output;
use std::time::{Duration, Instant};

use cura_tests::{Cura, FcmServer, TestDatabase, eventually};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::admin::{admin, text};

/// What no output may hold.
const SECRETS: [&str; 6] = ["secret", "wpush", "ada@", "bob@", "hunter2", "magnesium"];

/// Ada (1) has a phone and a browser, Bob (2) has a phone that was not seen for long, one that is gone, one of another
/// sender, and one that nobody uses any more.
async fn with_devices() -> TestDatabase {
    let database = TestDatabase::create().await;
    for fill in [
        // The tests' template may have been made a moment ago.
        "UPDATE _sqlx_migrations SET installed_on = now() - interval '100 days' WHERE version = 44",
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         VALUES ('ada@example.com', 'x', now(), now()), ('bob@example.com', 'x', now(), now())",
        "INSERT INTO sessions (user_id, current_token, created_at, last_used_at, expires_at)
         VALUES (1, '\\x01', now(), now(), now() + interval '7 days'),
                (2, '\\x02', now(), now(), now() - interval '1 hour')",
        "INSERT INTO devices (user_id, session_id, platform, kind, address_hash, address, p256dh, auth, is_active,
                              inactive_since, inactive_reason, removed_at, last_active, created_at)
         VALUES
         (1, 1, 'android', 'fcm', '\\x01', 'secret-token-1', NULL, NULL, true, NULL, NULL, NULL, now(),
          now() - interval '2 days'),
         (1, 1, 'web', 'webpush', '\\x02',
          'https://updates.push.services.mozilla.com/wpush/v2/secret-endpoint', '\\x04',
          '\\x05', true, NULL, NULL, NULL, now(), now() - interval '2 days'),
         (2, 2, 'ios', 'fid', '\\x03', 'secret-fid', NULL, NULL, false, now() - interval '91 days', 'unseen', NULL,
          now() - interval '121 days', now() - interval '200 days'),
         (2, 2, 'android', 'fcm', '\\x04', 'secret-token-4', NULL, NULL, true, NULL, NULL,
          now() - interval '11 minutes', now(), now()),
         (2, 2, 'ios', 'fcm', '\\x05', 'secret-token-5', NULL, NULL, false, now(), 'other_sender', NULL, now(), now()),
         (2, 2, 'ios', 'fcm', '\\x06', 'secret-token-6', NULL, NULL, true, NULL, NULL, NULL, now() - interval '31 days',
          now() - interval '40 days')",
        "INSERT INTO conversations (user_id, last_message_at, created_at, updated_at, deleted_at)
         VALUES (1, now(), now(), now(), NULL), (1, now(), now(), now(), now()), (2, now(), now(), now(), NULL)",
    ] {
        sqlx::query(fill).execute(database.pool()).await.unwrap();
    }
    database
}

async fn sql(database: &TestDatabase, statement: String) {
    sqlx::query(AssertSqlSafe(statement))
        .execute(database.pool())
        .await
        .unwrap();
}

fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    let arguments = [&["devices"], arguments].concat();
    let output = admin(&arguments, &[("DATABASE_URL", database.url())]);
    let said = text(&output.stdout) + &text(&output.stderr);
    for secret in SECRETS {
        assert!(!said.contains(secret), "{arguments:?}: {said}");
    }
    output
}

/// What a command that is done prints for programs.
fn json_of(database: &TestDatabase, arguments: &[&str]) -> Value {
    let output = run(database, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that is done prints for people.
fn text_of(database: &TestDatabase, arguments: &[&str]) -> String {
    let output = run(database, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// That a command fails with this exit code, in both forms, and says this word to programs. Gives what it says.
pub(super) fn assert_fails(output: impl Fn(&[&str]) -> Output, arguments: &[&str], exit: i32, code: &str) -> Value {
    let plain = output(arguments);
    assert_eq!(
        plain.status.code(),
        Some(exit),
        "{arguments:?}: {}",
        text(&plain.stderr)
    );
    let said = text(&plain.stderr);
    assert!(said.lines().any(|line| line.starts_with("error: ")), "{said}");
    let failed = output(&[arguments, &["--json"]].concat());
    assert_eq!(
        failed.status.code(),
        Some(exit),
        "{arguments:?}: {}",
        text(&failed.stderr)
    );
    assert!(plain.stdout.is_empty() && failed.stdout.is_empty(), "{arguments:?}");
    let said: Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert_eq!(said["error"]["code"], code, "{said}");
    said["error"].clone()
}

pub(super) fn ids(listed: &Value) -> Vec<i64> {
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn devices_are_listed_newest_first_and_filtered_and_show_no_secret() {
    let database = with_devices().await;
    let all = json_of(&database, &["list"]);
    assert_eq!((ids(&all), &all["next_cursor"]), (vec![6, 5, 4, 3, 2, 1], &Value::Null));
    let fields: Vec<&String> = all["items"][0].as_object().unwrap().keys().collect();
    let expected = [
        "created_at",
        "id",
        "inactive_reason",
        "inactive_since",
        "is_active",
        "kind",
        "last_active",
        "platform",
        "user_id",
    ];
    assert_eq!(fields, expected);
    let states: Vec<(&Value, &Value)> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["is_active"], &item["inactive_reason"]))
        .collect();
    let (yes, no) = (&json!(true), &json!(false));
    assert_eq!(
        states,
        [
            (yes, &Value::Null),
            (no, &json!("other_sender")),
            (no, &json!("gone")),
            (no, &json!("unseen")),
            (yes, &Value::Null),
            (yes, &Value::Null),
        ]
    );
    for (filter, found) in [
        (&["--user", "1"][..], &[2, 1][..]),
        (&["--user", "ada@example.com"], &[2, 1]),
        (&["--user", "Bob@Example.com", "--inactive"], &[5, 4, 3]),
        (&["--user", "2", "--kind", "fcm"], &[6, 5, 4]),
        (&["--kind", "fid"], &[3]),
        (&["--kind", "webpush"], &[2]),
        (&["--inactive"], &[5, 4, 3]),
        (&["--inactive", "--kind", "fcm"], &[5, 4]),
        (&["--inactive", "--kind", "webpush"], &[]),
        (&["--limit", "1000"], &[6, 5, 4, 3, 2, 1]),
    ] {
        assert_eq!(
            ids(&json_of(&database, &[&["list"], filter].concat())),
            found,
            "{filter:?}"
        );
    }
    for filter in [&[][..], &["--user", "2"], &["--inactive"]] {
        let whole = ids(&json_of(&database, &[&["list"], filter].concat()));
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let after = cursor.iter().flat_map(|cursor: &String| ["--cursor", cursor]);
            let arguments: Vec<&str> = ["list", "--limit", "2"]
                .into_iter()
                .chain(filter.iter().copied())
                .chain(after)
                .collect();
            let page = json_of(&database, &arguments);
            paged.extend(ids(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{filter:?}");
    }
    let shown = text_of(&database, &["list"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 7, "{shown}");
    assert!(lines[0].starts_with("ID  USER  PLATFORM  KIND"), "{shown}");
    assert!(lines[1].starts_with("6   2     ios       fcm      yes"), "{shown}");
    assert!(
        shown.contains("no: other_sender since ") && shown.contains("no: gone since "),
        "{shown}"
    );
    let page = run(&database, &["list", "--limit", "1"]);
    assert_eq!(text(&page.stderr), "there are more: --cursor 6\n");
}

#[tokio::test]
async fn a_list_of_nobody_and_wrong_usage_have_their_exit_codes() {
    let database = with_devices().await;
    let run = |arguments: &[&str]| run(&database, arguments);
    for user in ["99", "nobody@example.com"] {
        assert_fails(run, &["list", "--user", user], 4, "user_not_found");
    }
    for wrong in [
        &["list", "--limit", "0"][..],
        &["list", "--limit", "1001"],
        &["list", "--cursor", "x"],
        &["list", "--kind", "apns"],
        &["list", "--user", "no address"],
        &["show"],
        &["show", "x"],
        &["why"],
        &["sideways"],
    ] {
        assert_fails(run, wrong, 2, "usage");
    }
    let missing = run(&["show", "--json"]);
    let said: Value = serde_json::from_slice(&missing.stderr).unwrap();
    assert_eq!(
        said["error"]["detail"],
        "the following required arguments were not provided: <ID>"
    );
    let nothing = run(&["--json"]);
    let said: Value = serde_json::from_slice(&nothing.stderr).unwrap();
    assert_eq!(
        (nothing.status.code(), &said["error"]["code"]),
        (Some(2), &json!("usage"))
    );
}

#[tokio::test]
async fn a_device_is_shown_with_its_last_sends() {
    let database = with_devices().await;
    for fill in [
        "INSERT INTO pushes (user_id, conversation_id, message_id, kind, decision, decided_at, created_at)
         SELECT 1, 1, 100 + n, 'answer', 'pushed', now(), now() FROM generate_series(1, 24) n",
        "INSERT INTO pushes (user_id, kind, decision, decided_at, created_at)
         VALUES (1, 'test', 'pushed', now(), now())",
        "INSERT INTO push_sends (push_id, device_id, outcome, code, claimed_at, ended_at)
         SELECT id, 1, CASE WHEN id < 25 THEN 'sent' END, CASE WHEN id < 25 THEN 'sent' END,
                now() + id * interval '1 second', now()
         FROM pushes",
    ] {
        sql(&database, fill.to_owned()).await;
    }
    let shown = json_of(&database, &["show", "1"]);
    let sends = shown["sends"].as_array().unwrap();
    assert_eq!(sends.len(), 20);
    assert_eq!((&sends[0]["push_id"], &sends[19]["push_id"]), (&json!(25), &json!(6)));
    assert_eq!(
        (&sends[0]["kind"], &sends[0]["message_id"], &sends[0]["outcome"]),
        (&json!("test"), &Value::Null, &Value::Null)
    );
    let second =
        ["kind", "message_id", "outcome", "code", "attempts", "device_id"].map(|field| sends[1][field].clone());
    assert_eq!(
        second,
        [
            json!("answer"),
            json!(124),
            json!("sent"),
            json!("sent"),
            json!(1),
            json!(1)
        ]
    );
    let fields = ["id", "session_id", "session_is_over", "push_service_host"].map(|field| shown[field].clone());
    assert_eq!(fields, [json!(1), json!(1), json!(false), Value::Null]);
    let browser = json_of(&database, &["show", "2"]);
    assert_eq!(browser["push_service_host"], "updates.push.services.mozilla.com");
    assert_eq!(browser["sends"], json!([]));
    let old = json_of(&database, &["show", "3"]);
    assert_eq!(
        (&old["session_is_over"], &old["inactive_reason"]),
        (&json!(true), &json!("unseen"))
    );

    let text = text_of(&database, &["show", "1"]);
    assert!(
        text.contains("push service  Firebase") && text.contains("session       1 (valid)"),
        "{text}"
    );
    assert!(text.contains("SENT") && text.contains("unknown"), "{text}");
    let text = text_of(&database, &["show", "2"]);
    assert!(
        text.contains("updates.push.services.mozilla.com") && text.contains("nothing was sent"),
        "{text}"
    );
    assert!(text_of(&database, &["show", "3"]).contains("over: it is not pushed to"));
    let missing = assert_fails(
        |arguments| run(&database, arguments),
        &["show", "99"],
        4,
        "device_not_found",
    );
    assert_eq!(missing["detail"], "there is no device 99");
}

/// What is in the tables for a message, and what `why` has to say.
struct Case {
    conversation: i64,
    role: &'static str,
    status: &'static str,
    finish_reason: &'static str,
    ended: &'static str,
    /// A row of the log: decision and `quiet_until`.
    push: Option<(&'static str, &'static str)>,
    /// Outcomes of its sends.
    sends: &'static [&'static str],
    /// A job: status, `run_at`, reason and metadata.
    job: Option<(&'static str, &'static str, &'static str, &'static str)>,
    verdict: &'static str,
    says: &'static str,
}

/// An answer in Ada's conversation that ended a minute ago, and nothing more.
const ENDED: Case = Case {
    conversation: 1,
    role: "assistant",
    status: "sent",
    finish_reason: "'stop'",
    ended: "now() - interval '1 minute'",
    push: None,
    sends: &[],
    job: None,
    verdict: "push_off",
    says: "enqueued no push",
};

/// The same with a row in the log.
const fn decided(decision: &'static str, says: &'static str) -> Case {
    Case {
        push: Some((decision, "NULL")),
        verdict: decision,
        says,
        ..ENDED
    }
}

/// The same with a job that has not decided anything.
const fn job(
    status: &'static str,
    run_at: &'static str,
    reason: &'static str,
    verdict: &'static str,
    says: &'static str,
) -> Case {
    Case {
        job: Some((status, run_at, reason, "")),
        verdict,
        says,
        ..ENDED
    }
}

const LATER: &str = "now() + interval '1 hour'";

fn cases() -> Vec<Case> {
    let sent = |sends, says| Case {
        sends,
        ..decided("pushed", says)
    };
    let quiet = |job, says| Case {
        push: Some(("quiet", LATER)),
        job,
        ..decided("quiet", says)
    };
    let reason = "the person''s quiet hours";
    vec![
        sent(&["'sent'", "'gone'"], "It rang: pushed "),
        sent(
            &["'sent'", "'gone'"],
            "took it for 1 of 2 devices. 1 called gone by its push service",
        ),
        sent(
            &["'kept'"],
            "took it for none of 1 device. 1 not reached, for a reason in our settings",
        ),
        sent(&["NULL"], "a worker that died: it may have rung"),
        sent(
            &["'inactive'", "'failed'"],
            "another sender, and inactive since. 1 not reached: its push service refused",
        ),
        sent(&[], "Every device had left"),
        Case {
            job: Some(("Pending", LATER, "a push service asks to send again later", "")),
            ..sent(&["'retry'"], "UTC: a push service asks to send again later.")
        },
        Case {
            job: Some(("Killed", "now()", "a push service refused what we sent", "")),
            ..sent(&["'failed'"], "The job died: a push service refused what we sent.")
        },
        decided("watched", "was watching, or was closed in order"),
        decided("read", "had read it"),
        decided("muted", "muted"),
        decided("off", "turned pushes off"),
        decided("superseded", "a newer answer"),
        decided("expired", "within an hour"),
        decided("no_device", "no active device with a valid session"),
        decided("gone", "cancelled or deleted"),
        quiet(
            Some(("Pending", LATER, reason, "")),
            "it waits for the end of the person's quiet hours, until ",
        ),
        quiet(Some(("Killed", LATER, "it broke", "")), "and its job died: it broke."),
        quiet(Some(("Killed", LATER, "", "cancel=>1")), "its job was cancelled"),
        quiet(None, "its job is gone"),
        Case {
            push: Some(("quiet", "now() - interval '1 second'")),
            job: Some(("Pending", "now()", reason, "")),
            ..decided("quiet", "about to look again")
        },
        Case {
            role: "user",
            verdict: "not_an_answer",
            says: "not an answer",
            ..ENDED
        },
        Case {
            status: "sending",
            finish_reason: "NULL",
            verdict: "still_written",
            says: "still being written",
            ..ENDED
        },
        Case {
            finish_reason: "'cancelled'",
            verdict: "cancelled",
            says: "the person cancelled the answer",
            ..ENDED
        },
        Case {
            conversation: 2,
            verdict: "deleted",
            says: "was deleted",
            ..ENDED
        },
        job("Pending", LATER, "", "waiting", "whether somebody watches"),
        job(
            "Pending",
            LATER,
            "somebody watches; looking once more",
            "waiting",
            "UTC: somebody watches; looking once more.",
        ),
        job(
            "Pending",
            "now() - interval '1 second'",
            "",
            "ready",
            "no worker has claimed it",
        ),
        job("Running", "now()", "", "running", "its job runs"),
        job(
            "Killed",
            "now()",
            "it broke",
            "died",
            "died after 1 of 20 attempts: it broke.",
        ),
        job("Done", "now()", "", "done_without_word", "does not say"),
        Case {
            job: Some(("Killed", "now()", "cancelled before it started", "cancel=>1")),
            verdict: "job_cancelled",
            says: "its job was cancelled",
            ..ENDED
        },
        ENDED,
        Case {
            status: "error",
            finish_reason: "NULL",
            ..ENDED
        },
        Case {
            ended: "now() - interval '50 days'",
            verdict: "forgotten",
            says: "kept for 30 days",
            ..ENDED
        },
        Case {
            ended: "now() - interval '101 days'",
            verdict: "before_log",
            says: "before this release",
            ..ENDED
        },
    ]
}

async fn insert(database: &TestDatabase, number: usize, case: &Case) {
    let Case {
        conversation,
        role,
        status,
        finish_reason,
        ended,
        ..
    } = case;
    let error = if *status == "error" { "'timeout'" } else { "NULL" };
    let message = format!(
        "INSERT INTO messages (id, conversation_id, user_id, role, content, status, finish_reason, error_code,
                               created_at, updated_at)
         OVERRIDING SYSTEM VALUE
         VALUES ({number}, {conversation}, 1, '{role}', 'magnesium', '{status}', {finish_reason}, {error}, {ended},
                 {ended})"
    );
    sql(database, message).await;
    if let Some((decision, quiet_until)) = case.push {
        let push = format!(
            "INSERT INTO pushes (id, user_id, conversation_id, message_id, kind, decision, quiet_until, decided_at,
                                 created_at)
             OVERRIDING SYSTEM VALUE
             VALUES ({number}, 1, 1, {number}, 'answer', '{decision}', {quiet_until}, now(), now())"
        );
        sql(database, push).await;
    }
    for (device, outcome) in case.sends.iter().enumerate() {
        let send = format!(
            "INSERT INTO push_sends (push_id, device_id, outcome, claimed_at) VALUES ({number}, {}, {outcome}, now())",
            device + 1
        );
        sql(database, send).await;
    }
    if let Some((status, run_at, reason, metadata)) = case.job {
        let result = if reason.is_empty() {
            "NULL".to_owned()
        } else {
            format!("jsonb_build_object('Err', '{reason}')")
        };
        let job = format!(
            "INSERT INTO apalis.jobs
                 (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata,
                  last_result)
             VALUES ('job{number}', '{{}}', 'send-push', '{status}', 1, 20, {run_at}, 0, '{number}', '{metadata}',
                     {result})"
        );
        sql(database, job).await;
    }
}

#[tokio::test]
async fn it_is_said_why_a_phone_rang_or_stayed_silent() {
    let database = with_devices().await;
    sql(
        &database,
        "UPDATE devices SET created_at = now() - interval '200 days'".to_owned(),
    )
    .await;
    for (number, case) in (1..).zip(cases()) {
        insert(&database, number, &case).await;
        let id = number.to_string();
        let why = json_of(&database, &["why", &id]);
        assert_eq!(
            (&why["message_id"], &why["verdict"]),
            (&json!(number), &json!(case.verdict)),
            "{why}"
        );
        let explanation = why["explanation"].as_str().unwrap();
        assert!(explanation.contains(case.says), "{why}");
        assert_eq!(why["push"].is_object(), case.push.is_some(), "{why}");
        assert_eq!(why["job"].is_object(), case.job.is_some(), "{why}");
        assert_eq!(why["sends"].as_array().unwrap().len(), case.sends.len(), "{why}");
        let said = text_of(&database, &["why", &id]);
        assert!(said.starts_with(explanation), "{said}");
        assert_eq!(said.contains("OUTCOME"), !case.sends.is_empty(), "{said}");
    }
}

#[tokio::test]
async fn without_a_device_or_with_push_off_nothing_rang_and_an_unknown_message_is_not_found() {
    let database = with_devices().await;
    insert(&database, 1, &ENDED).await;
    sql(&database, "DELETE FROM devices WHERE user_id = 1".to_owned()).await;
    let off = json_of(&database, &["why", "1"]);
    assert!(off["explanation"].as_str().unwrap().contains("push is off"), "{off}");
    assert_eq!(off["verdict"], "push_off");
    // With push on.
    let fcm = FcmServer::start().await;
    let mut variables = fcm.variables().to_vec();
    variables.push(("DATABASE_URL", database.url()));
    let output = admin(&["devices", "why", "1", "--json"], &variables);
    let none: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(none["verdict"], "no_device", "{none}");
    assert_fails(
        |arguments| run(&database, arguments),
        &["why", "99"],
        4,
        "message_not_found",
    );
    // What was decided is known longer than the message.
    insert(&database, 2, &decided("muted", "")).await;
    sql(&database, "DELETE FROM messages WHERE id = 2".to_owned()).await;
    let gone = json_of(&database, &["why", "2"]);
    assert_eq!(gone["verdict"], "muted");
    assert!(
        gone["explanation"]
            .as_str()
            .unwrap()
            .ends_with("The message has been deleted since."),
        "{gone}"
    );
}

#[tokio::test]
async fn devices_are_pruned_at_once_when_that_is_confirmed() {
    let database = with_devices().await;
    let unconfirmed = assert_fails(|arguments| run(&database, arguments), &["prune"], 1, "not_confirmed");
    assert_eq!(unconfirmed["cure"], "pass --yes to confirm");
    assert_eq!(database.count("SELECT count(*) FROM devices WHERE is_active").await, 4);
    let pruned = json_of(&database, &["prune", "--yes"]);
    assert_eq!(
        pruned,
        json!({ "gone_removed": 1, "inactive_removed": 1, "made_inactive": 1 })
    );
    let left = json_of(&database, &["list"]);
    assert_eq!(ids(&left), [6, 5, 2, 1]);
    assert_eq!(left["items"][0]["inactive_reason"], "unseen");
    let again = text_of(&database, &["prune", "--yes"]);
    assert_eq!(
        again.lines().filter(|line| line.starts_with("0 devices ")).count(),
        3,
        "{again}"
    );
    // As long as the setting says.
    let later = [
        ("DATABASE_URL", database.url()),
        ("DEVICE_INACTIVE_DAYS", "1".to_owned()),
    ];
    sql(
        &database,
        "UPDATE devices SET last_active = now() - interval '2 days' WHERE id = 1".to_owned(),
    )
    .await;
    let output = admin(&["devices", "prune", "--yes", "--json"], &later);
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["made_inactive"],
        1
    );
}

#[tokio::test]
async fn a_database_that_is_away_or_not_ready_is_told_from_one_that_refuses() {
    let commands = [&["list"][..], &["show", "1"], &["why", "1"], &["prune", "--yes"]];
    let at = |url: &str| {
        let variables = [("DATABASE_URL", url.to_owned())];
        move |arguments: &[&str]| {
            let begun = Instant::now();
            let output = admin(&[&["devices"], arguments].concat(), &variables);
            assert!(begun.elapsed() < Duration::from_secs(10));
            assert!(!text(&output.stderr).contains("hunter2"), "{}", text(&output.stderr));
            output
        }
    };
    for command in commands {
        let away = assert_fails(
            at("postgres://cura:hunter2@127.0.0.1:1/cura"),
            command,
            5,
            "database_away",
        );
        assert_eq!(away["cure"], "start it, or correct host and port", "{away}");
    }
    // It accepts connections, and is silent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://cura:hunter2@{}/cura", silent.local_addr().unwrap());
    assert_fails(at(&url), &["list"], 5, "database_away");
    let empty = TestDatabase::empty().await;
    let pending = assert_fails(at(&empty.url()), &["list"], 1, "migrations_pending");
    assert_eq!(pending["cure"], "run `cura-admin migrate up`");
    let unset = assert_fails(at(""), &["list"], 1, "setting");
    assert!(
        unset["detail"].as_str().unwrap().starts_with("DATABASE_URL "),
        "{unset}"
    );
}

#[tokio::test]
async fn of_a_real_answer_it_is_said_that_it_rang() {
    let fcm = FcmServer::start().await;
    let cura = Cura::builder().with_fcm(&fcm).start().await;
    let user = cura.user().await;
    let phone = json!({ "fcm_token": "secret-phone", "platform": "android" });
    let device = user.post("/devices/register", &phone).await.body["id"].clone();
    let answer = user.ask("Hi").await;
    let answer = user.until_final(&answer).await;
    let id = answer["id"].to_string();
    assert_eq!(json_of(&cura.database, &["why", &id])["verdict"], "waiting");
    fcm.wait_for_sends_to("secret-phone", 1).await;
    let why = eventually("the outcome is known", async || {
        let why = json_of(&cura.database, &["why", &id]);
        (why["sends"][0]["outcome"] == "sent").then_some(why)
    })
    .await;
    assert_eq!(
        (&why["verdict"], &why["sends"][0]["device_id"]),
        (&json!("pushed"), &device)
    );
    assert!(
        why["explanation"].as_str().unwrap().starts_with("It rang: pushed "),
        "{why}"
    );
    let shown = json_of(&cura.database, &["show", &device.to_string()]);
    assert_eq!(
        (&shown["sends"][0]["message_id"], &shown["session_is_over"]),
        (&answer["id"], &json!(false))
    );
}
