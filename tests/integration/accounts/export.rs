//! Exporting an account: one archive with everything of the user and nothing of others.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use cura_store::personal_data::{Export, TABLES};
use cura_tests::{Client, Cura, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::erasure::user_with_everything;

/// Waits for the export of this account and returns it.
pub(crate) async fn export(client: &Client) -> Vec<u8> {
    eventually("the archive is made", async || {
        let response = client.request(Method::GET, "/users/me/export").send().await.unwrap();
        if response.status() == 202 {
            assert!(response.headers().contains_key("retry-after"));
            return None;
        }
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/zip");
        let (length, etag) = (
            response.content_length().unwrap(),
            response.headers()["etag"].to_str().unwrap().to_owned(),
        );
        let bytes = response.bytes().await.unwrap().to_vec();
        assert_eq!(bytes.len() as u64, length);
        assert_eq!(etag, format!("\"{}\"", hex(&bytes)));
        Some(bytes)
    })
    .await
}

pub(super) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn file(archive: &[u8], name: &str) -> Vec<u8> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let mut content = Vec::new();
    zip.by_name(name).unwrap().read_to_end(&mut content).unwrap();
    content
}

#[tokio::test]
async fn an_archive_holds_everything_and_says_so_itself() {
    let provider = ScriptedProvider::answering(&["Hello ", "wörld"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let (ann, id) = user_with_everything(&cura, "ann@example.com").await;
    user_with_everything(&cura, "bob@example.com").await;
    // The one made above is old; what was said since is in the next one.
    sqlx::query("UPDATE exports SET expires_at = now()")
        .execute(cura.database.pool())
        .await
        .unwrap();
    let gone = ann
        .post("/chat/send", &json!({ "content": "a deleted word" }))
        .await
        .body;
    let path = format!("/conversations/{}", gone["conversation_id"]);
    ann.send(ann.request(Method::DELETE, &path)).await;
    let archive = export(&ann).await;
    let manifest: Value = serde_json::from_slice(&file(&archive, "manifest.json")).unwrap();
    assert_eq!(manifest["about"]["user_id"], id.0);
    let listed: BTreeSet<&str> = manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let name = entry["name"].as_str().unwrap();
            let content = file(&archive, name);
            assert_eq!(entry["sha256"].as_str(), Some(hex(&content).as_str()), "{name}");
            assert_eq!(entry["bytes"], content.len());
            if name.contains('/') {
                // A file or a picture of hers, as it is.
                return name;
            }
            let lines: Vec<Value> = std::str::from_utf8(&content)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(entry["lines"], lines.len());
            assert!(!lines.is_empty(), "{name}");
            name
        })
        .collect();
    let promised: BTreeSet<&str> = TABLES
        .iter()
        .filter_map(|table| match table.export {
            Export::File { name, .. } => Some(name),
            Export::Nothing { .. } => None,
        })
        .collect();
    let (objects, tables): (BTreeSet<&str>, BTreeSet<&str>) = listed.iter().partition(|name| name.contains('/'));
    assert_eq!(tables, promised);
    assert_eq!(objects.len(), 4, "two files, and a picture in two sizes: {objects:?}");
    assert_eq!(manifest["left_out"], json!([]));
    let messages = String::from_utf8(file(&archive, "messages.jsonl")).unwrap();
    assert!(messages.contains("my secret words") && messages.contains("Hello wörld"));
    assert!(!messages.contains("a deleted word"));
    let everything: String = promised
        .iter()
        .map(|name| String::from_utf8(file(&archive, name)).unwrap())
        .collect();
    assert!(!everything.contains("bob@example.com") && !everything.contains("argon2"));
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE user_id = $1 AND kind = 'export'")
        .bind(id.0)
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(events, 2, "an event says that it is ready");
}

#[tokio::test]
async fn a_large_archive_comes_in_pieces_and_two_requests_make_one() {
    let cura = Cura::start().await;
    let ann = cura.user().await;
    let id = ann.get("/users/me").await.body["id"].as_i64().unwrap();
    // Words that do not compress.
    let fill = "WITH c AS (
                    INSERT INTO conversations (user_id, last_message_at, created_at, updated_at)
                    VALUES ($1, now(), now(), now()) RETURNING id
                )
                INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
                SELECT c.id, $1, 'user', (SELECT string_agg(md5(random()::text || n.n || m), '') FROM generate_series(1, 30) m),
                       'sent', now(), now()
                FROM c, generate_series(1, 3000) n (n)";
    sqlx::query(fill).bind(id).execute(cura.database.pool()).await.unwrap();
    let (first, second) = tokio::join!(export(&ann), export(&ann));
    assert_eq!(first, second);
    assert!(first.len() > 1_000_000, "{} bytes", first.len());
    let lines = file(&first, "messages.jsonl")
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    assert_eq!(lines, 3000);
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE job_type = 'export-account'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(jobs, 1);
}

#[tokio::test]
async fn a_deleted_conversation_is_in_no_export_and_an_export_can_be_deleted() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let secret = ann
        .post("/chat/send", &json!({ "content": "a secret thing" }))
        .await
        .body;
    let messages = |archive: &[u8]| String::from_utf8(file(archive, "messages.jsonl")).unwrap();
    assert!(messages(&export(&ann).await).contains("a secret thing"));
    let path = format!("/conversations/{}", secret["conversation_id"]);
    assert_eq!(ann.send(ann.request(Method::DELETE, &path)).await.status, 204);
    assert!(!messages(&export(&ann).await).contains("a secret thing"));
    ann.post("/chat/send", &json!({ "content": "something new" })).await;
    assert!(
        !messages(&export(&ann).await).contains("something new"),
        "it is kept for a while"
    );
    for _ in 0..2 {
        let thrown = ann.send(ann.request(Method::DELETE, "/users/me/export")).await;
        assert_eq!(thrown.status, 204);
    }
    assert!(messages(&export(&ann).await).contains("something new"));
}
