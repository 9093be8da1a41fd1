//! What is listed and shown, and how a command fails.

use std::time::{Duration, Instant};

use cura_tests::{Cura, Form, TestDatabase};
use serde_json::{Value, json};

use super::super::admin::{admin, text};
use super::super::admin_devices::{assert_fails, ids};
use super::{json_of, run, run_beside, run_with, scanned, sql, text_of};
use crate::files::samples;

/// Ada (1) has files 1, 2 and 6, Bob (2) the others; one of each status, and two clean ones.
async fn with_files() -> TestDatabase {
    let database = TestDatabase::create().await;
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         VALUES ('ada@example.com', 'x', now(), now()), ('bob@example.com', 'x', now(), now())",
        "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, reason_code, reason_signature, findings,
                            created_at, updated_at)
         SELECT v.user_id, v.user_id || '/00000000-0000-4000-8000-' || lpad(v.n::text, 12, '0') || '.pdf', 'hunter2.pdf', v.file_type,
                100 + v.n, sha256('magnesium'), v.status, v.code, v.signature, v.findings, now() + v.n * interval '1 second', now()
         FROM (VALUES (1, 1, 'pdf', 'clean', NULL, NULL, '{pdf_javascript,pdf_launch}'::text[]),
                      (2, 1, 'png', 'failed', 'unreadable', NULL, '{}'),
                      (3, 2, 'docx', 'infected', 'malware', 'Win.Test.EICAR', '{}'),
                      (4, 2, 'jpeg', 'scanning', NULL, NULL, '{}'),
                      (5, 2, 'gif', 'storing', NULL, NULL, '{}'),
                      (6, 1, 'webp', 'clean', NULL, NULL, '{}'))
              AS v (n, user_id, file_type, status, code, signature, findings)",
    ] {
        sql(&database, fill).await;
    }
    database
}

#[tokio::test]
async fn files_are_listed_newest_first_and_filtered_and_no_name_is_shown() {
    let database = with_files().await;
    let run = |arguments: &[&str]| run(&database, arguments);
    let all = json_of(run, &["list"]);
    assert_eq!((ids(&all), &all["next_cursor"]), (vec![6, 5, 4, 3, 2, 1], &Value::Null));
    let fields: Vec<&String> = all["items"][0].as_object().unwrap().keys().collect();
    let expected = [
        "content_type",
        "created_at",
        "findings",
        "id",
        "reason",
        "size",
        "status",
        "updated_at",
        "user_id",
    ];
    assert_eq!(fields, expected);
    let shown = |at: usize| {
        ["user_id", "content_type", "size", "status", "reason", "findings"].map(|field| all["items"][at][field].clone())
    };
    assert_eq!(
        shown(3),
        [
            json!(2),
            json!("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            json!(103),
            json!("infected"),
            json!({ "code": "malware", "signature": "Win.Test.EICAR" }),
            json!([])
        ]
    );
    assert_eq!(
        shown(5),
        [
            json!(1),
            json!("application/pdf"),
            json!(101),
            json!("clean"),
            Value::Null,
            json!(["pdf_javascript", "pdf_launch"])
        ]
    );
    for (filter, found) in [
        (&["--user", "1"][..], &[6, 2, 1][..]),
        (&["--user", "ada@example.com"], &[6, 2, 1]),
        (&["--user", "Bob@Example.com"], &[5, 4, 3]),
        (&["--status", "clean"], &[6, 1]),
        (&["--status", "storing"], &[5]),
        (&["--status", "scanning"], &[4]),
        (&["--status", "infected"], &[3]),
        (&["--status", "failed"], &[2]),
        (&["--user", "1", "--status", "clean"], &[6, 1]),
        (&["--user", "2", "--status", "clean"], &[]),
        (&["--user", "2", "--status", "storing"], &[5]),
        (&["--limit", "1000"], &[6, 5, 4, 3, 2, 1]),
    ] {
        assert_eq!(ids(&json_of(run, &[&["list"], filter].concat())), found, "{filter:?}");
    }
    for filter in [
        &[][..],
        &["--user", "1"],
        &["--status", "clean"],
        &["--user", "1", "--status", "clean"],
    ] {
        let whole = ids(&json_of(run, &[&["list"], filter].concat()));
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let after = cursor.iter().flat_map(|cursor: &String| ["--cursor", cursor]);
            let one = ["list", "--limit", "1"].into_iter();
            let arguments: Vec<&str> = one.chain(filter.iter().copied()).chain(after).collect();
            let page = json_of(run, &arguments);
            paged.extend(ids(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{filter:?}");
    }
    let shown = text_of(run, &["list"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 7, "{shown}");
    assert!(lines[0].starts_with("ID  USER  TYPE"), "{shown}");
    assert!(shown.contains("infected: malware (Win.Test.EICAR)"), "{shown}");
    assert!(
        shown.contains("failed: unreadable") && shown.contains("pdf_javascript, pdf_launch"),
        "{shown}"
    );
    let page = run(&["list", "--limit", "1"]);
    assert_eq!(text(&page.stderr), "there are more: --cursor 6\n");
}

#[tokio::test]
async fn files_of_nobody_and_wrong_usage_have_their_exit_codes() {
    let database = with_files().await;
    let run = |arguments: &[&str]| run(&database, arguments);
    for user in ["99", "nobody@example.com"] {
        assert_fails(run, &["list", "--user", user], 4, "user_not_found");
    }
    for wrong in [
        &["list", "--limit", "0"][..],
        &["list", "--limit", "1001"],
        &["list", "--cursor", "x"],
        &["list", "--status", "lost"],
        &["list", "--user", "no address"],
        &["show"],
        &["show", "x"],
        &["rescan"],
        &["rescan", "x"],
        &["rescan", "1", "--status", "failed"],
        &["rescan", "--status", "infected"],
        &["rescan", "--status", "failed", "--reason", "malware"],
        &["rescan", "--status", "failed", "--since", "yesterday"],
        &["rescan", "1", "--since", "2026-11-30"],
        &["delete", "--yes"],
        &["sideways"],
    ] {
        assert_fails(run, wrong, 2, "usage");
    }
    assert_fails(run, &["show", "99"], 4, "file_not_found");
    assert_fails(run, &["rescan", "99"], 4, "file_not_found");
    assert_fails(run, &["delete", "99", "--yes"], 4, "file_not_found");
    let infected = assert_fails(run, &["rescan", "3"], 3, "file_infected");
    assert_eq!(infected["detail"], "file 3 is infected, and its bytes are deleted");
    assert!(
        infected["cure"].as_str().unwrap().contains("upload it again"),
        "{infected}"
    );
    assert_fails(run, &["rescan", "5"], 3, "file_storing");
    assert_fails(run, &["delete", "5", "--yes"], 3, "file_storing");
    let unconfirmed = assert_fails(run, &["delete", "1"], 1, "not_confirmed");
    assert_eq!(unconfirmed["cure"], "pass --yes to confirm");
    // Nothing has changed.
    let statuses = "SELECT count(*) FROM files WHERE status IN ('clean', 'failed', 'infected', 'storing')";
    assert_eq!(database.count(statuses).await, 5);
    assert_eq!(database.count("SELECT count(*) FROM apalis.jobs").await, 0);
    assert_eq!(database.count("SELECT count(*) FROM events").await, 0);
}

#[tokio::test]
async fn a_database_that_is_away_is_told_from_a_file_that_is() {
    let commands = [
        &["list"][..],
        &["show", "1"],
        &["rescan", "1"],
        &["rescan", "--status", "failed"],
        &["delete", "1", "--yes"],
    ];
    let at = |url: &str| {
        let variables = [("DATABASE_URL", url.to_owned())];
        move |arguments: &[&str]| {
            let begun = Instant::now();
            let output = admin(&[&["files"], arguments].concat(), &variables);
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
}

#[tokio::test]
async fn a_file_is_shown_with_what_was_made_of_it_and_whether_its_bytes_are_there() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let sent = user.try_send_without_waiting(&json!({ "content": "Look" })).await.body;
    let form = Form::of("hunter2.jpg", samples::JPEG).field("message_id", &sent["user_message"]["id"]);
    let id = user.upload(form).await.body["id"].clone();
    let file = user.until_scanned(&id).await;
    let id = id.to_string();
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let shown = json_of(run, &["show", &id]);
    let fields: Vec<&String> = shown.as_object().unwrap().keys().collect();
    let expected = [
        "content_type",
        "created_at",
        "findings",
        "id",
        "message_ids",
        "object",
        "pictures",
        "postponed_since",
        "reason",
        "scan_is_queued",
        "sha256",
        "size",
        "status",
        "text",
        "updated_at",
        "user_id",
    ];
    assert_eq!(fields, expected);
    for field in ["id", "sha256", "size", "status", "findings", "content_type"] {
        assert_eq!(shown[field], file[field], "{field}");
    }
    assert_eq!(
        (&shown["object"], &shown["message_ids"], &shown["text"]),
        (&json!("present"), &json!([sent["user_message"]["id"]]), &Value::Null)
    );
    let pictures = shown["pictures"].as_array().unwrap();
    let variants: Vec<(&Value, &Value)> = pictures
        .iter()
        .map(|made| (&made["variant"], &made["is_stored"]))
        .collect();
    assert_eq!(
        variants,
        [(&json!("model"), &json!(true)), (&json!("thumb"), &json!(true))]
    );
    let said = text_of(run, &["show", &id]);
    assert!(
        said.contains("object    in the file store") && said.contains("thumb "),
        "{said}"
    );

    let document = scanned(&user, "docx", include_bytes!("../../../fixtures/files/node.docx")).await;
    let shown = json_of(run, &["show", &document["id"].to_string()]);
    assert!(shown["text"]["size"].as_i64().unwrap() > 0, "{shown}");
    assert_eq!(
        (&shown["text"]["is_cut"], &shown["pictures"]),
        (&json!(false), &json!([]))
    );

    // Cut short, then gone.
    let key: String = sqlx::query_scalar("SELECT object_key FROM files ORDER BY id LIMIT 1")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    let path = cura.data.path().join("files").join(key);
    std::fs::write(&path, "short").unwrap();
    assert_eq!(json_of(run, &["show", &id])["object"], "damaged");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(json_of(run, &["show", &id])["object"], "missing");
    // Where the folder of the files is elsewhere, it is not made.
    let elsewhere = tempfile::tempdir().unwrap();
    let variables = [
        ("DATABASE_URL", cura.database.url()),
        ("DATA_DIR", elsewhere.path().display().to_string()),
    ];
    let shown = json_of(|arguments: &[&str]| run_with(&variables, arguments), &["show", &id]);
    assert_eq!(shown["object"], "unknown");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    // Nor is it needed where it cannot be used from here.
    std::fs::create_dir(elsewhere.path().join("files")).unwrap();
    std::fs::write(elsewhere.path().join("files/incoming"), "no folder").unwrap();
    let shown = json_of(|arguments: &[&str]| run_with(&variables, arguments), &["show", &id]);
    assert_eq!(shown["object"], "unknown");
    // A store that is away keeps nothing else from being shown.
    let away = [
        ("DATABASE_URL", cura.database.url()),
        ("STORAGE_PROVIDER", "s3".to_owned()),
        ("S3_ENDPOINT", "http://127.0.0.1:1".to_owned()),
        ("S3_REGION", "eu-central-1".to_owned()),
        ("S3_BUCKET", "cura".to_owned()),
        ("S3_ACCESS_KEY_ID", "hunter2".to_owned()),
        ("S3_SECRET_ACCESS_KEY", "hunter2".to_owned()),
    ];
    let shown = json_of(|arguments: &[&str]| run_with(&away, arguments), &["show", &id]);
    assert_eq!(
        (&shown["object"], &shown["status"]),
        (&json!("unknown"), &json!("clean"))
    );
}
