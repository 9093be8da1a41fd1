//! Scanning again and deleting: as if people had done it themselves.

use std::process::Output;

use cura_tests::problem::assert_problem;
use cura_tests::{Client, Cura, Form, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::admin::text;
use super::super::admin_devices::assert_fails;
use super::{json_of, run_beside, scanned, sql, text_of};
use crate::accounts::export::export;
use crate::files::samples;

/// Waits until no scan waits or runs.
async fn until_no_scan(cura: &Cura) {
    eventually("no scan is left", async || {
        let unfinished =
            "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload' AND status NOT IN ('Done', 'Killed')";
        (cura.database.count(unfinished).await == 0).then_some(())
    })
    .await;
}

async fn assert_link_is_dead(cura: &Cura, link: &Value) {
    let reply = cura.client().get(link.as_str().unwrap()).await;
    assert_problem(&reply, 404, "a link");
}

async fn tag_of(cura: &Cura, link: &Value) -> String {
    let reply = cura.client().get(link.as_str().unwrap()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.header("etag").unwrap().to_owned()
}

#[tokio::test]
async fn a_clean_file_that_is_scanned_again_is_clean_with_new_pictures_and_its_links_live_again() {
    let mut cura = Cura::start().await;
    let user = cura.user().await;
    let file = scanned(&user, "jpg", samples::JPEG).await;
    let document = scanned(&user, "docx", include_bytes!("../../../fixtures/files/node.docx")).await;
    assert_eq!(
        (&file["status"], &document["status"]),
        (&json!("clean"), &json!("clean"))
    );
    export(&user).await;
    let (original, thumbnail) = (
        tag_of(&cura, &file["url"]).await,
        tag_of(&cura, &file["thumbnail_url"]).await,
    );
    let mut events = user.watch(None).await;
    assert!(events.wait_for_cursor().await);
    let mut worker = cura.workers.pop().unwrap();
    worker.kill();
    let (id, other) = (file["id"].to_string(), document["id"].to_string());
    let done = json_of(
        |arguments: &[&str]| run_beside(&cura, arguments),
        &["rescan", &id, &other],
    );
    assert_eq!(
        done,
        json!({ "enqueued": 2, "already_scanning": 0, "without_bytes": 0 })
    );
    // Every device learns it, and nothing of it is given out.
    let told = events.until("upload").await.pop().unwrap();
    assert_eq!(
        (&told.data["upload_id"], &told.data["upload"]["status"]),
        (&file["id"], &json!("scanning"))
    );
    let now = user.get(&format!("/uploads/{id}")).await.body;
    assert_eq!((&now["status"], &now["url"]), (&json!("scanning"), &Value::Null));
    assert_link_is_dead(&cura, &file["url"]).await;
    assert_link_is_dead(&cura, &file["thumbnail_url"]).await;
    for gone in [
        "SELECT count(*) FROM file_pictures",
        "SELECT count(*) FROM file_texts",
        "SELECT count(*) FROM exports",
        "SELECT sum(made_size)::bigint FROM files",
    ] {
        assert_eq!(cura.database.count(gone).await, 0, "{gone}");
    }
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM object_deletions WHERE object_key LIKE '%.jpg'")
            .await,
        2
    );
    cura.add_worker().await;
    let again = user.until_scanned(&file["id"]).await;
    assert_eq!(user.until_scanned(&document["id"]).await["status"], "clean");
    assert_eq!((&again["status"], &again["sha256"]), (&json!("clean"), &file["sha256"]));
    assert_eq!(tag_of(&cura, &file["url"]).await, original);
    assert_ne!(
        tag_of(&cura, &file["thumbnail_url"]).await,
        thumbnail,
        "made anew, under the old link"
    );
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM file_pictures WHERE is_stored")
            .await,
        2
    );
    assert_eq!(cura.database.count("SELECT count(*) FROM file_texts").await, 1);
    eventually("the old pictures are deleted", async || {
        (cura.database.count("SELECT count(*) FROM object_deletions").await == 0).then_some(())
    })
    .await;
    assert!(!cura.logs().contains("hunter2"));
}

#[tokio::test]
async fn files_that_failed_are_scanned_again_by_reason_and_time() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let mut files = Vec::new();
    for number in 0..4 {
        files.push(scanned(&user, "png", samples::png_number(number)).await["id"].clone());
    }
    until_no_scan(&cura).await;
    // A day without the scanner: 1 and 2 lately, 3 long ago; 4 is broken.
    sql(
        &cura.database,
        "UPDATE files SET status = 'failed', reason_code = CASE WHEN id = 4 THEN 'unreadable' ELSE 'scanner_unavailable' END,
             postponed_since = now() - interval '25 hours',
             updated_at = now() - CASE WHEN id = 3 THEN interval '9 days' ELSE interval '1 hour' END",
    )
    .await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let week: String = sqlx::query_scalar("SELECT to_char(now() - interval '7 days', 'YYYY-MM-DD')")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    let arguments = [
        "rescan",
        "--status",
        "failed",
        "--reason",
        "scanner_unavailable",
        "--since",
        &week,
    ];
    assert_eq!(
        json_of(run, &arguments),
        json!({ "enqueued": 2, "already_scanning": 0, "without_bytes": 0 })
    );
    for file in &files[..2] {
        // Its patience begins anew.
        assert_eq!(user.until_scanned(file).await["status"], "clean");
    }
    let failed = "SELECT count(*) FROM files WHERE status = 'failed'";
    assert_eq!(cura.database.count(failed).await, 2);
    let said = text_of(run, &["rescan", "--status", "failed"]);
    assert!(said.starts_with("2 files are scanned again"), "{said}");
    for file in &files {
        assert_eq!(user.until_scanned(file).await["status"], "clean");
    }
    assert_eq!(
        json_of(run, &["rescan", "--status", "failed"]),
        json!({ "enqueued": 0, "already_scanning": 0, "without_bytes": 0 })
    );
}

#[tokio::test]
async fn a_file_that_waits_gets_the_job_that_it_lacks_and_no_second_one() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let id = user.upload(Form::of("hunter2.png", samples::PNG)).await.body["id"].clone();
    let number = id.to_string();
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload'";
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    // It was put off.
    sql(
        &cura.database,
        "UPDATE apalis.jobs SET run_at = now() + interval '1 hour' WHERE job_type = 'scan-upload'",
    )
    .await;
    assert_eq!(
        json_of(run, &["rescan", &number]),
        json!({ "enqueued": 0, "already_scanning": 1, "without_bytes": 0 })
    );
    let ready = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload' AND run_at <= now()";
    assert_eq!(
        (cura.database.count(jobs).await, cura.database.count(ready).await),
        (1, 1)
    );
    sql(&cura.database, "DELETE FROM apalis.jobs WHERE job_type = 'scan-upload'").await;
    let shown = json_of(run, &["show", &number]);
    assert_eq!(
        (&shown["status"], &shown["scan_is_queued"]),
        (&json!("scanning"), &json!(false))
    );
    assert!(text_of(run, &["show", &number]).contains("has no job"));
    for expected in [(1, 0), (0, 1), (0, 1)] {
        let done = json_of(run, &["rescan", &number]);
        assert_eq!(
            done,
            json!({ "enqueued": expected.0, "already_scanning": expected.1, "without_bytes": 0 })
        );
        assert_eq!(cura.database.count(jobs).await, 1);
    }
    assert_eq!(json_of(run, &["show", &number])["scan_is_queued"], true);
    cura.add_worker().await;
    assert_eq!(user.until_scanned(&id).await["status"], "clean");
}

#[tokio::test]
async fn of_several_files_those_that_can_be_are_scanned_again_and_the_others_are_named() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let file = scanned(&user, "png", samples::PNG).await;
    let infected = scanned(&user, "png", samples::png_number(1)).await;
    until_no_scan(&cura).await;
    sql(
        &cura.database,
        "UPDATE files SET status = 'infected', reason_code = 'malware' WHERE id = (SELECT max(id) FROM files)",
    )
    .await;
    let (id, bad) = (file["id"].to_string(), infected["id"].to_string());
    let output = run_beside(&cura, &["rescan", &bad, "99", &id, "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        done,
        json!({ "enqueued": 1, "already_scanning": 0, "without_bytes": 0 })
    );
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    let detail = format!("file {bad} is infected, and its bytes are deleted\nthere is no file 99");
    assert_eq!(
        (&said["error"]["code"], &said["error"]["detail"]),
        (&json!("file_infected"), &json!(detail))
    );
    assert_eq!(user.until_scanned(&file["id"]).await["status"], "clean");
}

/// Removes the bytes of a file.
async fn lose(cura: &Cura, id: &Value) {
    let key: String = sqlx::query_scalar("SELECT object_key FROM files WHERE id = $1")
        .bind(id.as_i64().unwrap())
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    std::fs::remove_file(cura.data.path().join("files").join(key)).unwrap();
}

#[tokio::test]
async fn a_file_without_bytes_is_not_scanned_again_and_stays_what_it_is() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let lost = scanned(&user, "png", samples::PNG).await;
    let kept = scanned(&user, "png", samples::png_number(1)).await;
    until_no_scan(&cura).await;
    lose(&cura, &lost["id"]).await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let (id, other) = (lost["id"].to_string(), kept["id"].to_string());
    assert_fails(run, &["rescan", &id], 3, "file_without_bytes");
    assert_eq!(json_of(run, &["show", &id])["status"], "clean");
    // One of a batch is counted, and keeps no other from it.
    sql(
        &cura.database,
        "UPDATE files SET status = 'failed', reason_code = 'unreadable'",
    )
    .await;
    assert_eq!(
        json_of(run, &["rescan", "--status", "failed"]),
        json!({ "enqueued": 1, "already_scanning": 0, "without_bytes": 1 })
    );
    assert_eq!(user.until_scanned(&kept["id"]).await["status"], "clean");
    assert_eq!(json_of(run, &["show", &id])["status"], "failed");
    // Where the store cannot be asked, its scan will find out.
    let elsewhere = tempfile::tempdir().unwrap();
    let variables = [
        ("DATABASE_URL", cura.database.url()),
        ("DATA_DIR", elsewhere.path().display().to_string()),
    ];
    let there = |arguments: &[&str]| super::run_with(&variables, arguments);
    assert_eq!(json_of(there, &["rescan", &other])["enqueued"], 1);
    assert_eq!(user.until_scanned(&kept["id"]).await["status"], "clean");
}

#[tokio::test]
async fn a_batch_that_fails_midway_says_what_it_has_begun() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    for number in 0..3 {
        scanned(&user, "png", samples::png_number(number)).await;
    }
    until_no_scan(&cura).await;
    for statement in [
        "UPDATE files SET status = 'failed', reason_code = 'unreadable'",
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        "CREATE TRIGGER fail BEFORE UPDATE ON files FOR EACH ROW WHEN (OLD.id = 3 AND NEW.status = 'scanning')
         EXECUTE FUNCTION fail()",
    ] {
        sql(&cura.database, statement).await;
    }
    let output = run_beside(&cura, &["rescan", "--status", "failed", "--json"]);
    assert_ne!(output.status.code(), Some(0));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        done,
        json!({ "enqueued": 2, "already_scanning": 0, "without_bytes": 0 })
    );
    assert!(text(&output.stderr).contains("\"error\""), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_scan_whose_worker_dies_each_time_has_failed_also_after_it_was_begun_again() {
    let mut cura = Cura::start().await;
    let user = cura.user().await;
    let file = scanned(&user, "png", samples::PNG).await;
    until_no_scan(&cura).await;
    let id = file["id"].to_string();
    for _ in 0..2 {
        cura.workers.pop().unwrap().kill();
        let done = json_of(|arguments: &[&str]| run_beside(&cura, arguments), &["rescan", &id]);
        assert_eq!(done["enqueued"], 1);
        // Its worker has died in the last attempt.
        for statement in [
            "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
             VALUES ('dead', 'cura', 'cura', '', now() - interval '1 minute', now() - interval '1 hour')",
            "UPDATE apalis.jobs SET status = 'Running', lock_by = 'dead', lock_at = now(), attempts = max_attempts
             WHERE job_type = 'scan-upload' AND status = 'Pending'",
        ] {
            sql(&cura.database, statement).await;
        }
        cura.add_worker().await;
        let failed = user.until_scanned(&file["id"]).await;
        assert_eq!(
            (&failed["status"], &failed["reason"]["code"]),
            (&json!("failed"), &json!("unreadable"))
        );
        // The same job, not one of another round.
        sql(
            &cura.database,
            "DELETE FROM apalis.jobs WHERE job_type = 'scan-upload' AND status = 'Done'",
        )
        .await;
    }
}

/// Runs a command twice at once.
async fn twice(cura: &Cura, arguments: &[&str]) -> [Output; 2] {
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| run_beside(cura, arguments)));
        both.map(|one| one.join().unwrap())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_who_scan_a_file_again_or_delete_it_do_it_once() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let file = scanned(&user, "jpg", samples::JPEG).await;
    let id = file["id"].to_string();
    for _ in 0..3 {
        let both = twice(&cura, &["rescan", &id, "--json"]).await;
        assert!(both.iter().all(|output| output.status.code() == Some(0)));
        assert_eq!(user.until_scanned(&file["id"]).await["status"], "clean");
        until_no_scan(&cura).await;
        assert_eq!(
            cura.database
                .count("SELECT count(*) FROM file_pictures WHERE is_stored")
                .await,
            2
        );
    }
    let both = twice(&cura, &["delete", &id, "--yes", "--json"]).await;
    let mut codes = both.map(|output| output.status.code());
    codes.sort();
    assert_eq!(codes, [Some(0), Some(4)]);
    until_deleted(&cura).await;
}

async fn until_deleted(cura: &Cura) {
    eventually("the bytes are deleted", async || {
        // What was being put when its file went is left alone for a while.
        sql(&cura.database, "UPDATE object_deletions SET due_at = now()").await;
        let left = "SELECT (SELECT count(*) FROM object_deletions) + (SELECT count(*) FROM files)";
        (cura.database.count(left).await == 0 && objects(cura) == 0).then_some(())
    })
    .await;
}

/// How many files are in the store.
fn objects(cura: &Cura) -> usize {
    let Ok(users) = std::fs::read_dir(cura.data.path().join("files")) else {
        return 0;
    };
    let users = users.map(|user| user.unwrap());
    let kept = users.filter(|user| user.file_name() != "incoming");
    kept.filter_map(|user| std::fs::read_dir(user.path()).ok())
        .map(Iterator::count)
        .sum()
}

#[tokio::test]
async fn a_file_that_an_operator_deletes_is_gone_as_if_its_person_had_done_it() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let sent = user.try_send_without_waiting(&json!({ "content": "Look" })).await.body;
    let form = Form::of("hunter2.png", samples::PNG).field("message_id", &sent["user_message"]["id"]);
    let file = user.upload(form).await.body;
    let file = user.until_scanned(&file["id"]).await;
    export(&user).await;
    let mut events = user.watch(None).await;
    assert!(events.wait_for_cursor().await);
    let id = file["id"].to_string();
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert_eq!(
        json_of(run, &["delete", &id, "--yes"]),
        json!({ "deleted": file["id"] })
    );
    let told = events.until("upload").await.pop().unwrap();
    assert_eq!(
        told.data,
        json!({ "type": "upload", "upload_id": file["id"], "deleted": true })
    );
    assert_gone(&user, &id).await;
    assert_link_is_dead(&cura, &file["url"]).await;
    for gone in ["SELECT count(*) FROM message_files", "SELECT count(*) FROM exports"] {
        assert_eq!(cura.database.count(gone).await, 0, "{gone}");
    }
    until_deleted(&cura).await;
    assert_fails(run, &["delete", &id, "--yes"], 4, "file_not_found");
    assert_fails(run, &["show", &id], 4, "file_not_found");
    // Of somebody who is being erased nothing is changed: it goes by itself.
    let file = scanned(&user, "png", samples::PNG).await;
    sql(&cura.database, "UPDATE users SET erased_at = now()").await;
    let id = file["id"].to_string();
    for command in [&["delete", &id, "--yes"][..], &["rescan", &id]] {
        assert_fails(run, command, 4, "file_not_found");
    }
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM files WHERE status = 'clean'")
            .await,
        1
    );
}

async fn assert_gone(user: &Client, id: &str) {
    for method in [Method::GET, Method::DELETE] {
        let reply = user.send(user.request(method, &format!("/uploads/{id}"))).await;
        assert_problem(&reply, 404, "deleted");
    }
}
