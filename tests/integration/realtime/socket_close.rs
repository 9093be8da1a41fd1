//! How a socket is refused, limited and closed: authentication, floods, its session, its token and its server.

use std::time::{Duration, Instant};

use cura_app::Caller;
use cura_app::auth_tokens::{AccessToken, TokenLifetimes, Tokens};
use cura_bin::settings::Settings;
use cura_tests::raw_socket::{self, FIN, PONG, RawSocket};
use cura_tests::{Client, Cura, ScriptedProvider, Socket, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::sockets::{TEXT, TOKENS, conversation, cura, text_of};

#[tokio::test]
async fn a_refused_socket_says_why_by_its_close_code() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let path = format!("/chat/ws/{conversation}");
    let anonymous = cura.client();
    assert_eq!(Socket::open(&anonymous, &path).await.unwrap().closed().await, 4401);
    for bad in ["?token=garbage", "?ticket=garbage"] {
        assert_eq!(
            Socket::open(&anonymous, &format!("{path}{bad}"))
                .await
                .unwrap()
                .closed()
                .await,
            4401,
            "{bad}"
        );
    }
    let other = cura.client().register("other@example.com").await;
    assert_eq!(Socket::of(&other, &conversation, None).await.closed().await, 4404);
    assert_eq!(Socket::of(&user, &json!(999_999), None).await.closed().await, 4404);
    let ticket = user.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let by_ticket = format!("{path}?ticket={}", ticket.as_str().unwrap());
    let mut socket = Socket::open(&anonymous, &by_ticket).await.unwrap();
    socket.send(&json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await.unwrap()["type"], "pong");
    assert_eq!(
        Socket::open(&anonymous, &by_ticket).await.unwrap().closed().await,
        4401,
        "it is for once"
    );
    let by_token = format!("{path}?token={}", user.token.as_ref().unwrap());
    let mut socket = Socket::open(&anonymous, &by_token).await.unwrap();
    socket.send(&json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await.unwrap()["type"], "pong");
    assert!(
        !cura.logs().contains(user.token.as_ref().unwrap()),
        "a token reached a log"
    );
    let basic = format!("Basic {}", user.token.as_ref().unwrap());
    let request = raw_socket::request(&user, &path, &[("Authorization", Some(&basic))]);
    let mut socket = RawSocket::connect(&user).await;
    socket.send(format!("{request}\r\n").as_bytes()).await;
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(socket.close_code().await, Some(4401), "a token is a bearer's");
    let plain = user.get(&path).await;
    assert_eq!((plain.status.as_u16(), plain.code()), (426, "upgrade_required"));
    assert!(Socket::open(&user, &format!("{path}?after=nonsense")).await.is_err());
}

#[tokio::test]
async fn without_a_database_the_handshake_is_refused() {
    let (cura, proxy) = Cura::builder().workers(0).start_behind_proxy().await;
    let user = cura.user().await;
    let path = format!("/chat/ws/{}", conversation(&user).await);
    proxy.cut();
    match Socket::open(&user, &path).await.err() {
        Some(Error::Http(refused)) => {
            assert_eq!(refused.status().as_u16(), 503);
            assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn invalid_frames_get_an_error_and_floods_and_long_frames_close_the_socket() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    for (frame, code) in [
        (Message::text("nonsense"), "malformed_frame"),
        (Message::text("{\"type\":\"dance\"}"), "unknown_type"),
        (Message::text("{\"type\":\"message\"}"), "invalid_frame"),
        (
            Message::text("{\"type\":\"message\",\"content\":\" \"}"),
            "invalid_content",
        ),
        (Message::binary(vec![1, 2, 3]), "malformed_frame"),
    ] {
        socket.send_frame(frame).await;
        let answer = socket.next().await.unwrap();
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)));
    }
    socket.send_frame(Message::text("x".repeat(128 * 1024 + 1))).await;
    assert_eq!(socket.closed().await, 1009);
    let mut socket = Socket::of(&user, &conversation, None).await;
    for _ in 0..200 {
        socket.send(&json!({ "type": "typing", "is_typing": true })).await;
    }
    assert_eq!(socket.closed().await, 1008);
}

#[tokio::test]
async fn a_socket_spends_the_same_budget_as_everything_else() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("RATE_LIMIT_CHAT", "2")
        .start()
        .await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    assert_eq!(user.post("/chat/send", &json!({ "content": "Hi" })).await.status, 200);
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket
        .send(&json!({ "type": "message", "content": "one", "client_message_id": "1" }))
        .await;
    socket.until("complete").await;
    socket
        .send(&json!({ "type": "message", "content": "two", "client_message_id": "2" }))
        .await;
    let refused = socket.until("error").await;
    let refused = refused.last().unwrap();
    assert_eq!(
        (&refused["code"], &refused["client_message_id"]),
        (&json!("rate_limited"), &json!("2"))
    );
    assert_eq!(refused["retryable"], true);
    socket
        .send(&json!({ "type": "message", "content": "one", "client_message_id": "1" }))
        .await;
    let again = socket.until("ack").await;
    assert_eq!(again.last().unwrap()["replayed"], true, "a repetition is free");
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn sessions_that_end_and_tokens_that_expire_end_sockets_and_a_fresh_token_keeps_one() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "auth", "token": "garbage" })).await;
    assert_eq!(socket.next().await.unwrap()["code"], "not_authenticated");
    let other = cura.client().register("other@example.com").await;
    socket.send(&json!({ "type": "auth", "token": other.token })).await;
    assert_eq!(
        socket.next().await.unwrap()["code"],
        "not_authenticated",
        "only one's own"
    );
    socket.send(&json!({ "type": "auth", "token": user.token })).await;
    let taken = socket.next().await.unwrap();
    assert_eq!(taken["type"], "auth");
    assert!(taken["expires_at"].is_string());
    user.post("/auth/logout-all", &Value::Null).await;
    let begun = Instant::now();
    let ended = socket.until("session_ended").await;
    assert_eq!(ended.last().unwrap()["reason"], "signed_out");
    assert_eq!(socket.closed().await, 4401);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_token_that_expires_ends_what_was_opened_with_it_unless_a_fresh_one_comes() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let session = user.get("/auth/sessions").await.body["items"][0]["id"]
        .as_i64()
        .unwrap();
    let lifetimes = TokenLifetimes {
        access: chrono::TimeDelta::seconds(3),
        refresh: chrono::TimeDelta::days(1),
        session: chrono::TimeDelta::days(1),
    };
    // Signed as the server would sign it, for a shorter time.
    let settings = Settings::from_environment().unwrap();
    let tokens = Tokens::new(settings.security.secret_keys(), lifetimes);
    let now = chrono::DateTime::from(std::time::SystemTime::now());
    let token = AccessToken {
        caller: Caller {
            user: cura_domain::UserId(1),
            session: cura_domain::SessionId(session),
            until: now + lifetimes.access,
            oldest_generation: 0,
        },
        generation: 0,
    };
    let short = tokens.issue_access(&token, now, &cura_bin::wiring::entropy()).unwrap();
    let hasty = user.with_token(&json!(short));
    let mut stream = hasty.watch(None).await;
    let mut left = Socket::of(&hasty, &conversation, None).await;
    let mut kept = Socket::of(&hasty, &conversation, None).await;
    kept.send(&json!({ "type": "auth", "token": user.token })).await;
    assert_eq!(kept.next().await.unwrap()["type"], "auth");
    let ended = left.until("session_ended").await;
    assert_eq!(ended.last().unwrap()["reason"], "expired");
    assert_eq!(left.closed().await, 4401);
    assert_eq!(stream.rest().await.last().unwrap().data["reason"], "expired");
    kept.send(&json!({ "type": "ping" })).await;
    assert_eq!(kept.next().await.unwrap()["type"], "pong");
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_the_other_one_goes_on() {
    let provider = ScriptedProvider::answering(&TOKENS, Duration::from_millis(300)).await;
    let mut cura = Cura::builder().servers(2).with_provider(&provider).start().await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    let mut seen = socket.until("chunk").await;
    cura.servers[0].program.signal("TERM");
    let code = loop {
        match socket.next().await {
            Ok(event) => seen.push(event),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 1012);
    let there = user.at(&cura.servers[1].base);
    let mut socket = Socket::of(&there, &conversation, socket.cursor.as_deref()).await;
    seen.extend(socket.until("complete").await);
    assert_eq!(text_of(&seen, &seen[0]["message_id"]), TEXT);
    assert_eq!(cura.servers[0].program.ended().await, Some(0));
}

#[tokio::test]
async fn a_reader_that_does_not_read_keeps_no_server_from_stopping() {
    let word = "word ".repeat(2000);
    let provider = ScriptedProvider::answering(&[word.as_str(); 60], Duration::ZERO).await;
    let mut cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    for _ in 0..20 {
        let body = json!({ "content": "Hi", "conversation_id": conversation });
        assert_eq!(user.post("/chat/send", &body).await.status, 200);
    }
    let begun = Instant::now();
    cura.servers[0].program.signal("TERM");
    assert_eq!(cura.servers[0].program.ended().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    socket.closed().await;
}

/// A socket of `conversation` whose client takes little into its hands at once.
async fn small_socket(client: &Client, conversation: &Value) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = client.base().trim_start_matches("http://").parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = raw_socket::request(client, &format!("/chat/ws/{conversation}"), &[]);
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_reader_that_does_not_read_what_it_asks_for_is_let_go_with_its_session() {
    let word = "word ".repeat(3000);
    let provider = ScriptedProvider::answering(&[word.as_str(); 60], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let frame = json!({ "type": "message", "content": "Hi", "client_message_id": "a" });
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&frame).await;
    socket.until("complete").await;
    // Each repetition of the message replays its end: nearly a megabyte each time.
    let mut stream = small_socket(&user, &conversation).await;
    let again = raw_socket::text(&frame.to_string());
    stream.write_all(&again.repeat(20)).await.unwrap();
    stream.read_exact(&mut [0; 2000]).await.unwrap();
    user.post("/auth/logout-all", &Value::Null).await;
    let begun = Instant::now();
    let pong = raw_socket::frame(FIN | PONG, b"");
    eventually("the server lets go", async || {
        let gone = |error: std::io::Error| error.kind() != std::io::ErrorKind::WouldBlock;
        stream.try_write(&pong).is_err_and(gone).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_socket_of_a_conversation_that_is_deleted_says_so_and_ends() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let made = user.post("/conversations", &json!({})).await.body;
    let mut socket = Socket::of(&user, &made["id"], None).await;
    let delete = user.request(Method::DELETE, &format!("/conversations/{}", made["id"]));
    assert_eq!(user.send(delete).await.status, 204);
    assert_eq!(socket.until("conversation").await.pop().unwrap()["deleted"], true);
    assert_eq!(socket.closed().await, 4404);
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_opens_no_socket() {
    let cura = Cura::builder()
        .workers(0)
        .with("ALLOWED_ORIGINS", r#"["https://app.example"]"#)
        .with("TRUSTED_PROXIES", "127.0.0.2")
        .start()
        .await;
    let user = cura.user().await;
    let path = format!("/chat/ws/{}", conversation(&user).await);
    let address = user.base().trim_start_matches("http://").to_owned();
    let own = format!("http://{address}");
    let opens = async |headers: &[(&str, Option<&str>)]| {
        let mut socket = RawSocket::connect(&user).await;
        let request = raw_socket::request(&user, &path, headers);
        socket.send(format!("{request}\r\n").as_bytes()).await;
        socket.head().await
    };
    for evil in [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:8443",
        "null",
        "http://localhost:1",
        "",
    ] {
        let head = opens(&[("Origin", Some(evil)), ("Host", Some(&address))]).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{evil}: {head}");
        assert!(
            !head.to_ascii_lowercase().contains("access-control-allow-origin"),
            "{head}"
        );
    }
    // It need not be signed in to be refused, and no ticket is used up.
    let ticket = user.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let by_ticket = format!("{path}?ticket={}", ticket.as_str().unwrap());
    let mut foreign = RawSocket::connect(&user).await;
    let request = raw_socket::request(&cura.client(), &by_ticket, &[("Origin", Some("https://evil.example"))]);
    foreign.send(format!("{request}\r\n").as_bytes()).await;
    let head = foreign.head().await.to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 403 ") && head.contains("problem+json"),
        "{head}"
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let problem: Value = serde_json::from_slice(&foreign.body(length.parse().unwrap()).await).unwrap();
    assert_eq!(problem["code"], "origin_not_allowed");
    let mut socket = Socket::open(&cura.client(), &by_ticket).await.unwrap();
    socket.send(&json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await.unwrap()["type"], "pong");
    let forwarded = ("X-Forwarded-Host", Some("chat.example"));
    for (headers, status) in [
        (vec![], 101),
        (
            vec![("Origin", Some("https://app.example")), ("Host", Some("elsewhere"))],
            101,
        ),
        (vec![("Origin", Some(own.as_str())), ("Host", Some(&address))], 101),
        (
            vec![("Origin", Some("https://chat.example")), ("Host", Some("chat.example"))],
            101,
        ),
        (vec![("Origin", Some("https://chat.example")), forwarded], 403),
    ] {
        let head = opens(&headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers:?}: {head}");
    }
}

#[tokio::test]
async fn a_page_of_the_host_that_a_trusted_proxy_names_opens_sockets() {
    let cura = Cura::builder()
        .workers(0)
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let user = cura.user().await;
    let path = format!("/chat/ws/{}", conversation(&user).await);
    for (origin, status) in [("https://chat.example", 101), ("https://evil.example", 403)] {
        let headers = [("Origin", Some(origin)), ("X-Forwarded-Host", Some("chat.example"))];
        let mut socket = RawSocket::connect(&user).await;
        let request = raw_socket::request(&user, &path, &headers);
        socket.send(format!("{request}\r\n").as_bytes()).await;
        let head = socket.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {head}");
    }
}
