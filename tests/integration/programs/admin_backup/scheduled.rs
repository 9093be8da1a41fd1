//! Backups that a worker makes, what `doctor` says of them, and the list of erasures that a worker writes.

use std::fs;

use chrono::{DateTime, Utc};
use cura_queue::BackUp;
use cura_tests::{Cura, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::admin::text;
use super::{beside, erase, json_of, names_in, run_with};

/// The folder of the list of erasures, beside the folders of people.
const LIST: &str = "files/9223372036854775806";
/// The first of them.
const FIRST: &str = "00000000-0000-4000-8000-000000000001.json";

/// With two workers that make backups into this folder.
async fn with_schedule(folder: &TempDir) -> Cura {
    Cura::builder()
        .workers(2)
        .with("BACKUP_EVERY", "24h")
        .with("BACKUP_DIR", folder.path().display().to_string())
        .with("BACKUP_KEEP", "2")
        .start()
        .await
}

/// What `doctor` says of backups: the status and the words.
fn doctor(cura: &Cura) -> (String, String) {
    let output = run_with(&cura.variables_with(&[]), &["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let items = report["items"].as_array().unwrap();
    let check = items.iter().find(|check| check["name"] == "backups").unwrap();
    let words = format!("{}; {}", check["detail"], check["cure"]);
    (check["status"].as_str().unwrap().to_owned(), words)
}

#[tokio::test]
async fn one_worker_makes_the_backup_of_a_period_and_the_newest_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (older, old) = ("cura-20200101T000000Z.tar", "cura-20200102T000000Z.tar");
    for name in [older, old, "notes.txt"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let cura = with_schedule(&folder).await;
    let names = eventually("one is made, and the oldest is removed", async || {
        let names = names_in(folder.path());
        let is_made = cura
            .database
            .count("SELECT count(*) FROM backups WHERE is_scheduled")
            .await
            == 1;
        (is_made && !names.iter().any(|name| name == older)).then_some(names)
    })
    .await;
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!((names[0].as_str(), names[2].as_str()), (old, "notes.txt"));
    let file = folder.path().join(&names[1]).display().to_string();
    let verified = json_of(&beside(&cura), &["backup", "verify", &file]);
    assert!(verified["rows"].as_i64().unwrap() > 0, "{verified}");
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'back-up'";
    assert_eq!(cura.database.count(jobs).await, 1, "both workers have asked for it");
    let (status, words) = doctor(&cura);
    assert_eq!(status, "ok", "{words}");
    assert!(
        words.contains("the last one is 0 h old") && words.contains("not encrypted"),
        "{words}"
    );
    // A schedule that has stopped is noticed.
    let late = "UPDATE backups SET finished_at = finished_at - interval '49 hours'";
    sqlx::query(late).execute(cura.database.pool()).await.unwrap();
    let (status, words) = doctor(&cura);
    assert_eq!(status, "warn", "{words}");
    assert!(
        words.contains("49 h old") && words.contains("jobs list --queue back-up"),
        "{words}"
    );
}

#[tokio::test]
async fn without_its_folder_the_job_says_why_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::remove_dir(folder.path()).unwrap();
    let cura = with_schedule(&folder).await;
    let reason = eventually("the first attempt has failed", async || {
        let listed = json_of(&beside(&cura), &["jobs", "list", "--queue", "back-up"]);
        let job = listed["items"][0].clone();
        (job["state"] == "waiting").then(|| job["reason"].as_str().unwrap_or_default().to_owned())
    })
    .await;
    assert!(reason.contains("no backup was made"), "{reason}");
    let (status, words) = doctor(&cura);
    assert_eq!(status, "warn", "{words}");
    assert!(words.contains("none was ever made"), "{words}");
    // The folder is there again.
    fs::create_dir(folder.path()).unwrap();
    let now = "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'back-up'";
    sqlx::query(now).execute(cura.database.pool()).await.unwrap();
    eventually("it is made", async || {
        (cura.database.count("SELECT count(*) FROM backups").await == 1).then_some(())
    })
    .await;
    assert_eq!(names_in(folder.path()).len(), 1);
}

#[tokio::test]
async fn an_erasure_is_listed_in_the_file_store_before_the_person_is_gone() {
    let cura = Cura::start().await;
    let ann = cura.client().register("ann@example.com").await;
    ann.send_message(&Value::Null, "magnesium").await;
    // The file store cannot list it: a file is where the folder is to be.
    let list = cura.data.path().join(LIST);
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    fs::write(&list, "").unwrap();
    erase(&ann).await;
    cura.workers[0].wait_for_log("the erasure cannot be listed yet").await;
    assert_eq!(cura.database.count("SELECT count(*) FROM users").await, 1);
    assert_eq!(cura.database.count("SELECT count(*) FROM messages").await, 0);
    fs::remove_file(&list).unwrap();
    eventually("Ann is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
    assert_eq!(names_in(&list), [FIRST]);
    let listed: Value = serde_json::from_slice(&fs::read(list.join(FIRST)).unwrap()).unwrap();
    let times = sqlx::query_as("SELECT registered_at, erased_at FROM erasures WHERE number = 1 AND user_id = 1");
    let (registered_at, erased_at): (DateTime<Utc>, DateTime<Utc>) =
        times.fetch_one(cura.database.pool()).await.unwrap();
    let expected = json!({ "number": 1, "user_id": 1, "registered_at": registered_at, "erased_at": erased_at });
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_period_that_is_over_gets_no_backup_and_a_worker_without_a_schedule_leaves_it_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let cura = with_schedule(&folder).await;
    let made = "SELECT count(*) FROM backups";
    eventually("one is made", async || {
        (cura.database.count(made).await == 1).then_some(())
    })
    .await;
    let mut connection = cura.database.pool().acquire().await.unwrap();
    cura_queue::enqueue(&mut connection, &BackUp { period: 1 })
        .await
        .unwrap();
    let done = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'back-up' AND status = 'Done'";
    eventually("both jobs are done", async || {
        (cura.database.count(done).await == 2).then_some(())
    })
    .await;
    assert_eq!(cura.database.count(made).await, 1);

    let without = Cura::start().await;
    let mut connection = without.database.pool().acquire().await.unwrap();
    cura_queue::enqueue(&mut connection, &BackUp { period: i64::MAX })
        .await
        .unwrap();
    let reason = eventually("it waits", async || {
        let listed = json_of(&beside(&without), &["jobs", "list", "--queue", "back-up"]);
        let job = listed["items"][0].clone();
        (job["state"] == "waiting").then(|| job["reason"].as_str().unwrap_or_default().to_owned())
    })
    .await;
    assert!(reason.contains("BACKUP_EVERY is not set"), "{reason}");
}

#[tokio::test]
async fn a_number_that_somebody_else_has_in_the_file_store_is_left_to_them() {
    let cura = Cura::start().await;
    let ann = cura.client().register("ann@example.com").await;
    // As after a restore of a database that did not know of it.
    let list = cura.data.path().join(LIST);
    let other = json!({
        "number": 1, "user_id": 77, "registered_at": "2026-01-01T00:00:00Z", "erased_at": "2026-02-01T00:00:00Z"
    });
    fs::create_dir_all(&list).unwrap();
    fs::write(list.join(FIRST), other.to_string()).unwrap();
    erase(&ann).await;
    eventually("Ann is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
    assert_eq!(names_in(&list).len(), 2);
    let kept: Value = serde_json::from_slice(&fs::read(list.join(FIRST)).unwrap()).unwrap();
    assert_eq!(kept, other);
    let second = fs::read(list.join(&names_in(&list)[1])).unwrap();
    let second: Value = serde_json::from_slice(&second).unwrap();
    assert_eq!((&second["number"], &second["user_id"]), (&json!(2), &json!(1)));
}
