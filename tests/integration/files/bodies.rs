//! Bodies on their way: too large, too slow, broken off.

use std::time::{Duration, Instant};

use cura_tests::attacker::Outcome;
use cura_tests::{Attacker, Client, Cura, Form, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::limits::{hold, until_full};
use super::{assert_code, assert_nothing_is_kept, objects, rows, samples};

/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);
const MEGABYTE: usize = 1024 * 1024;

fn attacker(cura: &Cura, user: &Client) -> Attacker {
    Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]).with_token(user.token.clone())
}

fn head(attacker: &Attacker, framing: &str) -> String {
    let content_type = Form::default().content_type();
    attacker.head(
        "POST",
        "/uploads/file",
        &format!("Content-Type: {content_type}\r\n{framing}\r\n"),
    )
}

fn code(outcome: &Outcome) -> &str {
    let code = outcome.answer.split("\"code\":\"").nth(1).unwrap_or_default();
    code.split('"').next().unwrap_or_default()
}

#[tokio::test]
async fn a_file_may_have_ten_mebibytes_and_no_more() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let most = samples::png_of(10 * MEGABYTE);
    let reply = user.upload(Form::of("large.png", &most)).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(reply.body["size"], 10 * MEGABYTE);
    let reply = user
        .upload(Form::of("larger.png", samples::png_of(10 * MEGABYTE + 1)))
        .await;
    assert_code(&reply, 413, "too_large", "a byte more");
    let form = Form::of("a.png", samples::PNG).field("note", "x".repeat(11 * MEGABYTE));
    assert_code(&user.upload(form).await, 413, "too_large", "a long field");
    assert_eq!((rows(&cura).await, objects(&cura).len()), (1, 1));
}

#[tokio::test]
async fn a_length_that_is_too_large_is_refused_before_a_byte_of_the_body() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let attacker = attacker(&cura, &user);
    let announced = head(&attacker, &format!("Content-Length: {}\r\n", 11 * MEGABYTE));
    let outcome = attacker
        .say(&announced, PATIENCE, |answer| answer.contains("too_large"))
        .await;
    assert_eq!(
        (outcome.status, code(&outcome)),
        (Some(413), "too_large"),
        "{outcome:?}"
    );
    assert_eq!(outcome.header("connection"), Some("close"));
    assert_nothing_is_kept(&cura, "announced").await;
}

#[tokio::test]
async fn a_body_without_a_length_that_becomes_too_large_is_refused() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let beginning = Form::of("a.png", samples::png_of(MEGABYTE)).unfinished();
    let pieces = std::iter::once(beginning).chain((0..11).map(|_| vec![b'x'; MEGABYTE]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces.map(Ok::<_, std::io::Error>)));
    let request = user.request(reqwest::Method::POST, "/uploads/file");
    let request = request
        .header("content-type", Form::default().content_type())
        .body(body);
    assert_code(&user.send(request).await, 413, "too_large", "in chunks");
    assert_nothing_is_kept(&cura, "in chunks").await;
}

#[tokio::test]
async fn a_megabyte_of_one_head_is_refused_long_before_its_end() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let attacker = attacker(&cura, &user);
    let chunked = head(&attacker, "Transfer-Encoding: chunked\r\n");
    let line = format!("--{}\r\nX-Long: ", "----a-boundary-of-a-test");
    let begun = format!("{chunked}{:x}\r\n{line}\r\n", line.len());
    let piece = format!("400\r\n{}\r\n", "x".repeat(1024));
    let outcome = attacker
        .never_end(&begun, piece.as_bytes(), Duration::from_millis(1), PATIENCE)
        .await;
    assert!(outcome.ended, "{outcome:?}");
    assert_eq!(
        (outcome.status, code(&outcome)),
        (Some(400), "malformed_body"),
        "{outcome:?}"
    );
    assert!(outcome.sent < 256 * 1024, "{} bytes were taken", outcome.sent);
    assert_nothing_is_kept(&cura, "a long head").await;
}

#[tokio::test]
async fn fifteen_seconds_of_silence_end_an_upload_and_a_slow_one_goes_on() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let attacker = attacker(&cura, &user);
    let form = Form::of("slow.png", samples::png_of(4000));
    let content_type = form.content_type();
    let bytes = form.end();
    let silent = async {
        let announced = head(&attacker, &format!("Content-Length: {}\r\n", bytes.len()));
        let half = format!("{announced}{}", String::from_utf8_lossy(&bytes[..80]));
        let begun = Instant::now();
        let outcome = attacker
            .say(&half, PATIENCE, |answer| answer.contains("\"code\""))
            .await;
        assert_eq!(
            (outcome.status, code(&outcome)),
            (Some(408), "request_timeout"),
            "{outcome:?}"
        );
        assert!(begun.elapsed() >= Duration::from_secs(15), "{:?}", begun.elapsed());
    };
    // Less than any JSON body may arrive with, for longer than it may take.
    let slow = async {
        let pieces: Vec<Vec<u8>> = bytes.chunks(bytes.len() / 20).map(<[u8]>::to_vec).collect();
        let paced = futures_util::stream::unfold(pieces.into_iter(), |mut pieces| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pieces.next().map(|piece| (Ok::<_, std::io::Error>(piece), pieces))
        });
        let request = user.request(reqwest::Method::POST, "/uploads/file");
        let request = request.header("content-type", content_type.clone());
        user.send(request.body(reqwest::Body::wrap_stream(paced))).await
    };
    let ((), slow) = tokio::join!(silent, slow);
    assert_eq!(slow.status, 201, "{}", slow.body);
    assert_eq!((rows(&cura).await, objects(&cura).len()), (1, 1));
}

/// As many phones do: 10 kB a second for a minute.
#[tokio::test]
#[ignore = "a minute of waiting"]
async fn ten_kilobytes_a_second_for_a_minute_succeed() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let form = Form::of("slow.png", samples::png_of(600_000));
    let content_type = form.content_type();
    let pieces: Vec<Vec<u8>> = form.end().chunks(1000).map(<[u8]>::to_vec).collect();
    let paced = futures_util::stream::unfold(pieces.into_iter(), |mut pieces| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        pieces.next().map(|piece| (Ok::<_, std::io::Error>(piece), pieces))
    });
    let request = user.request(reqwest::Method::POST, "/uploads/file");
    // The usual client of the tests gives up when it has read nothing for a minute.
    let patient = reqwest::Client::builder()
        .timeout(Duration::from_secs(120))
        .build()
        .unwrap();
    let request = request.header("content-type", content_type);
    let begun = Instant::now();
    let request = request.body(reqwest::Body::wrap_stream(paced)).build().unwrap();
    let reply = patient.execute(request).await.unwrap();
    assert_eq!(reply.status(), 201);
    assert!(begun.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn of_a_body_that_breaks_off_nothing_is_kept() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let attacker = attacker(&cura, &user);
    let bytes = Form::of("cut.png", samples::png_of(300_000)).end();
    for framing in [
        format!("Content-Length: {}\r\n", bytes.len() + 1000),
        "Transfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let mut stream = attacker.connect().await.unwrap();
        stream.write_all(head(&attacker, &framing).as_bytes()).await.unwrap();
        if framing.starts_with("Transfer") {
            stream
                .write_all(format!("{:x}\r\n", bytes.len() - 200).as_bytes())
                .await
                .unwrap();
        }
        // Without its end.
        stream.write_all(&bytes[..bytes.len() - 200]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    // The server has noticed: all four places are free.
    let uploads = (0..4).map(|n| user.upload(Form::of("a.png", samples::png_number(n))));
    for reply in futures_util::future::join_all(uploads).await {
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    assert_eq!((rows(&cura).await, objects(&cura).len()), (4, 4));
}

#[tokio::test]
async fn of_a_client_that_goes_away_in_the_middle_nothing_is_kept() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let (_release, released) = watch::channel(false);
    let mut uploads = JoinSet::new();
    for _ in 0..4 {
        uploads.spawn(hold(
            user.clone(),
            Form::of("a.png", samples::png_of(200_000)),
            released.clone(),
        ));
    }
    until_full(&user).await;
    assert_eq!(rows(&cura).await, 0);
    uploads.shutdown().await;
    eventually("the places are free again", async || {
        let reply = user.upload(Form::of("a.txt", "words")).await;
        (reply.code() == "unsupported_file_type").then_some(())
    })
    .await;
    assert_nothing_is_kept(&cura, "clients that went away").await;
}
