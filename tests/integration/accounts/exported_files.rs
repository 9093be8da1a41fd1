//! What of the file store is in an archive, where the archive itself is kept, and what becomes of it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;

use cura_queue::DeleteObjects;
use cura_tests::problem::assert_problem;
use cura_tests::{Client, Cura, CuraBuilder, Form, Proxy, S3Server, eventually, s3_server};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::export::{export, file, hex};
use crate::files::samples;

/// The objects of archives.
const ARCHIVES: &str = "SELECT count(*) FROM export_objects WHERE is_stored";
const LISTED: &str = "SELECT count(*) FROM object_deletions";

pub(super) async fn sql(cura: &Cura, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(cura.database.pool())
        .await
        .unwrap();
}

pub(super) async fn clean(user: &Client, name: &str, bytes: impl AsRef<[u8]>) -> Value {
    let reply = user.upload(Form::of(name, bytes)).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let file = user.until_scanned(&reply.body["id"]).await;
    assert_eq!(file["status"], "clean", "{file}");
    file
}

pub(super) fn manifest(archive: &[u8]) -> Value {
    serde_json::from_slice(&file(archive, "manifest.json")).unwrap()
}

/// The names of all entries, and which of them are not compressed.
pub(super) fn names(archive: &[u8]) -> (Vec<String>, BTreeSet<String>) {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let (mut all, mut stored) = (Vec::new(), BTreeSet::new());
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at).unwrap();
        let mut content = Vec::new();
        // Its CRC is looked at.
        entry.read_to_end(&mut content).unwrap();
        let name = entry.name().unwrap().into_owned();
        if entry.compression() == zip::CompressionMethod::Stored {
            stored.insert(name.clone());
        }
        all.push(name);
    }
    (all, stored)
}

async fn path_of(cura: &Cura, query: &'static str) -> PathBuf {
    let key: String = sqlx::query_scalar(query).fetch_one(cura.database.pool()).await.unwrap();
    cura.data.path().join("files").join(key)
}

/// What is kept in the store as an archive.
fn archives(cura: &Cura) -> usize {
    let Ok(users) = std::fs::read_dir(cura.data.path().join("files")) else {
        return 0;
    };
    let objects = users
        .filter_map(|user| std::fs::read_dir(user.unwrap().path()).ok())
        .flatten();
    objects
        .filter(|object| {
            object
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|end| end == "zip")
        })
        .count()
}

#[tokio::test]
async fn an_archive_has_the_clean_files_as_they_are_and_names_the_others() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let mut expected = Vec::new();
    for sample in samples::all() {
        let kept = clean(&user, sample.name, &sample.bytes).await;
        expected.push((format!("files/{}-{}", kept["id"], sample.name), kept, sample.bytes));
    }
    // Of the same name, and of one that no system takes.
    for name in ["photo.jpg", "a:b?.jpg"] {
        let kept = clean(&user, name, samples::JPEG).await;
        let name = format!("files/{}-{}", kept["id"], name.replace([':', '?'], "_"));
        expected.push((name, kept, samples::JPEG.to_vec()));
    }
    let mut others = Vec::new();
    for number in 0..4 {
        others.push(clean(&user, "other.png", samples::png_number(number)).await["id"].clone());
    }
    let set = |id: &Value, what: &str| format!("UPDATE files SET {what} WHERE id = {id}");
    for (id, what) in [
        (
            &others[0],
            "status = 'infected', reason_code = 'malware', reason_signature = 'Win.Test'",
        ),
        (&others[1], "status = 'failed', reason_code = 'encrypted'"),
        (&others[2], "status = 'scanning'"),
    ] {
        sql(&cura, &set(id, what)).await;
    }
    let gone = path_of(&cura, "SELECT object_key FROM files ORDER BY id DESC LIMIT 1").await;
    std::fs::remove_file(gone).unwrap();
    let avatar = Form::of("me.png", samples::PNG);
    let request = user.request(Method::POST, "/users/me/avatar");
    let request = request.header("content-type", avatar.content_type()).body(avatar.end());
    assert_eq!(user.send(request).await.status, 200);

    let archive = export(&user).await;
    let manifest = manifest(&archive);
    let (names, stored) = names(&archive);
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    let entry = |name: &str| {
        let files = manifest["files"].as_array().unwrap();
        let entry = files.iter().find(|entry| entry["name"] == name);
        entry.unwrap_or_else(|| panic!("{name}: {manifest:#}")).clone()
    };
    for (name, kept, bytes) in &expected {
        assert!(file(&archive, name) == *bytes, "{name}");
        let described = json!({ "name": name, "file_id": kept["id"], "bytes": bytes.len(), "sha256": hex(bytes) });
        assert_eq!(entry(name), described);
        assert!(stored.contains(name), "{name}");
        assert_eq!(hex(bytes), kept["sha256"].as_str().unwrap());
    }
    let squares: Vec<&String> = names.iter().filter(|name| name.starts_with("avatar/")).collect();
    assert_eq!(squares.len(), 2, "{names:?}");
    for (name, begins) in squares.iter().zip(["avatar/512.", "avatar/128."]) {
        assert!(name.starts_with(begins) && stored.contains(*name), "{name}");
        assert_eq!(entry(name)["sha256"], hex(&file(&archive, name)));
    }
    assert_eq!(
        names.iter().filter(|name| name.starts_with("files/")).count(),
        expected.len()
    );
    let malware = json!({ "code": "malware", "signature": "Win.Test" });
    let encrypted = json!({ "code": "encrypted", "signature": null });
    assert_eq!(
        manifest["left_out"],
        json!([
            { "file_id": others[0], "why": "infected", "filename": "other.png", "reason": malware },
            { "file_id": others[1], "why": "failed", "filename": "other.png", "reason": encrypted },
            { "file_id": others[2], "why": "scanning", "filename": "other.png", "reason": null },
            { "file_id": others[3], "why": "missing" },
        ])
    );
    assert!(!cura.logs().contains("other.png"));
    // The archive is an object of the store, and nothing of it is in Postgres.
    assert_eq!((archives(&cura), cura.database.count(ARCHIVES).await), (1, 1));
    assert_eq!(cura.database.count("SELECT count(*) FROM export_parts").await, 0);
}

#[tokio::test]
async fn a_picture_of_the_person_that_is_missing_is_named() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let avatar = Form::of("me.png", samples::PNG);
    let request = user.request(Method::POST, "/users/me/avatar");
    let request = request.header("content-type", avatar.content_type()).body(avatar.end());
    assert_eq!(user.send(request).await.status, 200);
    let gone = path_of(&cura, "SELECT object_key FROM avatar_pictures WHERE side = 512").await;
    std::fs::remove_file(&gone).unwrap();
    let archive = export(&user).await;
    let end = gone.extension().unwrap().to_str().unwrap();
    assert_eq!(
        manifest(&archive)["left_out"],
        json!([{ "name": format!("avatar/512.{end}"), "why": "missing" }])
    );
    assert!(!file(&archive, &format!("avatar/128.{end}")).is_empty());
    assert!(
        cura.workers[0]
            .logs()
            .contains("an avatar is not in the file store as it was")
    );
}

#[tokio::test]
async fn a_file_that_is_deleted_while_the_archive_is_made_is_named() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let (first, second) = (
        clean(&user, "a.png", samples::PNG).await,
        clean(&user, "b.png", samples::png_number(1)).await,
    );
    // The snapshot has begun, and waits for this table.
    let mut holder = cura.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    assert_eq!(user.get("/users/me/export").await.status, 202);
    cura.database.wait_for_lock_waiter().await;
    sql(&cura, &format!("DELETE FROM files WHERE id = {}", first["id"])).await;
    holder.commit().await.unwrap();
    let archive = export(&user).await;
    assert_eq!(
        manifest(&archive)["left_out"],
        json!([{ "file_id": first["id"], "why": "deleted" }])
    );
    assert!(file(&archive, &format!("files/{}-b.png", second["id"])) == samples::png_number(1));
}

#[tokio::test]
async fn an_export_that_is_not_wanted_any_more_reads_no_file() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    clean(&user, "a.png", samples::PNG).await;
    // Reading it would be reported.
    std::fs::remove_file(path_of(&cura, "SELECT object_key FROM files").await).unwrap();
    let mut holder = cura.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    assert_eq!(user.get("/users/me/export").await.status, 202);
    cura.database.wait_for_lock_waiter().await;
    sql(&cura, "DELETE FROM exports").await;
    holder.commit().await.unwrap();
    cura.workers[0].wait_for_log("it is no longer wanted").await;
    assert!(!cura.logs().contains("an archive goes without it"));
    assert_eq!(archives(&cura), 0);
}

#[tokio::test]
async fn an_archive_that_goes_takes_its_object_with_it() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let kept = clean(&user, "a.png", samples::PNG).await;
    let gone = async |what: &str| {
        sql(&cura, "UPDATE object_deletions SET due_at = now()").await;
        eventually(what, async || {
            (archives(&cura) == 0 && cura.database.count(LISTED).await == 0).then_some(())
        })
        .await;
    };
    export(&user).await;
    let deleted = user.send(user.request(Method::DELETE, "/users/me/export")).await;
    assert_eq!(deleted.status, 204);
    gone("the archive is deleted").await;
    export(&user).await;
    let path = format!("/uploads/{}", kept["id"]);
    assert_eq!(user.send(user.request(Method::DELETE, &path)).await.status, 204);
    gone("a file of it is deleted").await;
    // Its hour is over: the next one is another.
    export(&user).await;
    sql(&cura, "UPDATE exports SET expires_at = now()").await;
    export(&user).await;
    let job = DeleteObjects {
        period: -1,
        file_id: None,
    };
    let mut connection = cura.database.pool().acquire().await.unwrap();
    cura_queue::enqueue(&mut connection, &job).await.unwrap();
    eventually("the first of them is deleted", async || {
        (archives(&cura) == 1).then_some(())
    })
    .await;
    // It is not in the store any more: it is made again.
    std::fs::remove_file(path_of(&cura, "SELECT object_key FROM export_objects").await).unwrap();
    assert_eq!(user.get("/users/me/export").await.status, 202);
    export(&user).await;
    assert_eq!(cura.database.count(ARCHIVES).await, 1);
}

#[tokio::test]
async fn an_erasure_waits_until_the_archive_is_gone() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    export(&user).await;
    let path = path_of(&cura, "SELECT object_key FROM export_objects").await;
    // One that the store cannot delete: a folder with something in it.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("x"), "x").unwrap();
    let request = user.request(Method::DELETE, "/users/me");
    let erased = user.send(request.json(&json!({ "password": "a long password" }))).await;
    assert_eq!(erased.status, 204);
    eventually("it was tried", async || {
        let tried = "SELECT count(*) FROM object_deletions WHERE attempts > 0";
        (cura.database.count(tried).await == 1).then_some(())
    })
    .await;
    assert_eq!(cura.database.count("SELECT count(*) FROM users").await, 1);
    std::fs::remove_dir_all(&path).unwrap();
    sql(&cura, "UPDATE object_deletions SET due_at = now()").await;
    eventually("the person is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
    assert_eq!((cura.database.count(LISTED).await, archives(&cura)), (0, 0));
}

fn on_s3(port: u16) -> CuraBuilder {
    Cura::builder()
        .with("STORAGE_PROVIDER", "s3")
        .with("S3_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .with("S3_REGION", "us-east-1")
        .with("S3_BUCKET", s3_server::BUCKET)
        .with("S3_ACCESS_KEY_ID", s3_server::ACCESS_KEY_ID)
        .with("S3_SECRET_ACCESS_KEY", s3_server::SECRET_ACCESS_KEY)
}

#[tokio::test]
async fn while_the_file_store_is_away_an_archive_waits_and_none_is_given_out() {
    let s3 = S3Server::start().await;
    let port = s3.url().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::to_port(port).await;
    let cura = on_s3(proxy.port()).start().await;
    let user = cura.user().await;
    let kept = clean(&user, "a.png", samples::PNG).await;
    proxy.cut();
    assert_eq!(user.get("/users/me/export").await.status, 202);
    eventually("it waits", async || {
        let waiting = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'export-account' AND status = 'Pending' AND run_at > now()";
        (cura.database.count(waiting).await == 1).then_some(())
    })
    .await;
    let attempts = "SELECT max(attempts)::bigint FROM apalis.jobs WHERE job_type = 'export-account'";
    assert_eq!(cura.database.count(attempts).await, 0);
    proxy.restore();
    sql(
        &cura,
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'export-account'",
    )
    .await;
    let archive = export(&user).await;
    assert!(file(&archive, &format!("files/{}-a.png", kept["id"])) == samples::PNG);
    proxy.cut();
    let away = user.get("/users/me/export").await;
    assert_problem(&away, 503, "away");
    assert_eq!(
        (away.code(), away.header("retry-after").is_some()),
        ("storage_unavailable", true)
    );
    proxy.restore();
    assert_eq!(export(&user).await, archive, "it is still there");
}

#[tokio::test]
async fn an_archive_does_not_count_for_what_its_person_may_keep() {
    let mut cura = Cura::builder().with("USER_STORAGE_MB", "1").start().await;
    let user = cura.user().await;
    let half = 400 * 1024;
    clean(&user, "a.png", samples::png_of(half)).await;
    assert!(export(&user).await.len() > half);
    cura.workers.clear();
    // Deleted, and not yet from the store.
    assert_eq!(
        user.send(user.request(Method::DELETE, "/users/me/export")).await.status,
        204
    );
    assert_eq!(cura.database.count(LISTED).await, 1);
    let second = user.upload(Form::of("b.png", samples::png_of(half))).await;
    assert_eq!(second.status, 201, "{}", second.body);
    let third = user.upload(Form::of("c.png", samples::png_of(half))).await;
    assert_eq!(third.status, 413, "{}", third.body);
}

/// The most memory that a process has had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn many_large_files_are_packed_and_sent_piece_by_piece() {
    const FILES: i64 = 30;
    const SIZE: usize = 10 * 1024 * 1024;
    let cura = Cura::start().await;
    let user = cura.user().await;
    clean(&user, "a.png", samples::PNG).await;
    sql(
        &cura,
        &format!(
            "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, created_at, updated_at)
             SELECT 1, '1/00000000-0000-4000-8000-' || lpad(n::text, 12, '0') || '.pdf', 'large.pdf', 'pdf', {SIZE}, 'x', 'clean', now(), now()
             FROM generate_series(1, {FILES}) n"
        ),
    )
    .await;
    let content: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
    for n in 1..=FILES {
        let path = format!("files/1/00000000-0000-4000-8000-{n:012}.pdf");
        std::fs::write(cura.data.path().join(path), &content).unwrap();
    }
    let pids = [cura.servers[0].program.pid(), cura.workers[0].pid()];
    let before = pids.map(peak);
    let archive = export(&user).await;
    assert!(archive.len() > SIZE * FILES as usize);
    let (names, stored) = names(&archive);
    assert_eq!(
        names.iter().filter(|name| name.ends_with("-large.pdf")).count() as i64,
        FILES
    );
    assert!(stored.len() as i64 > FILES);
    for (pid, before) in pids.into_iter().zip(before) {
        let more = peak(pid) - before;
        assert!(more < 64 * 1024, "{more} KiB more");
    }
}

#[tokio::test]
async fn a_manifest_of_very_many_files_is_not_held_in_memory() {
    const FILES: i64 = 40_000;
    let cura = Cura::start().await;
    let user = cura.user().await;
    clean(&user, "a.png", samples::PNG).await;
    sql(
        &cura,
        &format!(
            "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, reason_code, created_at, updated_at)
             SELECT 1, '1/00000000-0000-4000-8000-' || lpad(n::text, 12, '0') || '.pdf', 'a.pdf', 'pdf', 1, 'x', 'failed',
                    'unreadable', now(), now()
             FROM generate_series(1, {FILES}) n"
        ),
    )
    .await;
    let before = peak(cura.workers[0].pid());
    let archive = export(&user).await;
    assert_eq!(manifest(&archive)["left_out"].as_array().unwrap().len() as i64, FILES);
    let more = peak(cura.workers[0].pid()) - before;
    assert!(more < 24 * 1024, "{more} KiB more");
}
