//! Stores that fail: never a part of a file as the whole, never longer than is allowed, and never a word about what it was.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use cura_domain::object_key::ObjectKey;
use cura_providers::files::{FileStore, FileStoreError};
use cura_tests::supabase_server::failure;
use cura_tests::{Break, BrokenServer, HttpAnswer, HttpServer};
use futures_util::TryStreamExt;

use super::{both_at, content, key, put, read};

/// More than the buffers of two sockets hold.
const LARGE: usize = 20 * 1024 * 1024;

/// What each call says at a store that does nothing.
async fn all_calls(store: &FileStore, key: &ObjectKey) -> Vec<(&'static str, FileStoreError)> {
    let mut said = vec![
        ("check", store.check().await.unwrap_err()),
        ("put", put(store, key, b"letter").await.unwrap_err()),
        ("delete", store.delete(key).await.unwrap_err()),
        ("open", read(store, key, None).await.unwrap_err()),
        ("a range", read(store, key, Some(0..5)).await.unwrap_err()),
        ("nothing", read(store, key, Some(5..5)).await.unwrap_err()),
    ];
    if store.name() == "supabase" {
        let link = store.link(key, "letter.pdf", "application/pdf", Duration::from_secs(60));
        said.push(("link", link.await.unwrap_err()));
    }
    said
}

/// Every call says this, at both kinds of stores, and tells neither key nor address.
async fn all_say(url: &str, expected: impl Fn(&FileStoreError) -> bool) {
    let key = key();
    for store in both_at(url) {
        for (call, error) in all_calls(&store, &key).await {
            assert!(expected(&error), "{} {call}: {error:?}", store.name());
            let said = format!("{error} {error:?}");
            let secrets = [key.parts().1, "127.0.0.1", "test-key", "sb_secret"];
            assert!(!secrets.iter().any(|secret| said.contains(secret)), "{said}");
        }
    }
}

fn is_unavailable(code: &str) -> impl Fn(&FileStoreError) -> bool {
    let expected = FileStoreError::Unavailable(code.to_owned().into());
    move |error| *error == expected
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    all_say(&format!("http://127.0.0.1:{port}"), is_unavailable("unreachable")).await;
}

#[tokio::test]
async fn a_store_that_is_silent_is_left_in_time() {
    let server = HttpServer::start(|_| HttpAnswer::Hang).await;
    let begun = Instant::now();
    all_say(&server.url(), is_unavailable("timed_out")).await;
    // A second for each of thirteen calls, and once more where two limits follow each other.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_store_that_cuts_connections_is_unavailable() {
    let server = HttpServer::start(|_| HttpAnswer::Cut).await;
    all_say(&server.url(), is_unavailable("connection_lost")).await;
}

#[tokio::test]
async fn a_fault_of_the_store_is_not_ours_and_a_refusal_is() {
    let xml = |status, code: &str| {
        HttpAnswer::reply(
            status,
            format!("<Error><Code>{code}</Code><Key>7/secret.pdf</Key></Error>"),
        )
    };
    for (answer, is_ours) in [
        (HttpAnswer::reply(500, "<html>7/secret.pdf</html>"), false),
        (HttpAnswer::reply(502, ""), false),
        (HttpAnswer::reply(503, "x".repeat(1024 * 1024)), false),
        (HttpAnswer::reply(429, "{}"), false),
        (xml(503, "SlowDown"), false),
        (failure(500, "InternalError", "Internal", "no"), false),
        (HttpAnswer::reply(401, ""), true),
        (HttpAnswer::reply(403, ""), true),
        (HttpAnswer::reply(400, "{}"), true),
        (HttpAnswer::reply(404, "<html>nobody here</html>"), true),
        (xml(404, "NoSuchBucket"), true),
        (
            failure(404, "NoSuchBucket", "Bucket not found", "Bucket not found"),
            true,
        ),
        (HttpAnswer::reply(307, "").with("Location", "http://127.0.0.1:1/"), true),
    ] {
        let given = answer.clone();
        let server = HttpServer::start(move |_| given.clone()).await;
        let is_expected = |error: &FileStoreError| {
            let is_refused = matches!(error, FileStoreError::Refused(_));
            is_refused == is_ours && *error != FileStoreError::Missing
        };
        all_say(&server.url(), is_expected).await;
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_fails() {
    let large = vec![7; LARGE];
    for then in [Break::Cut, Break::Hang] {
        let server = BrokenServer::reading(100_000, then).await;
        for store in both_at(&server.url()) {
            let begun = Instant::now();
            let failed = put(&store, &key(), &large).await;
            assert!(
                matches!(failed, Err(FileStoreError::Unavailable(_))),
                "{then:?}: {failed:?}"
            );
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{then:?} {:?}",
                begun.elapsed()
            );
        }
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_fails_after_what_came() {
    let content = content(100_000);
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    let part = format!(
        "HTTP/1.1 206 OK\r\nContent-Length: 80000\r\nContent-Range: bytes 0-79999/{}\r\n\r\n",
        content.len()
    );
    for then in [Break::Cut, Break::Hang] {
        for (head, range) in [(&whole, None), (&part, Some(0..80_000))] {
            let answer = [head.as_bytes(), &content[..70_000]].concat();
            let server = BrokenServer::answering(answer, then).await;
            for store in both_at(&server.url()) {
                let opened = store.open(&key(), range.clone()).await.unwrap();
                assert_eq!(opened.size, 100_000);
                let mut came = Vec::new();
                let mut bytes = opened.bytes;
                let failed = loop {
                    match bytes.try_next().await {
                        Ok(Some(piece)) => came.extend_from_slice(&piece),
                        ended => break ended,
                    }
                };
                assert!(
                    matches!(failed, Err(FileStoreError::Unavailable(_))),
                    "{then:?}: {failed:?}"
                );
                assert_eq!(came, content[..came.len()]);
                assert!(came.len() <= 70_000);
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_how_long_it_is_is_not_taken() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 206 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/*\r\n\r\n",
        "HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes 1-5/9\r\n\r\n",
        "HTTP/1.1 206 OK\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/9\r\n\r\n",
    ] {
        let server = BrokenServer::answering(format!("{head}hello"), Break::Cut).await;
        for store in both_at(&server.url()) {
            let failed = read(&store, &key(), Some(0..5)).await;
            assert_eq!(
                failed,
                Err(FileStoreError::Unavailable("length_unknown".into())),
                "{head}"
            );
        }
    }
}

#[tokio::test]
async fn a_store_that_knows_no_ranges_still_gives_what_was_asked_for() {
    let content = content(300_000);
    let given = content.clone();
    let server = HttpServer::start(move |_| HttpAnswer::reply(200, given.clone())).await;
    for store in both_at(&server.url()) {
        let part = read(&store, &key(), Some(150_000..150_010)).await;
        assert_eq!(part, Ok((300_000, content[150_000..150_010].to_vec())));
        assert_eq!(
            read(&store, &key(), Some(300_000..300_001)).await,
            Ok((300_000, Vec::new()))
        );
    }
}

#[tokio::test]
async fn a_link_that_leads_away_from_the_store_is_not_given() {
    for signed in [
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "@elsewhere.example/",
        "/../sign/x",
    ] {
        let body = serde_json::json!({ "signedURL": signed });
        let server = HttpServer::start(move |_| HttpAnswer::json(200, &body)).await;
        let [_, supabase] = both_at(&server.url());
        let key = key();
        let link = supabase.link(&key, "letter.pdf", "application/pdf", Duration::from_secs(60));
        assert_eq!(link.await, Err(FileStoreError::Refused("no_link".into())), "{signed}");
    }
}
