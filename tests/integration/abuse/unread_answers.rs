//! Answers that are asked for and not read: they cost little memory, for a short time, and only their reader.

use std::time::Duration;

use cura_tests::{Attacker, Cura, ScriptedProvider, Socket, eventually, raw_socket};
use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The largest page there is.
const BUNDLE: &str = "/docs/swagger-ui-bundle.js";
/// Longer than the server waits for a client that takes nothing: 15 s, and time on a busy machine.
const STALL: Duration = Duration::from_secs(22);
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for something, and reads nothing.
async fn ask(attacker: &Attacker, path: &str) -> TcpStream {
    let mut connection = attacker.connect().await.unwrap();
    let request = attacker.head("GET", path, "Connection: close\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

/// Reads what there is until the end, pausing after each piece; how many bytes came.
async fn read_slowly(mut connection: TcpStream, pause: Duration) -> usize {
    let (mut buffer, mut length) = (vec![0; 64 * 1024], 0);
    loop {
        match timeout(PATIENCE, connection.read(&mut buffer)).await.unwrap() {
            Ok(0) | Err(_) => return length,
            Ok(more) => length += more,
        }
        sleep(pause).await;
    }
}

#[tokio::test]
async fn who_takes_nothing_for_fifteen_seconds_is_let_go_and_who_reads_slowly_is_not() {
    let cura = Cura::without_workers().await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]);
    let whole = read_slowly(ask(&attacker, BUNDLE).await, Duration::ZERO).await;
    assert!(whole > 1_000_000, "{whole}");
    let stalled = async {
        let connection = ask(&attacker, BUNDLE).await;
        sleep(STALL).await;
        read_slowly(connection, Duration::ZERO).await
    };
    // Slow enough to take longer than a stalled one would be given.
    let slow = async { read_slowly(ask(&attacker, BUNDLE).await, Duration::from_millis(700)).await };
    let (stalled, slow) = join(stalled, slow).await;
    assert!(stalled < whole, "{stalled} of {whole} bytes were still sent");
    assert_eq!(slow, whole);
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_is_not_a_stalled_one() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    sleep(STALL).await;
    let request = user.request(Method::POST, "/conversations").json(&json!({}));
    assert_eq!(user.send(request).await.status, 201);
    stream.until("conversation").await;
}

#[tokio::test]
async fn what_an_address_has_not_read_is_bounded_and_costs_nobody_else() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"]
        .as_i64()
        .unwrap();
    let fill = "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
                SELECT $1, 1, 'user', repeat('\u{1f44b}', 10000), 'sent', now(), now() FROM generate_series(1, 100)";
    sqlx::query(fill)
        .bind(conversation)
        .execute(cura.database.pool())
        .await
        .unwrap();
    let page = format!("/conversations/{conversation}/messages?limit=100");
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]).with_token(user.token.clone());
    let size = user.get(&page).await.bytes.len();
    // Some more than fit into 16 MiB, and what the sockets take.
    let connections = join_all((0..(48 * 1024 * 1024 / size).clamp(6, 200)).map(|_| ask(&attacker, &page))).await;
    let heads = connections.iter().map(async |connection| {
        let mut head = [0; 12];
        timeout(PATIENCE, connection.peek(&mut head)).await.unwrap().unwrap();
        String::from_utf8_lossy(&head[9..12]).into_owned()
    });
    let statuses = join_all(heads).await;
    let count = |status: &str| statuses.iter().filter(|other| *other == status).count();
    assert!(count("200") >= 1 && count("429") >= 1, "{statuses:?}");
    assert_eq!(count("200") + count("429"), statuses.len(), "{statuses:?}");
    assert_eq!(user.get(&page).await.status, 200, "from another address");
    drop(connections);
    eventually("everything was given back", async || {
        let outcome = read_slowly(ask(&attacker, &page).await, Duration::ZERO).await;
        (outcome >= size).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_page_that_a_client_has_is_not_sent_again() {
    let cura = Cura::without_workers().await;
    // What comes is looked at as it comes.
    let http = reqwest::Client::builder().no_gzip().timeout(PATIENCE).build().unwrap();
    for path in [BUNDLE, "/docs/", "/redoc", "/openapi.json"] {
        let url = format!("{}{path}", cura.servers[0].base);
        let get = async |method: Method, headers: &[(&str, &str)]| {
            let mut request = http.request(method, &url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            (status, headers, response.bytes().await.unwrap().len())
        };
        let (status, headers, length) = get(Method::GET, &[]).await;
        let tag = headers["etag"].to_str().unwrap();
        assert_eq!(
            (status, &headers["vary"]),
            (200, &"accept-encoding".parse().unwrap()),
            "{path}"
        );
        assert!(
            headers["cache-control"]
                .to_str()
                .unwrap()
                .starts_with("public, max-age="),
            "{path}"
        );
        let (status, known, empty) = get(Method::GET, &[("if-none-match", tag)]).await;
        assert_eq!((status, empty, &known["etag"]), (304, 0, &headers["etag"]), "{path}");
        assert_eq!(
            get(Method::GET, &[("if-none-match", "\"another\"")]).await.0,
            200,
            "{path}"
        );
        let (_, zipped, zipped_length) = get(Method::GET, &[("accept-encoding", "gzip")]).await;
        assert_eq!(&zipped["content-encoding"], "gzip", "{path}");
        assert!(zipped_length < length && zipped["etag"] != headers["etag"], "{path}");
        let (status, head, empty) = get(Method::HEAD, &[]).await;
        assert_eq!(
            (status, empty, &head["content-length"]),
            (200, 0, &length.to_string().parse().unwrap()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_sockets_have_not_read_counts_for_their_address_and_costs_nobody_else() {
    let provider = ScriptedProvider::answering(&vec!["x".repeat(60_000); 15], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let conversation = user.send_message(&Value::Null, "Hi").await["conversation_id"].clone();
    let path = format!("/chat/ws/{conversation}?after=0");
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]);
    let request = format!("{}\r\n", raw_socket::request(&user, &path, &[]));
    let mut unread = Vec::new();
    // Each is sent an answer of 900 kB; more than fits into 16 MiB.
    for _ in 0..25 {
        let mut connection = attacker.connect().await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        unread.push(connection);
    }
    eventually("some of them are closed", async || {
        let logs = cura.logs();
        logs.contains("its address does not take what it was sent")
            .then_some(())
    })
    .await;
    let mut socket = Socket::open(&user, &path).await.unwrap();
    socket.until("complete").await;
    drop(unread);
}
