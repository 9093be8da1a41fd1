//! Lines that break, connections that die without a word, servers that are killed: what arrived is there.

use std::time::{Duration, Instant};

use cura_tests::{Attacker, Client, Cura, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PART, assert_code, assert_is_file, begin, offset, picture, send_part};

/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that announces a part and brings only the beginning of it.
async fn bring(base: &str, user: &Client, path: &str, offset: usize, announced: usize, bytes: &[u8]) -> TcpStream {
    let attacker = Attacker::new(base, [127, 0, 0, 1]).with_token(user.token.clone());
    let headers = format!(
        "Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\nContent-Type: {PART}\r\nContent-Length: {announced}\r\n"
    );
    let mut stream = attacker.connect().await.unwrap();
    let head = attacker.head("PATCH", path, &headers);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn until_offset(user: &Client, path: &str, expected: usize) {
    eventually("what came is there", async || {
        let arrived = offset(user, path).await;
        assert!(arrived <= expected, "{arrived} of {expected}");
        (arrived == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_line_that_is_cut_ten_times_loses_nothing() {
    let cura = Cura::builder().servers(2).workers(0).start().await;
    let user = cura.user().await;
    let content = picture(2_000_000);
    let path = begin(&user, content.len()).await;
    let mut at = 0;
    for cut in 1..=10 {
        let base = &cura.servers[cut % 2].base;
        let brought = &content[at..at + 20_000 * cut - 7];
        let mut line = bring(base, &user, &path, at, content.len() - at, brought).await;
        line.shutdown().await.unwrap();
        at += brought.len();
        until_offset(&user, &path, at).await;
    }
    assert_eq!(send_part(&user, &path, at, content[at..].to_vec()).await.status, 204);
    assert_is_file(&cura, &user, &path, &content).await;
}

#[tokio::test]
async fn connections_that_die_without_a_word_block_nobody() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(1_000_000);
    let path = begin(&user, content.len()).await;
    let (mut at, mut dead) = (0, Vec::new());
    // More than may send at a time.
    for n in 0..7 {
        let brought = &content[at..at + 30_000 + n];
        dead.push(bring(&cura.servers[0].base, &user, &path, at, content.len() - at, brought).await);
        at += brought.len();
        until_offset(&user, &path, at).await;
    }
    assert_eq!(send_part(&user, &path, at, content[at..].to_vec()).await.status, 204);
    assert_is_file(&cura, &user, &path, &content).await;
    // Those that were taken over were told so.
    for mut line in dead {
        let mut answer = vec![0; 4096];
        let read = line.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(
            answer.starts_with("HTTP/1.1 409 ") && answer.contains("wrong_offset"),
            "{answer}"
        );
    }
}

/// So much is written as soon as it comes.
const WHOLE_PART: usize = 128 * 1024;

#[tokio::test]
async fn a_client_that_comes_back_at_once_is_not_stopped_by_its_own_dead_connection() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(1_000_000);
    let (mut paths, mut lines) = (Vec::new(), Vec::new());
    // As many as may send at a time, and the last one has just brought something.
    for _ in 0..4 {
        let path = begin(&user, content.len()).await;
        let brought = &content[..WHOLE_PART];
        lines.push(bring(&cura.servers[0].base, &user, &path, 0, content.len(), brought).await);
        until_offset(&user, &path, WHOLE_PART).await;
        paths.push(path);
    }
    let path = paths.last().unwrap();
    let rest = content[WHOLE_PART..].to_vec();
    let reply = send_part(&user, path, WHOLE_PART, rest).await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    assert_eq!(offset(&user, path).await, content.len());
    // Another upload is one too many, as before.
    let fourth = begin(&user, 1000).await;
    lines.push(bring(&cura.servers[0].base, &user, &fourth, 0, 1000, &content[..1]).await);
    until_offset(&user, &fourth, 1).await;
    let fifth = begin(&user, 1000).await;
    let reply = send_part(&user, &fifth, 0, content[..1000].to_vec()).await;
    assert_code(&reply, 429, "too_many_uploads", "the fifth");
}

#[tokio::test]
async fn what_a_dead_connection_has_brought_is_written_before_another_one_takes_over() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(1_000_000);
    let path = begin(&user, content.len()).await;
    let brought = WHOLE_PART + 5000;
    let _line = bring(
        &cura.servers[0].base,
        &user,
        &path,
        0,
        content.len(),
        &content[..brought],
    )
    .await;
    eventually("the first of it is there", async || {
        (offset(&user, &path).await >= WHOLE_PART).then_some(())
    })
    .await;
    // The client knows of these only.
    let reply = send_part(&user, &path, WHOLE_PART, content[WHOLE_PART..].to_vec()).await;
    assert_code(&reply, 409, "wrong_offset", "more has come");
    assert_eq!(offset(&user, &path).await, brought);
    assert_eq!(
        send_part(&user, &path, brought, content[brought..].to_vec())
            .await
            .status,
        204
    );
    assert_is_file(&cura, &user, &path, &content).await;
}

#[tokio::test]
async fn fifteen_seconds_of_silence_end_a_part_and_keep_it() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(100_000);
    let path = begin(&user, content.len()).await;
    let begun = Instant::now();
    let mut line = bring(
        &cura.servers[0].base,
        &user,
        &path,
        0,
        content.len(),
        &content[..40_000],
    )
    .await;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, line.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"),
        "{answer}"
    );
    assert!(begun.elapsed() >= Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(offset(&user, &path).await, 40_000);
    assert_eq!(
        send_part(&user, &path, 40_000, content[40_000..].to_vec()).await.status,
        204
    );
    assert_is_file(&cura, &user, &path, &content).await;
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_what_it_has_written() {
    let mut cura = Cura::builder().servers(2).workers(0).start().await;
    let there = cura.user().await.at(&cura.servers[1].base);
    let content = picture(1_000_000);
    let path = begin(&there, content.len()).await;
    let _line = bring(
        &cura.servers[0].base,
        &there,
        &path,
        0,
        content.len(),
        &content[..500_000],
    )
    .await;
    eventually("some parts are written", async || {
        (offset(&there, &path).await > 0).then_some(())
    })
    .await;
    cura.servers[0].program.kill();
    let at = offset(&there, &path).await;
    assert!((1..=500_000).contains(&at), "{at}");
    assert_eq!(send_part(&there, &path, at, content[at..].to_vec()).await.status, 204);
    assert_is_file(&cura, &there, &path, &content).await;
}

#[tokio::test]
async fn however_small_the_pieces_are_there_are_few_parts() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(60_000);
    let path = begin(&user, content.len()).await;
    let mut at = 0;
    for piece in content[..50_000].chunks(1000) {
        assert_eq!(send_part(&user, &path, at, piece.to_vec()).await.status, 204);
        at += piece.len();
    }
    assert!(cura.database.count("SELECT count(*) FROM resumable_parts").await <= 4);
    assert_eq!(send_part(&user, &path, at, content[at..].to_vec()).await.status, 204);
    assert_is_file(&cura, &user, &path, &content).await;
}
