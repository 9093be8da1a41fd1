//! Everything at once, from one address, with one account.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cura_tests::{Attacker, Client};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::POISON;

/// Where the attacker comes from.
const ADDRESS: [u8; 4] = [127, 0, 0, 66];
/// Connections that say nothing, that read nothing, and whose bodies never end; each is opened again when it is closed.
const SILENT: usize = 400;
const UNREAD: usize = 200;
const ENDLESS: usize = 100;
/// Tasks that send requests one after the other, for each kind of request.
const LANES: usize = 4;
/// Sockets that send frames as fast as they may.
const SOCKETS: usize = 90;

/// What the attacker was answered, by kind of attack and status.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Tally {
    fn count(&self, attack: &'static str, status: u16) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry((attack, status))
            .or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = counts
            .iter()
            .map(|((attack, status), count)| format!("{attack} {status}: {count}"));
        f.write_str(&parts.collect::<Vec<_>>().join(" · "))
    }
}

/// An attacker with an account.
struct Abuse {
    client: Client,
    /// Not signed in.
    stranger: Client,
    raw: Attacker,
    refresh_token: Mutex<String>,
    tally: Tally,
    number: AtomicU64,
}

/// Attacks for as long.
pub async fn everything(base: &str, length: Duration) -> Tally {
    let stranger = Client::from_address(base, ADDRESS);
    let body = json!({ "email": "mallory@example.com", "password": "a long password" });
    let made = stranger.post("/auth/register", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let client = stranger.with_token(&made.body["access_token"]);
    let abuse = Abuse {
        raw: Attacker::new(base, ADDRESS).with_token(client.token.clone()),
        client,
        stranger,
        refresh_token: Mutex::new(made.body["refresh_token"].as_str().unwrap().to_owned()),
        tally: Tally::default(),
        number: AtomicU64::new(0),
    };
    let mut tasks: Vec<BoxFuture<'_, ()>> = Vec::new();
    for _ in 0..SILENT {
        tasks.push(abuse.silent().boxed());
    }
    for _ in 0..UNREAD {
        tasks.push(abuse.unread().boxed());
    }
    for _ in 0..ENDLESS {
        tasks.push(abuse.endless_bodies().boxed());
    }
    for n in 0..SOCKETS {
        tasks.push(abuse.frames(n).boxed());
    }
    for _ in 0..LANES {
        tasks.push(abuse.requests().boxed());
    }
    // None of them ends by itself.
    let _ = tokio::time::timeout(length, join_all(tasks)).await;
    abuse.tally
}

impl Abuse {
    fn next(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Connections on which nothing is said.
    async fn silent(&self) {
        loop {
            let Some(mut stream) = self.raw.connect().await else {
                self.tally.count("silent, refused", 0);
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut buffer = [0; 512];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            self.tally
                .count("silent, ended", status_of(&String::from_utf8_lossy(&buffer[..read])));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for the largest page and does not read it.
    async fn unread(&self) {
        let request = self.raw.head("GET", "/docs/swagger-ui-bundle.js", "");
        loop {
            if let Some(mut stream) = self.raw.connect().await {
                let _ = stream.write_all(request.as_bytes()).await;
                // Until the server has had enough; a few bytes at the end say whether it served at all.
                tokio::time::sleep(Duration::from_secs(20)).await;
                let mut buffer = [0; 64];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                self.tally
                    .count("unread page", status_of(&String::from_utf8_lossy(&buffer[..read])));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A body for `/auth/login` that never ends.
    async fn endless_bodies(&self) {
        let head = self.raw.head(
            "POST",
            "/auth/login",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
        );
        let piece = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        loop {
            let pause = Duration::from_millis(20);
            let outcome = self
                .raw
                .never_end(&head, piece.as_bytes(), pause, Duration::from_secs(60))
                .await;
            self.tally.count("endless body", outcome.status.unwrap_or(0));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A socket that types, pings and signs in as fast as it may.
    async fn frames(&self, n: usize) {
        use cura_tests::raw_socket::{RawSocket, request, text};
        let made = self.client.post("/conversations", &json!({})).await;
        self.tally.count("conversation", made.status.as_u16());
        let conversation = made.body["id"].as_i64().unwrap_or(1);
        let auth = json!({ "type": "auth", "token": self.client.token });
        let frames = [
            json!({ "type": "typing", "is_typing": n.is_multiple_of(2) }),
            json!({ "type": "ping" }),
            auth,
        ]
        .map(|frame| text(&frame.to_string()));
        let path = format!("/chat/ws/{conversation}");
        loop {
            let head = request(&self.client, &path, &[]) + "\r\n";
            if let Some(stream) = self.raw.connect().await {
                let mut socket = RawSocket::over(stream);
                socket.send(head.as_bytes()).await;
                // At nineteen a second, below what closes a socket, in turn.
                for frame in frames.iter().cycle().take(19 * 5) {
                    socket.send(frame).await;
                    tokio::time::sleep(Duration::from_millis(52)).await;
                }
                self.tally.count("socket, five seconds", 0);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// One request after the other, of every kind.
    async fn requests(&self) {
        loop {
            let n = self.next();
            let (attack, status) = self.request(n).await;
            self.tally.count(attack, status);
        }
    }

    async fn request(&self, n: u64) -> (&'static str, u16) {
        let post = async |client: &Client, path: &str, body: Value| {
            let request = client.request(Method::POST, path).json(&body);
            client.try_send(request).await.map_or(0, |reply| reply.status.as_u16())
        };
        match n % 14 {
            0 => ("refresh", self.refresh().await),
            1 => {
                let token = json!({ "refresh_token": format!("invented{n}") });
                (
                    "invented refresh token",
                    post(&self.stranger, "/auth/refresh", token).await,
                )
            }
            2 => ("invented ticket", self.get("/events?ticket=invented").await),
            3 => {
                let body = json!({ "email": "person1@example.com", "password": "a long password" });
                (
                    "register somebody's address",
                    post(&self.stranger, "/auth/register", body).await,
                )
            }
            4 => {
                let body = json!({ "email": "person1@example.com", "password": "wrong" });
                ("sign in as somebody", post(&self.stranger, "/auth/login", body).await)
            }
            5 => ("repeated key", self.repeat().await),
            6 => {
                let attachments: Vec<i64> = (0..20_000).collect();
                let body = json!({ "content": "Hi", "attachments": attachments });
                ("wrong attachments", post(&self.client, "/chat/send", body).await)
            }
            7 => ("old cursor", self.get("/events?after=0").await),
            8 => {
                let body = json!({ "content": format!("{POISON}: your credit balance is too low") });
                ("poisoned message", self.send(&body).await)
            }
            9 => (
                "waiting answer",
                self.send(&json!({ "content": "Hi", "on_busy": "queue" })).await,
            ),
            10 => ("cancelled message", self.send_and_cancel().await),
            11 => {
                let preferences = json!({ "x": vec![1e308; 2000] });
                let request = self.client.request(Method::PATCH, "/users/me");
                let reply = self
                    .client
                    .try_send(request.json(&json!({ "preferences": preferences })))
                    .await;
                ("preferences", reply.map_or(0, |reply| reply.status.as_u16()))
            }
            12 => ("health", self.get("/health").await),
            _ => ("unknown path", self.get("/%2Fusers//me").await),
        }
    }

    async fn get(&self, path: &str) -> u16 {
        let head = self.raw.head("GET", path, "Connection: close\r\n");
        let patience = Duration::from_secs(5);
        let outcome = self
            .raw
            .say(&head, patience, |answer| answer.contains("\r\n\r\n"))
            .await;
        outcome.status.unwrap_or(0)
    }

    async fn refresh(&self) -> u16 {
        let token = self
            .refresh_token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let request = self.stranger.request(Method::POST, "/auth/refresh");
        let sent = self
            .stranger
            .try_send(request.json(&json!({ "refresh_token": token })))
            .await;
        let Ok(reply) = sent else { return 0 };
        if let Some(next) = reply.body["refresh_token"].as_str() {
            next.clone_into(&mut self.refresh_token.lock().unwrap_or_else(PoisonError::into_inner));
        }
        reply.status.as_u16()
    }

    async fn send(&self, body: &Value) -> u16 {
        let request = self
            .client
            .request(Method::POST, "/chat/send")
            .header("Prefer", "wait=0");
        let sent = self.client.try_send(request.json(body)).await;
        sent.map_or(0, |reply| reply.status.as_u16())
    }

    async fn repeat(&self) -> u16 {
        let request = self.client.request(Method::POST, "/chat/stream");
        let request = request
            .header("Idempotency-Key", "again")
            .json(&json!({ "content": "x".repeat(9000) }));
        match self.client.try_events(request).await {
            Some(Ok(_)) => 200,
            Some(Err(reply)) => reply.status.as_u16(),
            None => 0,
        }
    }

    async fn send_and_cancel(&self) -> u16 {
        let request = self
            .client
            .request(Method::POST, "/chat/send")
            .header("Prefer", "wait=0");
        let Ok(sent) = self
            .client
            .try_send(request.json(&json!({ "content": "x ".repeat(4000) })))
            .await
        else {
            return 0;
        };
        let id = &sent.body["assistant_message"]["id"];
        if id.is_number() {
            let request = self
                .client
                .request(Method::POST, &format!("/chat/messages/{id}/cancel"));
            let _ = self.client.try_send(request.json(&json!({}))).await;
        }
        sent.status.as_u16()
    }
}

fn status_of(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ");
    status.and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}
