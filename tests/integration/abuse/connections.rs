//! Connections: whoever opens as many as there are, or says nothing on them, keeps nobody out, and the server does not look dead.

use std::time::Duration;

use cura_tests::{Attacker, Client, Cura, eventually};
use futures_util::future::join_all;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything but a silent connection should take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn silent(attacker: &Attacker, how_many: usize) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    while connections.len() < how_many {
        let connected = join_all((0..50).map(|_| attacker.connect())).await;
        connections.extend(connected.into_iter().flatten());
    }
    connections
}

/// How many of these the server has not ended.
async fn still_open(connections: &mut [TcpStream]) -> usize {
    let open = connections.iter_mut().map(async |connection| {
        let mut byte = [0];
        timeout(Duration::from_millis(1), connection.read(&mut byte))
            .await
            .is_err()
    });
    join_all(open).await.into_iter().filter(|is_open| *is_open).count()
}

async fn check_that_others_are_served(cura: &Cura) {
    for path in ["/health/live", "/health/ready"] {
        let request = cura.client().request(Method::GET, path).timeout(PATIENCE);
        assert_eq!(cura.client().send(request).await.status, 200, "{path}");
    }
    let guest = cura.client().post("/auth/login", &serde_json::json!({})).await;
    assert_eq!(guest.status, 422, "{}", guest.body);
}

#[tokio::test]
async fn silent_connections_of_one_address_keep_nobody_out() {
    let cura = Cura::builder()
        .workers(0)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "40")
        .start()
        .await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]);
    let mut connections = silent(&attacker, 1000).await;
    check_that_others_are_served(&cura).await;
    let limit_holds = async {
        while still_open(&mut connections).await > 40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, limit_holds).await.expect("the others are closed");
    // Even the attacker's neighbours at the same address: the idlest connection goes.
    let request = attacker.head("GET", "/health", "Connection: close\r\n");
    let neighbour = attacker.say(&request, PATIENCE, |_| false).await;
    assert_eq!(neighbour.status, Some(200));
}

#[tokio::test]
async fn more_silent_connections_than_descriptors_keep_nobody_out() {
    let mut cura = Cura::builder()
        .workers(0)
        .servers(0)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .start()
        .await;
    cura.add_server_with_descriptors("-n", 600).await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]);
    let connections = silent(&attacker, 1300).await;
    check_that_others_are_served(&cura).await;
    drop(connections);
    let logs = cura.logs();
    assert!(logs.contains("the hard limit of file descriptors is low"), "{logs}");
    assert!(!logs.contains("accepting a connection failed"), "{logs}");
}

#[tokio::test]
async fn the_soft_limit_of_descriptors_is_raised() {
    let mut cura = Cura::builder().workers(0).servers(0).start().await;
    cura.add_server_with_descriptors("-Sn", 200).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", cura.servers[0].program.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{files}");
}

/// A stream that stays open, and its status.
async fn stream(user: &Client, forwarded_for: &str) -> reqwest::Response {
    let request = user.request(Method::GET, "/events");
    request.header("x-forwarded-for", forwarded_for).send().await.unwrap()
}

#[tokio::test]
async fn an_address_whose_connections_are_all_busy_is_told_so() {
    let cura = Cura::builder()
        .workers(0)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "3")
        .with("ALLOWED_ORIGINS", r#"["https://app.example"]"#)
        .start()
        .await;
    let user = cura.user().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(stream(&user, "").await);
    }
    let refused = Client::new(&cura.servers[0].base).get("/openapi.json").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "too_many_connections"));
    assert_eq!(
        (refused.header("ratelimit-limit"), refused.header("ratelimit-remaining")),
        (Some("3"), Some("0"))
    );
    assert_eq!(refused.header("ratelimit-reset"), refused.header("retry-after"));
    // A page can read it, if it may call this server.
    for (origin, allowed) in [("https://app.example", true), ("https://evil.example", false)] {
        let stranger = Client::new(&cura.servers[0].base);
        let request = stranger.request(Method::GET, "/openapi.json").header("origin", origin);
        let refused = stranger.send(request).await;
        let readable = refused.header("access-control-allow-origin");
        assert_eq!((refused.status.as_u16(), readable), (429, allowed.then_some(origin)));
    }
    assert!(refused.header("retry-after").is_some() && refused.header("x-request-id").is_some());
    assert_eq!(refused.header("connection"), Some("close"));
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(Client::new(&cura.servers[0].base).get(path).await.status, 200, "{path}");
    }
    let elsewhere = Attacker::new(&cura.servers[0].base, [127, 0, 0, 3]);
    let request = elsewhere.head("GET", "/openapi.json", "Connection: close\r\n");
    assert_eq!(elsewhere.say(&request, PATIENCE, |_| false).await.status, Some(200));
    // A stream that ends makes room.
    streams.pop();
    eventually("there is room again", async || {
        let reply = Client::new(&cura.servers[0].base).get("/openapi.json").await;
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_it_forwards_counts() {
    let cura = Cura::builder()
        .workers(0)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "2")
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let user = cura.user().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(stream(&user, "203.0.113.1").await);
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    assert_eq!(stream(&user, "203.0.113.1").await.status(), 429);
    assert_eq!(stream(&user, "203.0.113.2").await.status(), 200);
    assert_eq!(cura.client().get("/health/live").await.status, 200);
    streams.clear();
    eventually("there is room again", async || {
        (stream(&user, "203.0.113.1").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_come_is_waited_for_ten_seconds() {
    let cura = Cura::without_workers().await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]);
    let (silent, slow) = futures_util::future::join(
        attacker.say("", PATIENCE, |_| false),
        attacker.never_end(
            "GET /health HTTP/1.1\r\n",
            b"x: y\r\n",
            Duration::from_secs(1),
            PATIENCE,
        ),
    )
    .await;
    for outcome in [silent, slow] {
        assert!(outcome.ended && outcome.took >= Duration::from_secs(9), "{outcome:?}");
    }
    let logged = cura.servers[0]
        .program
        .wait_for_log("the head of its first request took too long");
    logged.await;
    assert!(!cura.logs().contains("127.0.0.2"), "{}", cura.logs());
}

#[tokio::test]
async fn a_kept_connection_serves_one_request_after_the_other() {
    let cura = Cura::without_workers().await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]);
    let mut connection = attacker.connect().await.unwrap();
    for _ in 0..3 {
        connection
            .write_all(attacker.head("GET", "/health/live", "").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            answer.push(timeout(PATIENCE, connection.read_u8()).await.unwrap().unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn a_port_of_its_own_tells_health_and_metrics_and_nothing_else() {
    let cura = Cura::builder().workers(0).with("METRICS_PORT", "0").start().await;
    let port = cura.servers[0].program.wait_for_log("metrics").await;
    let address: String = port
        .chars()
        .filter(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
        .collect();
    let probe = Client::new(&format!("http://{}", address.trim_matches(['.', ':'])));
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(probe.get(path).await.status, 200, "{path}");
    }
    let metrics = probe.get("/metrics").await;
    assert_eq!(
        (metrics.status.as_u16(), metrics.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let made = "INSERT INTO backups (taken_at, finished_at, size, is_encrypted, is_scheduled)
                VALUES (to_timestamp(1764489600), to_timestamp(1764489601), 4711, true, true)";
    sqlx::query(made).execute(cura.database.pool()).await.unwrap();
    eventually("the metrics tell of the backup", async || {
        let told = String::from_utf8(probe.get("/metrics").await.bytes).unwrap();
        let lines = [
            "cura_backup_last_success_timestamp_seconds 1764489601",
            "cura_backup_last_size_bytes 4711",
        ];
        lines
            .iter()
            .all(|line| told.lines().any(|known| known == *line))
            .then_some(())
    })
    .await;
    for path in ["/health", "/openapi.json", "/users/me", "/metrics/"] {
        let reply = probe.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (404, "not_found"), "{path}");
    }
}
