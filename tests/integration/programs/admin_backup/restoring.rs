//! What is there after a restore: everything that was, and nobody who must not be.

use std::fs;

use cura_tests::{Client, Cura, FcmServer, Form, Program, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::admin::text;
use super::{PICTURE, Place, assert_fails, back_up, beside, erase, json_of, run_with, sql};

/// The folder of the list of erasures.
const LIST: &str = "files/9223372036854775806";
const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn sign_in(client: &Client, email: &str) -> cura_tests::Reply {
    let credentials = json!({ "email": email, "password": "a long password" });
    client.post("/auth/login", &credentials).await
}

#[tokio::test]
async fn a_backup_under_load_is_restored_as_it_was_and_safe() {
    let fcm = FcmServer::start().await;
    let cura = Cura::builder().with("SECRET_KEY", KEY).with_fcm(&fcm).start().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    let device = json!({ "fcm_token": "a-token-of-a-phone", "platform": "ios", "device_name": "phone" });
    assert_eq!(ann.post("/devices/register", &device).await.status, 201);
    let kept = ann.upload(Form::of("magnesium.png", PICTURE)).await;
    assert_eq!(kept.status, 201, "{}", kept.body);
    ann.until_scanned(&kept.body["id"]).await;
    bob.send_message(&Value::Null, "magnesium").await;
    ann.send_message(&Value::Null, "magnesium").await;
    let mut watching = ann.watch(None).await;
    watching.wait_for_cursor().await;
    let before = watching.cursor.clone().unwrap();

    // People write while it is made.
    let mut writing = JoinSet::new();
    let writer = ann.clone();
    writing.spawn(async move {
        loop {
            writer.send_without_waiting(&json!({ "content": "magnesium" })).await;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let variables = beside(&cura);
    let file = folder.path().join("a.tar").display().to_string();
    let making = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || json_of(&variables, &["backup", "--output", &file]))
    };
    let made = making.await.unwrap();
    writing.abort_all();
    assert_eq!(
        made["objects"]["archived"].as_i64(),
        made["objects"]["named"].as_i64(),
        "{made}"
    );
    assert!(made["objects"]["archived"].as_i64().unwrap() >= 1, "{made}");
    let verified = json_of(&beside(&cura), &["backup", "verify", &file]);
    assert_eq!(verified["rows"], made["rows"]);

    // Afterwards: more is said, and Bob is erased.
    ann.send_message(&Value::Null, "magnesium").await;
    watching = ann.watch(None).await;
    watching.wait_for_cursor().await;
    let lost = watching.cursor.clone().unwrap();
    erase(&bob).await;
    eventually("Bob is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 1).then_some(())
    })
    .await;

    // The database is lost, and the folder of Ann's files.
    let place = Place::empty().await;
    let mut target = place.variables();
    target[2].1 = cura.data.path().display().to_string();
    fs::remove_dir_all(cura.data.path().join("files/1")).unwrap();
    let restored = json_of(&target, &["restore", "--input", &file, "--yes"]);
    assert_eq!(restored["rows"], made["rows"], "{restored}");
    assert_eq!(restored["erased_again"], 1, "{restored}");
    assert_eq!(restored["objects"]["missing"], 0, "{restored}");
    assert!(restored["objects"]["put"].as_i64().unwrap() >= 1, "{restored}");
    let alive = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(place.database.count(alive).await, 0);
    assert_eq!(place.database.count("SELECT count(*) FROM devices").await, 0);
    assert_eq!(place.database.count("SELECT count(*) FROM paused_queues").await, 17);
    let acts = "SELECT count(*) FROM operator_actions WHERE action = 'restore' AND failure IS NULL";
    assert_eq!(place.database.count(acts).await, 1);

    let Place { database, .. } = place;
    let sent = fcm.count();
    let again = Cura::builder()
        .with("SECRET_KEY", KEY)
        .with("DATA_DIR", cura.data.path().display().to_string())
        .with_fcm(&fcm)
        .start_on_database(database)
        .await;
    let old = ann.at(&again.servers[0].base);
    assert_eq!(old.get("/users/me").await.status, 401, "no session is left");
    assert_eq!(
        sign_in(&again.client(), "bob@example.com").await.status,
        401,
        "gone again"
    );
    let entered = sign_in(&again.client(), "ann@example.com").await;
    assert_eq!(entered.status, 200, "{}", entered.body);
    let ann = again.client().with_token(&entered.body["access_token"]);
    for cursor in [&before, &lost] {
        let mut stream = ann.watch(Some(cursor)).await;
        let seen = stream.until("resync").await;
        assert_eq!(seen.last().unwrap().name, "resync", "{cursor}");
    }
    let link = ann.get(&format!("/uploads/{}", kept.body["id"])).await.body["url"].clone();
    let path = link.as_str().unwrap();
    let path = path.find("/files").map_or(path, |at| &path[at..]);
    let bytes = ann.get(path).await.bytes;
    assert_eq!(bytes.len(), PICTURE.len(), "{link}");
    assert!(bytes == PICTURE);
    let health = again.client().get("/health").await.body;
    assert_eq!(health["status"], "degraded", "{health}");

    let operator = beside(&again);
    let queues: Vec<String> = sqlx::query_scalar("SELECT queue FROM paused_queues")
        .fetch_all(again.database.pool())
        .await
        .unwrap();
    for queue in queues {
        json_of(&operator, &["jobs", "resume", &queue]);
    }
    eventually("nothing is left of Bob", async || {
        (again.database.count("SELECT count(*) FROM users").await == 1).then_some(())
    })
    .await;
    again.check_invariants().await;
    assert_eq!(fcm.count(), sent, "no push goes out");
}

#[tokio::test]
async fn what_is_there_is_replaced_only_when_asked_and_erasures_and_acts_outlive_it() {
    let mut cura = Cura::start().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    bob.send_message(&Value::Null, "magnesium").await;
    let folder = tempfile::tempdir().unwrap();
    let file = back_up(&cura, &folder, "a.tar");
    ann.send_message(&Value::Null, "magnesium").await;
    erase(&bob).await;
    eventually("Bob is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 1).then_some(())
    })
    .await;
    // Somebody who registered afterwards never has the number of somebody who is lost.
    cura.client().register("cyd@example.com").await;
    let last: i64 = cura.database.count("SELECT max(id) FROM users").await;
    let variables = beside(&cura);
    assert_fails(
        &variables,
        &["restore", "--input", &file, "--replace", "--yes"],
        1,
        "database_in_use",
    );
    cura.servers.clear();
    cura.workers.clear();
    eventually("they are gone", async || {
        let connected = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND application_name IN ('cura-server', 'cura-worker')";
        (cura.database.count(connected).await == 0).then_some(())
    })
    .await;
    assert_fails(
        &variables,
        &["restore", "--input", &file, "--yes"],
        1,
        "database_not_empty",
    );
    assert_fails(
        &variables,
        &["restore", "--input", &file, "--replace"],
        1,
        "not_confirmed",
    );
    // Of another installation, where somebody else had Ann's number.
    let other = "INSERT INTO erasures (number, user_id, registered_at, erased_at)
                 SELECT 2, user_id, registered_at - interval '1 hour', now() FROM (SELECT min(id) AS user_id, min(created_at) AS registered_at FROM users) ann";
    sql(&cura.database, other).await;
    // The list of the file store is lost: the one of the database counts.
    fs::remove_dir_all(cura.data.path().join("files")).unwrap();
    let restored = json_of(&variables, &["restore", "--input", &file, "--replace", "--yes"]);
    assert_eq!(restored["erased_again"], 1, "{restored}");
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM messages WHERE user_id = 1")
            .await,
        0
    );
    assert_eq!(
        super::names_in(&cura.data.path().join(LIST)).len(),
        2,
        "it is written again"
    );
    let acts = "SELECT count(*) FROM operator_actions WHERE action = 'restore' AND failure = 'database_in_use'";
    assert_eq!(cura.database.count(acts).await, 2);
    assert_eq!(cura.database.count("SELECT count(*) FROM backups").await, 1);
    let inserted = "INSERT INTO users (email, password_hash, created_at, updated_at)
                    VALUES ('dee@example.com', '', now(), now()) RETURNING id";
    let id: i64 = sqlx::query_scalar(inserted)
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert!(id > last, "{id}");
}

#[tokio::test]
async fn two_restores_at_once_do_not_meet_and_no_program_works_meanwhile() {
    let cura = Cura::builder().servers(0).workers(0).start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = back_up(&cura, &folder, "a.tar");
    let place = Place::empty().await;
    // As a restore leaves it that was killed.
    let begun =
        "SET ROLE cura_tests_owner; CREATE SCHEMA cura_restore; CREATE TABLE cura_restore.unfinished (); RESET ROLE";
    sql(&place.database, begun).await;
    let variables = place.variables();
    for command in [
        &["users", "list"][..],
        &["migrate", "up"],
        &["backup", "--output", "/tmp/never"],
    ] {
        assert_fails(&variables, command, 1, "restore_unfinished");
    }
    for (program, arguments) in [
        ("cura-server", &["dev"][..]),
        ("cura-server", &[]),
        ("cura-worker", &[]),
    ] {
        let mut started = Program::start(program, arguments, &cura.variables_with(&variables));
        assert_eq!(started.ended().await, Some(1), "{}", started.logs());
        assert!(
            started.logs().contains("a restore of the database has not ended"),
            "{}",
            started.logs()
        );
    }
    sql(&place.database, "DROP SCHEMA cura_restore CASCADE").await;
    let mut holder = place.database.pool().acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7305376)")
        .execute(&mut *holder)
        .await
        .unwrap();
    assert_fails(
        &variables,
        &["restore", "--input", &file, "--yes"],
        1,
        "restore_running",
    );
    assert_eq!(place.tables().await, 0);
    holder.close().await.unwrap();
    json_of(&variables, &["restore", "--input", &file, "--yes"]);
}

#[tokio::test]
async fn without_redis_nothing_is_touched_and_it_can_be_run_again() {
    let cura = Cura::builder().servers(0).workers(0).start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = back_up(&cura, &folder, "a.tar");
    let place = Place::empty().await;
    let mut away = place.variables();
    away[1].1 = "redis://127.0.0.1:1".to_owned();
    let output = run_with(&away, &["restore", "--input", &file, "--yes", "--json"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("redis_away"));
    assert_eq!(place.tables().await, 0);
    json_of(&place.variables(), &["restore", "--input", &file, "--yes"]);
    json_of(&place.variables(), &["users", "list"]);
}

#[tokio::test]
async fn a_file_store_that_knows_nobody_who_was_erased_is_refused_before_anything_is_touched() {
    let cura = Cura::start().await;
    let ann = cura.client().register("ann@example.com").await;
    erase(&ann).await;
    eventually("Ann is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
    let suspended = cura.client().register("bob@example.com").await;
    drop(suspended);
    let folder = tempfile::tempdir().unwrap();
    let file = back_up(&cura, &folder, "a.tar");
    let place = Place::empty().await;
    let restore = ["restore", "--input", &file, "--yes"];
    assert_fails(&place.variables(), &restore, 3, "erasure_list_missing");
    assert_eq!(place.tables().await, 0);
    let restored = json_of(
        &place.variables(),
        &[&restore[..], &["--without-erasure-list"]].concat(),
    );
    assert_eq!(restored["erased_again"], 0, "{restored}");
    assert_eq!(
        super::names_in(&place.data.path().join(LIST)).len(),
        1,
        "it is written anew"
    );
    // What operators did since is told, and is undone.
    let suspend = ["users", "suspend", "bob@example.com", "--reason", "spam", "--yes"];
    json_of(&place.variables(), &suspend);
    let again = json_of(&place.variables(), &[&restore[..], &["--replace"]].concat());
    let acts = again["undone_acts"].as_array().unwrap();
    assert_eq!(
        (acts.len(), &acts[0]["action"]),
        (1, &json!("users.suspend")),
        "{again}"
    );
}
