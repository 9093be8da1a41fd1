//! HTTP: paths, methods, Accept headers, request ids, and bytes that are not HTTP.

use cura_tests::Cura;
use cura_tests::problem::assert_problem;
use reqwest::Method;
use serde_json::Value;

#[tokio::test]
async fn wrong_addresses_and_methods_are_problems_too() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for path in [
        "/nope",
        "/conversations/abc",
        "/chat/messages/1e3",
        "/chat/messages/99999999999999999999",
        "/docs/../etc",
        "/docs/nope",
    ] {
        assert_problem(&user.get(path).await, 404, path);
    }
    for (method, path, allow) in [
        (Method::DELETE, "/chat/send", "POST"),
        (Method::PUT, "/conversations", "GET, POST, HEAD"),
        (Method::POST, "/chat/messages/1/stream", "GET, HEAD"),
    ] {
        let reply = user.send(user.request(method, path)).await;
        assert_problem(&reply, 405, path);
        assert_eq!(reply.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn a_format_that_is_not_accepted_is_not_produced() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for (path, accept) in [
        ("/conversations", "text/event-stream"),
        ("/chat/messages/1/stream", "application/json"),
        ("/health", "image/png"),
    ] {
        let reply = user
            .send(user.request(Method::GET, path).header("accept", accept))
            .await;
        assert_problem(&reply, 406, path);
    }
}

#[tokio::test]
async fn several_accept_headers_are_one_list_and_an_empty_one_is_none() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let request = user.request(Method::GET, "/users/me");
    let both = request
        .header("accept", "text/html")
        .header("accept", "application/json");
    assert_eq!(user.send(both).await.status, 200);
    let empty = user.request(Method::GET, "/users/me").header("accept", "");
    assert_eq!(user.send(empty).await.status, 200);
}

/// What a server says to these bytes, which no HTTP client would send.
pub(super) async fn raw(cura: &Cura, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = cura.servers[0].base.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    // It may close before it has read all of it.
    let _ = socket.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn what_is_no_http_is_a_problem_too() {
    let cura = Cura::without_workers().await;
    let many = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(66_000));
    for (bytes, status) in [
        (b"GARBAGE\r\n\r\n".to_vec(), 400),
        (
            b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(),
            400,
        ),
        (
            b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_vec(),
            400,
        ),
        (
            format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n").into_bytes(),
            431,
        ),
        (long.into_bytes(), 414),
    ] {
        let said = raw(&cura, &bytes).await;
        let (head, body) = said
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{status}: {said}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("application/problem+json"), "{head}");
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], status);
        let id = problem["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
    }
}

#[tokio::test]
async fn a_callers_request_id_is_kept_when_it_is_sensible() {
    let cura = Cura::without_workers().await;
    let send = async |id: &str| {
        let request = cura
            .client()
            .request(Method::GET, "/health/live")
            .header("x-request-id", id);
        cura.client()
            .send(request)
            .await
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(send("trace-42.a_b").await, "trace-42.a_b");
    for odd in ["with space", "<script>", &"x".repeat(129)] {
        let given = send(odd).await;
        assert!(given != odd && given.len() == 32, "{given}");
    }
    assert_ne!(send("<a>").await, send("<a>").await);
}
