//! One problem of each kind, byte for byte. A change shows in the snapshot, which `INSTA_UPDATE=always` writes.

use std::time::Duration;

use cura_tests::{Client, Cura, Form, Reply, ScriptedProvider, eventually, redacted};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::wire_snapshots::assert_snapshot;

/// Headers of every answer, which tests of their own cover.
const EVERYWHERE: [&str; 8] = [
    "cache-control",
    "content-length",
    "content-security-policy",
    "date",
    "referrer-policy",
    "vary",
    "x-content-type-options",
    "x-frame-options",
];

/// Problems as they were sent, each under what provoked it.
#[derive(Default)]
struct Problems(String);

impl Problems {
    async fn add(&mut self, what: &str, client: &Client, request: RequestBuilder) {
        self.add_reply(what, &client.send(request).await);
    }

    fn add_reply(&mut self, what: &str, reply: &Reply) {
        let headers = reply
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let body = std::str::from_utf8(&reply.bytes).unwrap();
        self.add_wire(what, &reply.status.to_string(), headers, body);
    }

    /// Bytes no HTTP client would send.
    async fn add_bytes(&mut self, what: &str, cura: &Cura, bytes: &[u8]) {
        let wire = super::http_protocol::raw(cura, bytes).await;
        let (head, body) = wire.split_once("\r\n\r\n").unwrap();
        let (status, headers) = head.split_once("\r\n").unwrap();
        let headers = headers.lines().map(|line| line.split_once(": ").unwrap());
        self.add_wire(what, status.trim_start_matches("HTTP/1.1 "), headers, body);
    }

    fn add_wire<'a>(
        &mut self,
        what: &str,
        status: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &str,
    ) {
        let mut lines: Vec<String> = headers
            .filter(|(name, _)| !EVERYWHERE.contains(name))
            .map(|(name, value)| match name {
                "x-request-id" => format!("{name}: [{name}]\n"),
                // What is left of a minute or a day.
                "retry-after" | "ratelimit-reset" if status.starts_with("429") => format!("{name}: [{name}]\n"),
                _ => format!("{name}: {value}\n"),
            })
            .collect();
        lines.sort();
        let wire = format!("# {what}\n{status}\n{}\n{}\n\n", lines.concat(), redacted(body));
        self.0.push_str(&wire);
    }

    fn assert_as(&self, name: &str) {
        assert_snapshot(name, self.0.trim_end());
    }
}

#[tokio::test]
async fn problems_of_requests_that_cannot_be_read() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let get = |path: &str| user.request(Method::GET, path);
    let post = |path: &str| {
        user.request(Method::POST, path)
            .header("content-type", "application/json")
    };
    let send = || post("/chat/send").json(&json!({ "content": "Hi" }));
    let mut problems = Problems::default();
    let caf = reqwest::header::HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap();
    for (what, request) in [
        ("a body that is not JSON", post("/conversations").body("{\"a\": ")),
        ("a query with an invalid value", get("/conversations?limit=%ff")),
        ("a header that is not ASCII", send().header("Idempotency-Key", caf)),
        ("a cursor that was not given out", get("/conversations?cursor=Yy4x")),
        (
            "an idempotency key with a space",
            send().header("Idempotency-Key", "with space"),
        ),
        ("a path that does not exist", get("/nope")),
        (
            "a method the path does not have",
            user.request(Method::PUT, "/conversations"),
        ),
        (
            "a format that is not produced",
            get("/conversations").header("accept", "text/event-stream"),
        ),
        (
            "a body that is too large",
            post("/conversations").body(vec![b' '; 300 * 1024]),
        ),
        (
            "a body of another type",
            user.request(Method::POST, "/conversations").body("hello"),
        ),
        (
            "a compressed body",
            post("/conversations").header("content-encoding", "gzip").body("{}"),
        ),
        ("a socket without an upgrade", get("/chat/ws/1")),
    ] {
        problems.add(what, &user, request).await;
    }
    let many = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(66_000));
    for (what, bytes) in [
        ("bytes that are not HTTP", "GARBAGE\r\n\r\n".to_owned()),
        (
            "too many headers",
            format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        ),
        ("an address that is too long", long),
    ] {
        problems.add_bytes(what, &cura, bytes.as_bytes()).await;
    }
    problems.assert_as("unreadable_requests");
}

#[tokio::test]
async fn the_problem_of_a_body_that_takes_too_long() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let token = user.token.as_ref().unwrap();
    let head = format!(
        "POST /conversations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: 2\r\nconnection: close\r\n\r\n"
    );
    let mut problems = Problems::default();
    problems
        .add_bytes("a body that takes too long", &cura, head.as_bytes())
        .await;
    problems.assert_as("slow_request");
}

#[tokio::test]
async fn problems_of_callers() {
    let cura = Cura::builder()
        .workers(0)
        .with("ALLOWED_ORIGINS", r#"["https://app.example"]"#)
        .start()
        .await;
    let user = cura.user().await;
    let anonymous = cura.client();
    let login = json!({ "email": "user@example.com", "password": "not my password" });
    let mut problems = Problems::default();
    for (what, request) in [
        ("no token", anonymous.request(Method::GET, "/users/me")),
        (
            "a token that is not ours",
            anonymous.with_token(&json!("a.b.c")).request(Method::GET, "/users/me"),
        ),
        (
            "a wrong password",
            anonymous.request(Method::POST, "/auth/login").json(&login),
        ),
        (
            "a refresh token that is not ours",
            anonymous
                .request(Method::POST, "/auth/refresh")
                .json(&json!({ "refresh_token": "x" })),
        ),
        (
            "a wrong password where it is asked for again",
            user.request(Method::DELETE, "/users/me")
                .json(&json!({ "password": "not my password" })),
        ),
        (
            "a page of another origin",
            anonymous
                .request(Method::OPTIONS, "/conversations")
                .header("origin", "https://evil.example")
                .header("access-control-request-method", "POST"),
        ),
    ] {
        problems.add(what, &user, request).await;
    }
    sqlx::query("UPDATE users SET suspended_at = now()")
        .execute(cura.database.pool())
        .await
        .unwrap();
    eventually("the server knows", async || {
        (user.get("/users/me").await.status == 403).then_some(())
    })
    .await;
    problems
        .add(
            "an account that is suspended",
            &user,
            user.request(Method::GET, "/users/me"),
        )
        .await;
    problems.assert_as("callers");
}

#[tokio::test]
async fn problems_of_the_present_state() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await.body;
    let mut problems = Problems::default();
    let question = format!("/chat/messages/{}/stream", sent["user_message"]["id"]);
    for (what, method, path, body) in [
        (
            "no such conversation",
            Method::GET,
            "/conversations/999999",
            Value::Null,
        ),
        ("no such message", Method::GET, "/chat/messages/999999", Value::Null),
        (
            "a message that is no answer",
            Method::GET,
            question.as_str(),
            Value::Null,
        ),
        ("no such session", Method::DELETE, "/auth/sessions/999999", Value::Null),
        (
            "an address that has an account",
            Method::POST,
            "/auth/register",
            json!({ "email": "user@example.com", "password": "a long password" }),
        ),
        (
            "a conversation in which an answer is written",
            Method::POST,
            "/chat/send",
            json!({ "content": "Ho", "conversation_id": sent["conversation_id"] }),
        ),
        (
            "fields that are invalid",
            Method::POST,
            "/auth/register",
            json!({ "email": "no address", "password": "short", "role": "admin" }),
        ),
    ] {
        let mut request = user.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        problems.add(what, &user, request).await;
    }
    for content in ["one", "other"] {
        let request = user.request(Method::POST, "/chat/send").header("Prefer", "wait=0");
        let request = request
            .header("Idempotency-Key", "a")
            .json(&json!({ "content": content }));
        let reply = user.send(request).await;
        if content == "other" {
            problems.add_reply("a key that was used with another body", &reply);
        }
    }
    problems.assert_as("present_state");
}

#[tokio::test]
async fn problems_of_uploads() {
    const PICTURE: &[u8] = include_bytes!("../../fixtures/files/alpha.png");
    let cura = Cura::builder().workers(0).with("USER_STORAGE_MB", "1").start().await;
    let user = cura.user().await;
    let mut problems = Problems::default();
    let picture = || Form::of("a.png", PICTURE);
    user.upload_with_key(picture(), "one").await;
    let large = |bytes: usize| Form::of("a.png", [PICTURE, &vec![b'x'; bytes]].concat());
    let no_boundary = user.request(Method::POST, "/uploads/file");
    let no_boundary = no_boundary.header("content-type", "multipart/form-data").body("x");
    for (what, request) in [
        ("no form", user.request(Method::POST, "/uploads/file").json(&json!({}))),
        ("no boundary", no_boundary),
        (
            "no file",
            user.upload_request(Form::default().field("message_id", "seven")),
        ),
        (
            "a form that is cut off",
            user.upload_request(picture()).body(picture().unfinished()),
        ),
        (
            "a file of no known type",
            user.upload_request(Form::of("a.png", "words")),
        ),
        (
            "half a picture",
            user.upload_request(Form::of("a.png", &PICTURE[..PICTURE.len() / 2])),
        ),
        ("a file that is too large", user.upload_request(large(10 * 1024 * 1024))),
        ("no room", user.upload_request(large(1024 * 1024))),
        (
            "nobody's message",
            user.upload_request(picture().field("message_id", 999)),
        ),
        (
            "a key that was used",
            user.upload_request(Form::of("b.png", PICTURE))
                .header("Idempotency-Key", "one"),
        ),
        ("nobody's file", user.request(Method::GET, "/uploads/999")),
    ] {
        problems.add(what, &user, request).await;
    }
    std::fs::rename(cura.data.path().join("files"), cura.data.path().join("away")).unwrap();
    std::fs::write(cura.data.path().join("files"), "no folder").unwrap();
    problems
        .add("no file store", &user, user.upload_request(picture()))
        .await;
    problems.assert_as("uploads");
}

#[tokio::test]
async fn problems_of_limits() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("USER_DAILY_TOKENS", "5")
        .with("RATE_LIMIT_AUTH", "2")
        .start()
        .await;
    let user = cura.user().await;
    user.send_message(&Value::Null, "Hi").await;
    let mut problems = Problems::default();
    let send = user
        .request(Method::POST, "/chat/send")
        .json(&json!({ "content": "Hi" }));
    problems.add("a day's tokens are used up", &user, send).await;
    let login = json!({ "email": "user@example.com", "password": "not my password" });
    let mut last = cura.client().post("/auth/login", &login).await;
    for _ in 0..3 {
        last = cura.client().post("/auth/login", &login).await;
    }
    problems.add_reply("too many calls", &last);
    problems.assert_as("limits");
}

#[tokio::test]
async fn problems_of_the_server() {
    let (cura, proxy) = Cura::builder().workers(0).start_behind_proxy().await;
    let user = cura.user().await;
    let mut problems = Problems::default();
    sqlx::query("ALTER TABLE conversations RENAME COLUMN title TO renamed")
        .execute(cura.database.pool())
        .await
        .unwrap();
    problems
        .add(
            "a failure of our own",
            &user,
            user.request(Method::GET, "/conversations"),
        )
        .await;
    proxy.cut();
    problems
        .add("a database that is away", &user, user.request(Method::GET, "/users/me"))
        .await;
    problems.assert_as("server");
}
