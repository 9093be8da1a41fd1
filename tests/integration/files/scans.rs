//! What becomes of a file that is scanned: a worker, the child that it starts, and a real clamd.

use std::time::Duration;

use cura_tests::clamd::{Clamd, EICAR_SIGNATURE, eicar};
use cura_tests::{Client, Cura, CuraBuilder, Form, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::{clean_up, execute, objects, samples};
use crate::providers::scan::samples::{docx_with, encrypted_zip, png_followed_by, png_with_chunk};

/// Uploads a file, and gives its id.
async fn upload(user: &Client, name: &str, bytes: impl AsRef<[u8]>) -> Value {
    let reply = user.upload(Form::of(name, bytes)).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.body["status"]),
        (201, &json!("scanning")),
        "{}",
        reply.body
    );
    reply.body["id"].clone()
}

fn with_clamd(clamd: &Clamd) -> CuraBuilder {
    Cura::builder().with("CLAMD_ADDRESS", clamd.address())
}

#[tokio::test]
async fn every_type_is_clean_and_what_is_made_of_it_is_kept() {
    let clamd = Clamd::start(&[]).await;
    let cura = with_clamd(&clamd).start().await;
    let user = cura.user().await;
    let mut events = user.watch(None).await;
    let mut pictures = 0;
    for sample in samples::all() {
        let id = upload(&user, sample.name, &sample.bytes).await;
        let file = user.until_scanned(&id).await;
        assert_eq!(
            (&file["status"], &file["findings"]),
            (&json!("clean"), &json!([])),
            "{}: {file}",
            sample.name
        );
        pictures += if sample.media_type.starts_with("image/") { 2 } else { 0 };
        // One of the upload, one of the scan: the first may show the end already.
        loop {
            let event = events.next().await.unwrap();
            let shown = &event.data["upload"];
            if event.name == "upload" && (&shown["id"], &shown["status"]) == (&file["id"], &file["status"]) {
                assert_eq!(shown["findings"], file["findings"]);
                assert!(shown["url"].is_string(), "{shown}");
                break;
            }
        }
    }
    let stored = "SELECT count(*) FROM file_pictures WHERE is_stored AND media_type IN ('image/jpeg', 'image/png')";
    assert_eq!(cura.database.count(stored).await, pictures);
    let texts = "SELECT count(*) FROM file_texts WHERE content <> ''";
    assert!(cura.database.count(texts).await >= 1, "the text of documents is kept");
    assert_eq!(objects(&cura).len() as i64, samples::all().len() as i64 + pictures);
    // With its person, all of it goes.
    let request = user.request(Method::DELETE, "/users/me");
    let erased = user.send(request.json(&json!({ "password": "a long password" }))).await;
    assert!(erased.status.is_success(), "{}", erased.body);
    eventually("the person is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
    assert!(objects(&cura).is_empty(), "{:?}", objects(&cura));
    for left in [
        "SELECT count(*) FROM files",
        "SELECT count(*) FROM file_pictures",
        "SELECT count(*) FROM file_texts",
        "SELECT count(*) FROM object_deletions",
    ] {
        assert_eq!(cura.database.count(left).await, 0, "{left}");
    }
}

#[tokio::test]
async fn what_is_infected_is_deleted_and_its_row_says_why() {
    let clamd = Clamd::start(&[]).await;
    let cura = with_clamd(&clamd).start().await;
    let user = cura.user().await;
    for (name, bytes) in [
        ("letter.docx", docx_with(&eicar())),
        ("chunk.png", png_with_chunk(&eicar())),
        ("behind.png", png_followed_by(&eicar())),
    ] {
        let id = upload(&user, name, bytes).await;
        let file = user.until_scanned(&id).await;
        let reason = json!({ "code": "malware", "signature": EICAR_SIGNATURE });
        assert_eq!(
            (&file["status"], &file["reason"]),
            (&json!("infected"), &reason),
            "{name}: {file}"
        );
    }
    eventually("their bytes are deleted", async || {
        objects(&cura).is_empty().then_some(())
    })
    .await;
    assert_eq!(user.get("/uploads").await.body["items"].as_array().unwrap().len(), 3);
    clean_up(&cura, 1).await;
    assert!(!cura.logs().contains("letter.docx"));
}

#[tokio::test]
async fn what_cannot_be_looked_into_has_failed_and_says_why() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    for (name, bytes, code) in [
        ("secret.docx", locked_docx(), "encrypted"),
        ("large.png", png_that_says(30_000, 30_000), "limits_exceeded"),
        ("broken.png", png_that_says(3_000, 3_000), "unreadable"),
    ] {
        let id = upload(&user, name, bytes).await;
        let file = user.until_scanned(&id).await;
        assert_eq!(
            (&file["status"], &file["reason"]["code"]),
            (&json!("failed"), &json!(code)),
            "{name}: {file}"
        );
    }
    assert_eq!(cura.database.count("SELECT count(*) FROM file_pictures").await, 0);
}

#[tokio::test]
async fn a_scanner_that_is_away_is_waited_for_without_spending_attempts() {
    let clamd = Clamd::start(&[]).await;
    let cura = with_clamd(&clamd).start().await;
    let user = cura.user().await;
    clamd.signal("STOP");
    let id = upload(&user, "a.png", samples::PNG).await;
    let waits =
        "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload' AND status = 'Pending' AND run_at > now()";
    eventually("the scan is put off", async || {
        (cura.database.count(waits).await == 1).then_some(())
    })
    .await;
    assert_eq!(user.get(&format!("/uploads/{id}")).await.body["status"], "scanning");
    let attempts = "SELECT COALESCE(max(attempts), 0)::bigint FROM apalis.jobs WHERE job_type = 'scan-upload'";
    assert_eq!(cura.database.count(attempts).await, 0);
    let clamd_is = async |wanted: &str| {
        eventually("health knows of the scanner", async || {
            let health = cura.client().get("/health").await.body;
            (health["scanner"] == json!({ "status": wanted, "clamd": wanted, "sandbox": "up" })).then_some(())
        })
        .await;
    };
    clamd_is("down").await;
    clamd.signal("CONT");
    clamd_is("up").await;
    execute(
        &cura,
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'scan-upload'",
    )
    .await;
    assert_eq!(user.until_scanned(&id).await["status"], "clean");
}

#[tokio::test]
async fn after_a_day_without_the_scanner_a_file_has_failed() {
    let mut clamd = Clamd::start(&[]).await;
    let address = clamd.address();
    clamd.kill();
    let cura = Cura::builder().with("CLAMD_ADDRESS", address).start().await;
    let user = cura.user().await;
    let id = upload(&user, "a.png", samples::PNG).await;
    let put_off = "SELECT count(*) FROM files WHERE postponed_since IS NOT NULL";
    eventually("the scan is put off", async || {
        (cura.database.count(put_off).await == 1).then_some(())
    })
    .await;
    execute(&cura, "UPDATE files SET postponed_since = now() - interval '24 hours'").await;
    execute(
        &cura,
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'scan-upload'",
    )
    .await;
    let file = user.until_scanned(&id).await;
    assert_eq!(
        (&file["status"], &file["reason"]["code"]),
        (&json!("failed"), &json!("scanner_unavailable"))
    );
    assert_eq!(objects(&cura).len(), 1, "its bytes are kept");
}

#[tokio::test]
async fn a_file_whose_bytes_are_gone_has_failed_after_minutes_unless_the_store_is_away() {
    for is_store_away in [false, true] {
        let mut cura = Cura::without_workers().await;
        let user = cura.user().await;
        let id = upload(&user, "a.png", samples::PNG).await;
        let folder = cura.data.path().join("files");
        let object = folder.join("1").join(&objects(&cura)[0]);
        if is_store_away {
            std::fs::rename(&folder, cura.data.path().join("away")).unwrap();
            cura.add_worker().await;
            // It has made the folder at its start; a mount that goes away leaves none.
            std::fs::remove_dir_all(&folder).unwrap();
        } else {
            std::fs::remove_file(object).unwrap();
            cura.add_worker().await;
        }
        let again = async |since: &str| {
            let snoozed = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload' AND status = 'Pending' AND run_at > now()
                           AND EXISTS (SELECT FROM files WHERE postponed_since IS NOT NULL OR status <> 'scanning')";
            eventually(&format!("the scan is put off before {since}"), async || {
                (cura.database.count(snoozed).await == 1).then_some(())
            })
            .await;
            execute(
                &cura,
                &format!("UPDATE files SET postponed_since = now() - interval '{since}'"),
            )
            .await;
            execute(
                &cura,
                "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'scan-upload'",
            )
            .await;
        };
        again("1 minute").await;
        again("11 minutes").await;
        if is_store_away {
            again("23 hours").await;
            // It looks again by itself.
            std::fs::rename(cura.data.path().join("away"), &folder).unwrap();
            assert_eq!(user.until_scanned(&id).await["status"], "clean");
        } else {
            let file = user.until_scanned(&id).await;
            assert_eq!(
                (&file["status"], &file["reason"]["code"]),
                (&json!("failed"), &json!("unreadable"))
            );
        }
    }
}

#[tokio::test]
async fn a_file_that_goes_while_it_is_scanned_leaves_nothing() {
    let clamd = Clamd::start(&[]).await;
    let cura = with_clamd(&clamd).start().await;
    let user = cura.user().await;
    for n in 0..10 {
        let id = upload(&user, "photo.jpg", samples::JPEG).await;
        // Another moment of the scan each time, which takes a tenth of a second.
        tokio::time::sleep(Duration::from_millis(12 * n)).await;
        assert_eq!(
            user.send(user.request(Method::DELETE, &format!("/uploads/{id}")))
                .await
                .status,
            204
        );
    }
    eventually("no scan is left", async || {
        let unfinished =
            "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload' AND status NOT IN ('Done', 'Killed')";
        (cura.database.count(unfinished).await == 0).then_some(())
    })
    .await;
    clean_up(&cura, 1).await;
    assert!(objects(&cura).is_empty(), "{:?}", objects(&cura));
}

#[tokio::test]
async fn a_worker_that_dies_in_a_scan_leaves_it_to_another() {
    let clamd = Clamd::start(&[]).await;
    let mut cura = with_clamd(&clamd).start().await;
    let user = cura.user().await;
    clamd.signal("STOP");
    let id = upload(&user, "photo.jpg", samples::JPEG).await;
    let running = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload' AND status = 'Running'";
    eventually("the scan runs", async || {
        (cura.database.count(running).await == 1).then_some(())
    })
    .await;
    cura.workers[0].kill();
    clamd.signal("CONT");
    cura.add_worker().await;
    assert_eq!(user.until_scanned(&id).await["status"], "clean");
    assert_eq!(objects(&cura).len(), 3);
    clean_up(&cura, 1).await;
    assert_eq!(objects(&cura).len(), 3);
}

#[tokio::test]
async fn files_that_wait_without_a_job_are_scanned() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let id = upload(&user, "a.png", samples::PNG).await;
    execute(&cura, "DELETE FROM apalis.jobs WHERE job_type = 'scan-upload'").await;
    execute(&cura, "UPDATE files SET updated_at = now() - interval '31 minutes'").await;
    cura.add_worker().await;
    assert_eq!(user.until_scanned(&id).await["status"], "clean");
}

/// A document whose entries say that they have a password.
fn locked_docx() -> Vec<u8> {
    let mut docx = docx_with(b"words");
    let locked = encrypted_zip();
    assert!(!locked.is_empty());
    // The flags of each entry but the list of content types, by which the document is known.
    let names = [&b"word/embeddings/object.bin"[..]];
    for name in names {
        let places: Vec<usize> = (0..docx.len() - name.len())
            .filter(|at| docx[*at..].starts_with(name))
            .collect();
        // Behind 30 bytes of the entry, and behind 46 of the directory.
        docx[places[0] - 30 + 6] |= 1;
        docx[places[1] - 46 + 8] |= 1;
    }
    docx
}

/// A picture that says it is so large, and is not.
pub(super) fn png_that_says(width: u32, height: u32) -> Vec<u8> {
    let mut png = samples::PNG.to_vec();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &png[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
        }
    }
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}
