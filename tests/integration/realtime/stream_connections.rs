//! What a stream of events is on the wire, and what a connection is after it.

use std::time::Duration;

use cura_tests::provider::answer;
use cura_tests::{Client, Cura, ScriptedProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than one piece that is copied, and more than the server writes at once.
const LONG: usize = 40_000;

async fn connect(cura: &Cura) -> TcpStream {
    let address = cura.servers[0].base.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// What the server says until it closes the connection.
async fn rest(mut socket: TcpStream) -> String {
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

fn head(user: &Client, first_line: &str, more: &str) -> String {
    let token = user.token.as_ref().unwrap();
    format!("{first_line}\r\nhost: x\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

/// The head of a response in chunks, its body, and what comes behind it.
fn split_chunked(said: &str) -> (&str, String, &str) {
    let (head, mut rest) = said.split_once("\r\n\r\n").expect("a head");
    let mut body = String::new();
    loop {
        let (length, behind) = rest.split_once("\r\n").expect("the length of a chunk");
        let length = usize::from_str_radix(length, 16).expect("a length");
        let (chunk, behind) = behind.split_at(length);
        rest = behind.strip_prefix("\r\n").expect("the end of a chunk");
        body.push_str(chunk);
        if length == 0 {
            return (head, body, rest);
        }
    }
}

/// A user with a long answer, and the address of its stream.
async fn long_answer() -> (Cura, Client, String) {
    let long = "x".repeat(LONG);
    let provider = ScriptedProvider::start(move |_, _| answer(&[&long], Duration::ZERO)).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let events = user.stream("Hi").await.rest().await;
    let stream = format!("/chat/messages/{}/stream", events[0].data["message_id"]);
    (cura, user, stream)
}

#[tokio::test]
async fn a_stream_comes_in_chunks_and_the_next_requests_are_answered_behind_it() {
    let (cura, user, stream) = long_answer().await;
    let mut socket = connect(&cura).await;
    let requests = [
        head(&user, "GET /health/live HTTP/1.1", ""),
        head(&user, &format!("GET {stream} HTTP/1.1"), ""),
        head(&user, &format!("HEAD {stream} HTTP/1.1"), ""),
        head(&user, &format!("GET {stream} HTTP/1.1"), ""),
        head(&user, "GET /health/live HTTP/1.1", "connection: close\r\n"),
    ];
    socket.write_all(requests.concat().as_bytes()).await.unwrap();
    let said = rest(socket).await;
    let (live, said) = said
        .split_once(r#"{"status":"ok"}"#)
        .unwrap_or_else(|| panic!("{said}"));
    assert!(live.starts_with("HTTP/1.1 200 OK\r\n"), "{live}");
    let (first_head, first, said) = split_chunked(said);
    for line in [
        "HTTP/1.1 200 OK",
        "transfer-encoding: chunked",
        "content-type: text/event-stream",
        "x-request-id: ",
        "date: ",
    ] {
        assert_eq!(first_head.matches(line).count(), 1, "{line} in {first_head}");
    }
    assert!(first.starts_with("retry: 2000\n\n") && first.contains("event: complete"));
    assert!(first.contains(&"x".repeat(LONG)));
    let (of_head, said) = said.split_once("\r\n\r\n").unwrap();
    assert!(of_head.starts_with("HTTP/1.1 200 OK\r\n"), "no body to {of_head}");
    let (_, second, said) = split_chunked(said);
    assert_eq!(second, first);
    assert!(
        said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with(r#"{"status":"ok"}"#),
        "{said}"
    );
}

#[tokio::test]
async fn a_client_that_closes_after_the_stream_is_told_that_the_server_does() {
    let (cura, user, stream) = long_answer().await;
    let mut socket = connect(&cura).await;
    let request = head(&user, &format!("GET {stream} HTTP/1.1"), "connection: close\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let said = rest(socket).await;
    let (head, body, behind) = split_chunked(&said);
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert!(body.contains("event: complete") && behind.is_empty());
}

#[tokio::test]
async fn a_client_of_before_chunks_gets_the_stream_until_the_connection_closes() {
    let (cura, user, stream) = long_answer().await;
    let mut socket = connect(&cura).await;
    let request = head(&user, &format!("GET {stream} HTTP/1.0"), "");
    socket.write_all(request.as_bytes()).await.unwrap();
    let said = rest(socket).await;
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(body.starts_with("retry: 2000\n\n") && body.ends_with("\n\n"), "{body}");
}

#[tokio::test]
async fn what_a_client_sends_beside_its_stream_waits_for_the_end() {
    let provider = ScriptedProvider::answering(&["Hel", "lo"], Duration::from_millis(20)).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut socket = connect(&cura).await;
    let body = r#"{"content":"Hi"}"#;
    let send = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let send = head(&user, "POST /chat/stream HTTP/1.1", &send) + body;
    socket.write_all(send.as_bytes()).await.unwrap();
    let mut first = [0; 15];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    // Longer than what is read ahead.
    let padding = format!("connection: close\r\nx-padding: {}\r\n", "p".repeat(5000));
    let live = head(&user, "GET /health/live HTTP/1.1", &padding);
    let (beginning, end) = live.split_at(200);
    socket.write_all(beginning.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    socket.write_all(end.as_bytes()).await.unwrap();
    let said = rest(socket).await;
    let (_, events, said) = split_chunked(&said);
    assert!(events.contains("event: complete"), "{events}");
    assert!(said.ends_with(r#"{"status":"ok"}"#), "{said}");
}

/// The response before it is larger than what the kernel takes, and still on its way when the stream is asked for.
#[tokio::test]
async fn a_stream_begins_behind_a_response_that_was_not_taken_yet() {
    let (cura, user, stream) = long_answer().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = cura.servers[0].base.trim_start_matches("http://").parse().unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    let requests = [
        head(&user, "GET /openapi.json HTTP/1.1", ""),
        head(&user, "GET /openapi.json HTTP/1.1", ""),
        head(&user, &format!("GET {stream} HTTP/1.1"), "connection: close\r\n"),
    ];
    socket.write_all(requests.concat().as_bytes()).await.unwrap();
    let said = rest(socket).await;
    let mut left = said.as_str();
    for _ in 0..2 {
        let (head, behind) = left.split_once("\r\n\r\n").unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        let (document, behind) = behind.split_at(length.parse().unwrap());
        assert!(document.starts_with('{') && document.ends_with('}'), "{head}");
        left = behind;
    }
    let (head, body, behind) = split_chunked(left);
    assert!(head.contains("text/event-stream") && body.contains("event: complete") && behind.is_empty());
}

/// RFC 9112, section 6.1: it may be an attempt to smuggle a request past a proxy.
#[tokio::test]
async fn after_a_body_with_two_lengths_the_connection_closes() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut socket = connect(&cura).await;
    let body = r#"{"content":"Hi"}"#;
    let lengths = "content-type: application/json\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n";
    let send = head(&user, "POST /chat/stream HTTP/1.1", lengths);
    let smuggled = head(&user, "GET /health/live HTTP/1.1", "");
    let request = format!("{send}{:x}\r\n{body}\r\n0\r\n\r\n{smuggled}", body.len());
    socket.write_all(request.as_bytes()).await.unwrap();
    let said = rest(socket).await;
    assert!(said.contains("event: complete"), "{said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
}
