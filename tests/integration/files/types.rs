//! What is taken, by its content, and how it is named.

use cura_tests::{Cura, Form};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{assert_code, assert_nothing_is_kept, objects, rows, samples};

#[tokio::test]
async fn a_file_of_each_type_is_kept_whole_under_its_own_type_and_name() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let me = user.get("/users/me").await.body["id"].as_i64().unwrap();
    for sample in samples::all() {
        let reply = user.upload(Form::of(sample.name, &sample.bytes)).await;
        assert_eq!(reply.status, 201, "{}: {}", sample.name, reply.body);
        let sha256: String = Sha256::digest(&sample.bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut shown = reply.body.clone();
        let id = shown["id"].as_i64().unwrap();
        assert_eq!(reply.header("location"), Some(format!("/uploads/{id}").as_str()));
        assert_eq!(reply.header("idempotent-replayed"), None);
        shown["created_at"].take();
        let expected = json!({
            "id": id, "filename": sample.name, "content_type": sample.media_type, "size": sample.bytes.len(), "sha256": sha256,
            "status": "scanning", "reason": null, "findings": [], "message_id": null, "created_at": null,
            "url": null, "thumbnail_url": null, "expires_in": null,
        });
        assert_eq!(shown, expected);
        assert_eq!(user.get(&format!("/uploads/{id}")).await.body, reply.body);
        let key: String = sqlx::query_scalar("SELECT object_key FROM files WHERE id = $1")
            .bind(id)
            .fetch_one(cura.database.pool())
            .await
            .unwrap();
        assert!(key.starts_with(&format!("{me}/")), "{key}");
        assert_eq!(
            std::fs::read(cura.data.path().join("files").join(key)).unwrap(),
            sample.bytes
        );
    }
    let kept = samples::all().len();
    assert_eq!((rows(&cura).await, objects(&cura).len()), (kept as i64, kept));
}

#[tokio::test]
async fn neither_the_name_nor_the_type_in_the_form_is_believed() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let headers = "Content-Disposition: form-data; name=\"file\"; filename=\"page.html\"\r\nContent-Type: text/html";
    let reply = user.upload(Form::default().part(headers, samples::PNG)).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(
        (&reply.body["content_type"], &reply.body["filename"]),
        (&json!("image/png"), &json!("page.html"))
    );
}

#[tokio::test]
async fn what_is_of_no_known_type_or_cut_short_is_refused_with_advice() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let heic = [b"\0\0\0\x18ftypheic\0\0\0\0".as_slice(), &[0; 200]].concat();
    for (what, bytes, status, code) in [
        ("nothing", vec![], 422, "damaged_file"),
        ("a text", b"only words".to_vec(), 415, "unsupported_file_type"),
        (
            "a page",
            b"<html><script>alert(1)</script>%PDF-1.4".to_vec(),
            415,
            "unsupported_file_type",
        ),
        ("an iPhone's photo", heic, 415, "unsupported_file_type"),
        (
            "half a photo",
            samples::JPEG[..samples::JPEG.len() / 2].to_vec(),
            422,
            "damaged_file",
        ),
        (
            "half a PDF",
            samples::PDF[..samples::PDF.len() / 2].to_vec(),
            422,
            "damaged_file",
        ),
    ] {
        // The name says something else.
        let reply = user.upload(Form::of("photo.jpg", bytes)).await;
        assert_code(&reply, status, code, what);
        let detail = reply.body["detail"].as_str().unwrap();
        assert!(what != "an iPhone's photo" || detail.contains("JPEG"), "{detail}");
    }
    assert_nothing_is_kept(&cura, "refused").await;
}

#[tokio::test]
async fn a_name_is_its_last_part_without_tricks() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let long = format!("{}.png", "ä".repeat(300));
    for (sent, shown) in [
        ("photo.png", "photo.png".to_owned()),
        ("../../etc/passwd", "passwd".to_owned()),
        ("C:\\\\Users\\\\ann\\\\photo.png", "photo.png".to_owned()),
        ("invoice\u{202e}gnp.exe", "invoicegnp.exe".to_owned()),
        ("a\u{0}b.png", "ab.png".to_owned()),
        ("", "file.png".to_owned()),
        ("..", "file.png".to_owned()),
        (&long, format!("{}.png", "ä".repeat(251))),
    ] {
        if sent.contains('\u{0}') {
            // No header can hold it.
            let reply = user.upload(Form::of(sent, samples::PNG)).await;
            assert_code(&reply, 400, "malformed_body", sent);
            continue;
        }
        let reply = user.upload(Form::of(sent, samples::PNG)).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body["filename"]),
            (201, &json!(shown)),
            "{sent}"
        );
    }
    let extended = "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''na%C3%AFve.png";
    let reply = user.upload(Form::default().part(extended, samples::PNG)).await;
    assert_eq!(reply.body["filename"], "na\u{ef}ve.png");
    let both = format!("{extended}; filename=\"=?utf-8?B?bmHDr3ZlLnBuZw==?=\"");
    let reply = user.upload(Form::default().part(&both, samples::PNG)).await;
    assert_eq!(reply.body["filename"], "na\u{ef}ve.png");
    let unnamed = Form::default().part("Content-Disposition: form-data; name=\"file\"", samples::PNG);
    assert_eq!(user.upload(unnamed).await.body["filename"], "file.png");
}
