//! Uploads that arrive in parts (TUS 1.0): whatever arrived is there, whichever server it came to, and becomes one file.

mod broken_lines;
mod completing;
mod headers;
mod limits;
mod tus_js_client;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cura_tests::{Client, Cura, Reply, eventually};
use reqwest::{Body, Method, RequestBuilder};
use sha2::{Digest, Sha256};

use super::{assert_code, assert_nothing_is_kept, objects, rows, samples};

const PATH: &str = "/uploads/resumable";
const PART: &str = "application/offset+octet-stream";

/// A request of TUS 1.0.
fn tus(user: &Client, method: Method, path: &str) -> RequestBuilder {
    user.request(method, path).header("Tus-Resumable", "1.0.0")
}

/// `Upload-Metadata` with this name.
fn named(name: &str) -> String {
    format!("filename {}", BASE64_STANDARD.encode(name))
}

async fn try_begin(user: &Client, length: usize) -> Reply {
    let request = tus(user, Method::POST, PATH).header("Upload-Length", length);
    user.send(request.header("Upload-Metadata", named("a.png"))).await
}

/// Begins an upload of so many bytes, and returns its path.
async fn begin(user: &Client, length: usize) -> String {
    let reply = try_begin(user, length).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.header("location").unwrap().to_owned()
}

fn part(user: &Client, path: &str, offset: usize, bytes: impl Into<Body>) -> RequestBuilder {
    let request = tus(user, Method::PATCH, path).header("Upload-Offset", offset);
    request.header("content-type", PART).body(bytes)
}

async fn send_part(user: &Client, path: &str, offset: usize, bytes: impl Into<Body>) -> Reply {
    user.send(part(user, path, offset, bytes)).await
}

async fn head(user: &Client, path: &str) -> Reply {
    user.send(tus(user, Method::HEAD, path)).await
}

/// How many bytes have arrived, as the server says.
async fn offset(user: &Client, path: &str) -> usize {
    let reply = head(user, path).await;
    assert_eq!(reply.status, 200, "{path}");
    reply.header("upload-offset").unwrap().parse().unwrap()
}

async fn delete(user: &Client, path: &str) -> Reply {
    user.send(tus(user, Method::DELETE, path)).await
}

/// Where the file of an upload is.
fn file_of(path: &str) -> String {
    format!("/uploads/{}", path.rsplit('/').next().unwrap())
}

/// How many rows are left of uploads in parts.
async fn left(cura: &Cura) -> i64 {
    let rows = "SELECT (SELECT count(*) FROM resumable_uploads) + (SELECT count(*) FROM resumable_parts)";
    cura.database.count(rows).await
}

/// A picture of this size, of which no part is like another.
fn picture(size: usize) -> Vec<u8> {
    let mut bytes = samples::PNG.to_vec();
    bytes.extend(
        (0_u32..)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .take(size - samples::PNG.len()),
    );
    bytes
}

/// The file is there, byte for byte.
async fn assert_is_file(cura: &Cura, user: &Client, path: &str, content: &[u8]) {
    let file = user.get(&file_of(path)).await;
    assert_eq!(file.status, 200, "{}", file.body);
    let hash: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(file.body["sha256"], hash.as_str());
    assert_eq!(file.body["size"], content.len());
    assert_eq!(
        file.body["id"].to_string(),
        path.rsplit('/').next().unwrap(),
        "the same id"
    );
    let parts = "SELECT count(*) FROM resumable_parts";
    assert_eq!(cura.database.count(parts).await, 0, "the parts are gone");
}

#[tokio::test]
async fn an_upload_in_parts_becomes_a_file_under_its_id() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let content = picture(700_000);
    let begun = try_begin(&user, content.len()).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    assert_eq!(begun.header("tus-resumable"), Some("1.0.0"));
    let path = begun.header("location").unwrap().to_owned();
    let expires = chrono::DateTime::parse_from_rfc2822(begun.header("upload-expires").unwrap()).unwrap();
    let expires_in = expires.timestamp() - cura_bin::wiring::clock().now().timestamp();
    assert!((86_000..=86_400).contains(&expires_in), "{expires_in}");
    let asked = head(&user, &path).await;
    for (name, value) in [
        ("upload-offset", "0"),
        ("upload-length", "700000"),
        ("upload-metadata", named("a.png").as_str()),
        ("cache-control", "no-store"),
        ("tus-resumable", "1.0.0"),
        ("upload-expires", begun.header("upload-expires").unwrap()),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    assert_code(
        &user.get(&file_of(&path)).await,
        404,
        "file_not_found",
        "not yet a file",
    );
    for (from, to) in [(0, 1), (1, 300_000), (300_000, 300_000), (300_000, 700_000)] {
        let reply = send_part(&user, &path, from, content[from..to].to_vec()).await;
        assert_eq!(reply.status, 204, "{}", reply.body);
        assert_eq!(reply.header("upload-offset"), Some(to.to_string().as_str()));
        assert_eq!(reply.header("upload-expires"), begun.header("upload-expires"));
    }
    assert_is_file(&cura, &user, &path, &content).await;
    assert_eq!(user.get(&file_of(&path)).await.body["filename"], "a.png");
    assert_eq!(
        offset(&user, &path).await,
        700_000,
        "it can be asked for as long as the day lasts"
    );
    let id = user.get(&file_of(&path)).await.body["id"].clone();
    assert_eq!(user.until_scanned(&id).await["status"], "clean");
    let events = "SELECT count(*) FROM events WHERE kind = 'upload'";
    assert_eq!(cura.database.count(events).await, 2, "stored, then scanned");
    // Other uploads go on with the next ids.
    let other = user.upload(cura_tests::Form::of("b.png", samples::PNG)).await;
    assert!(other.body["id"].as_i64() > id.as_i64(), "{}", other.body);
}

#[tokio::test]
async fn an_upload_is_attached_to_its_message() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let sent = user.send_without_waiting(&serde_json::json!({ "content": "Hi" })).await;
    let message = sent.body["user_message"]["id"].clone();
    let metadata = |message: &str| format!("{},message_id {}", named("a.png"), BASE64_STANDARD.encode(message));
    let begin = async |message: &str| {
        let request = tus(&user, Method::POST, PATH).header("Upload-Length", samples::PNG.len());
        user.send(request.header("Upload-Metadata", metadata(message))).await
    };
    assert_code(
        &begin("999999").await,
        404,
        "message_not_found",
        "known at the beginning",
    );
    let path = begin(&message.to_string()).await.header("location").unwrap().to_owned();
    assert_eq!(send_part(&user, &path, 0, samples::PNG).await.status, 204);
    assert_eq!(user.get(&file_of(&path)).await.body["message_id"], message);
    // The message goes while the next one arrives.
    let path = begin(&message.to_string()).await.header("location").unwrap().to_owned();
    let conversation = format!("/conversations/{}", sent.body["conversation_id"]);
    user.send(user.request(Method::DELETE, &conversation)).await;
    let reply = send_part(&user, &path, 0, samples::PNG).await;
    assert_code(&reply, 404, "message_not_found", "known at the end");
    assert_eq!(head(&user, &path).await.status, 404, "it is gone");
}

#[tokio::test]
async fn any_server_goes_on() {
    let cura = Cura::builder().servers(2).workers(0).start().await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    let content = picture(300_000);
    let path = begin(&user, content.len()).await;
    let mut at = 0;
    for (n, piece) in content.chunks(50_000).enumerate() {
        let client = if n % 2 == 0 { &there } else { &user };
        assert_eq!(offset(client, &path).await, at);
        assert_eq!(send_part(client, &path, at, piece.to_vec()).await.status, 204);
        at += piece.len();
    }
    assert_is_file(&cura, &there, &path, &content).await;
}

#[tokio::test]
async fn of_two_requests_at_once_one_adds_its_bytes() {
    let cura = Cura::builder().servers(2).workers(0).start().await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    let (ones, twos) = (vec![1; 300_000], vec![2; 300_000]);
    for round in 0..5 {
        let path = begin(&user, 600_001).await;
        let (first, second) = tokio::join!(
            user.try_send(part(&user, &path, 0, ones.clone())),
            there.try_send(part(&there, &path, 0, twos.clone())),
        );
        let is_kept = |sent: &reqwest::Result<Reply>| sent.as_ref().is_ok_and(|reply| reply.status == 204);
        let winner = if is_kept(&first) { 1 } else { 2 };
        let (kept, lost) = if is_kept(&first) {
            (first, second)
        } else {
            (second, first)
        };
        assert!(is_kept(&kept), "round {round}: {kept:?} {lost:?}");
        // Who is still sending may see no more than a connection that closes.
        if let Ok(lost) = lost {
            assert_code(&lost, 409, "wrong_offset", "the other one");
        }
        assert_eq!(offset(&user, &path).await, 300_000);
        let (of_first, of_second) = (
            "SELECT count(*) FROM resumable_parts WHERE bytes <> decode(repeat('01', octet_length(bytes)), 'hex')",
            "SELECT count(*) FROM resumable_parts WHERE bytes <> decode(repeat('02', octet_length(bytes)), 'hex')",
        );
        let others = if winner == 1 { of_first } else { of_second };
        assert_eq!(cura.database.count(others).await, 0, "no byte of the other");
        assert_eq!(delete(&user, &path).await.status, 204);
    }
}

#[tokio::test]
async fn another_users_upload_is_not_found() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    let content = picture(1000);
    let path = begin(&ann, content.len()).await;
    assert_eq!(send_part(&ann, &path, 0, content[..10].to_vec()).await.status, 204);
    for finished in [false, true] {
        assert_eq!(head(&bob, &path).await.status, 404);
        for at in [0, 10, 1000] {
            let reply = send_part(&bob, &path, at, content[at..].to_vec()).await;
            assert_code(&reply, 404, "file_not_found", "continued");
        }
        assert_code(&delete(&bob, &path).await, 404, "file_not_found", "given up");
        if !finished {
            assert_eq!(send_part(&ann, &path, 10, content[10..].to_vec()).await.status, 204);
        }
    }
    assert_is_file(&cura, &ann, &path, &content).await;
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_gone_finished_or_not() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(200_000);
    let path = begin(&user, content.len()).await;
    send_part(&user, &path, 0, content[..100_000].to_vec()).await;
    let gone = delete(&user, &path).await;
    assert_eq!(
        (gone.status.as_u16(), gone.header("tus-resumable")),
        (204, Some("1.0.0"))
    );
    assert_eq!(head(&user, &path).await.status, 404);
    let reply = send_part(&user, &path, 100_000, content[100_000..].to_vec()).await;
    assert_code(&reply, 404, "file_not_found", "given up");
    assert_code(&delete(&user, &path).await, 404, "file_not_found", "twice");
    assert_eq!(left(&cura).await, 0);
    let path = begin(&user, content.len()).await;
    assert_eq!(send_part(&user, &path, 0, content.clone()).await.status, 204);
    assert_eq!(delete(&user, &path).await.status, 204);
    assert_code(&user.get(&file_of(&path)).await, 404, "file_not_found", "with its file");
    // A file that is deleted takes with it what is known of its upload.
    let path = begin(&user, content.len()).await;
    assert_eq!(send_part(&user, &path, 0, content.clone()).await.status, 204);
    let file = user.request(Method::DELETE, &file_of(&path));
    assert_eq!(user.send(file).await.status, 204);
    assert_eq!(head(&user, &path).await.status, 404);
    assert_eq!((left(&cura).await, rows(&cura).await), (0, 0));
    cura.add_worker().await;
    eventually("the objects are deleted", async || {
        objects(&cura).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_user_who_is_erased_leaves_nothing_of_an_upload() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let content = picture(300_000);
    let path = begin(&user, content.len()).await;
    send_part(&user, &path, 0, content[..200_000].to_vec()).await;
    let erase = user.request(Method::DELETE, "/users/me");
    user.send(erase.json(&serde_json::json!({ "password": "a long password" })))
        .await;
    eventually("nothing is left", async || {
        let users = cura.database.count("SELECT count(*) FROM users").await;
        (users == 0 && left(&cura).await == 0).then_some(())
    })
    .await;
    assert_nothing_is_kept(&cura, "erased").await;
}
