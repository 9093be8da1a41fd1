//! Budgets: everything is counted before it is done, and a refusal costs next to nothing.

use std::time::{Duration, Instant};

use cura_tests::{Attacker, Client, Cura, Reply, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Long enough for any answer, and shorter than the server waits for a body.
const PATIENCE: Duration = Duration::from_secs(12);

async fn send(client: &Client, key: &str) -> Reply {
    let request = client
        .request(Method::POST, "/chat/send")
        .header("Idempotency-Key", key);
    client
        .send(request.header("Prefer", "wait=0").json(&json!({ "content": "Hi" })))
        .await
}

/// What became of many calls.
struct Flood {
    served: Vec<Reply>,
    refused: Vec<Reply>,
    /// How many may have been served: the budget, and what came back while the flood lasted.
    most: usize,
}

async fn flood(budget: usize, times: usize, mut call: impl AsyncFnMut() -> Reply) -> Flood {
    let begun = Instant::now();
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let reply = call().await;
        if reply.status == 429 {
            refused.push(reply);
        } else {
            served.push(reply);
        }
    }
    let back = usize::try_from(begun.elapsed().as_secs()).unwrap() * budget / 60 + 1;
    let most = budget + back;
    Flood { served, refused, most }
}

#[tokio::test]
async fn repetitions_are_limited_by_the_default_budget_and_cost_no_message() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_CHAT", "3")
        .with("RATE_LIMIT_DEFAULT", "6")
        .start()
        .await;
    let ann = cura.user().await;
    assert_eq!(send(&ann, "one").await.status, 202);
    let flood = flood(6, 40, async || send(&ann, "one").await).await;
    let repetitions = flood.served.len();
    assert!((6..=flood.most).contains(&repetitions), "{repetitions} repetitions");
    for reply in flood.served {
        assert_eq!(
            (reply.header("idempotent-replayed"), reply.header("ratelimit-limit")),
            (Some("true"), Some("6"))
        );
    }
    for refused in flood.refused {
        assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate_limited"));
        assert!(refused.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn a_repetition_spends_the_default_budget_only() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_CHAT", "2")
        .with("RATE_LIMIT_DEFAULT", "50")
        .start()
        .await;
    let ann = cura.user().await;
    assert_eq!(send(&ann, "one").await.status, 202);
    for _ in 0..5 {
        let again = send(&ann, "one").await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    let second = send(&ann, "two").await;
    assert_eq!(
        (second.status.as_u16(), second.header("ratelimit-remaining")),
        (202, Some("0"))
    );
    assert_eq!(send(&ann, "three").await.status, 429);
    assert_eq!(
        send(&ann, "two").await.status,
        202,
        "a repetition is answered without a message left"
    );
}

/// A request whose body is announced and does not come.
async fn is_refused_without_a_body(attacker: &Attacker, path: &str, more: &str) {
    let head = attacker.head(
        "POST",
        path,
        &format!("Content-Type: application/json\r\nContent-Length: 1000\r\n{more}"),
    );
    let outcome = attacker
        .say(&head, PATIENCE, |answer| answer.contains("\r\n\r\n"))
        .await;
    assert_eq!(outcome.status, Some(429), "{path}: {outcome:?}");
}

#[tokio::test]
async fn the_budget_is_looked_at_before_the_body_is_read() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_AUTH", "2")
        .with("RATE_LIMIT_CHAT", "1")
        .with("RATE_LIMIT_DEFAULT", "1")
        .start()
        .await;
    let ann = cura.user().await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]).with_token(ann.token.clone());
    flood(1, 2, async || send(&ann, "one").await).await;
    is_refused_without_a_body(&attacker, "/chat/stream", "").await;
    let _ = send(&ann, "one").await;
    is_refused_without_a_body(&attacker, "/chat/send", "Idempotency-Key: one\r\n").await;
    flood(1, 2, async || ann.get("/users/me").await).await;
    is_refused_without_a_body(&attacker, "/conversations", "").await;
    let body = json!({ "email": "bob@example.com", "password": "a long password" });
    flood(2, 3, async || cura.client().post("/auth/login", &body).await).await;
    for path in ["/auth/login", "/auth/register"] {
        is_refused_without_a_body(&attacker, path, "").await;
    }
}

#[tokio::test]
async fn who_was_refused_is_refused_again_without_the_database_and_redis() {
    let builder = Cura::builder().workers(0).with("RATE_LIMIT_DEFAULT", "1");
    let (mut cura, proxy) = builder.start_behind_proxy().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    flood(1, 3, async || ann.get("/users/me").await).await;
    proxy.cut();
    cura.redis.kill();
    let refused = ann.get("/users/me").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate_limited"));
    assert_eq!(bob.get("/users/me").await.status, 503, "nobody else is refused");
}

#[tokio::test]
async fn a_token_whose_session_has_ended_spends_nothing_of_its_users_budget() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_DEFAULT", "6")
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let stolen = cura.user().await;
    let body = json!({ "email": "user@example.com", "password": "a long password" });
    assert_eq!(stolen.post("/auth/logout-all", &Value::Null).await.status, 204);
    let token = cura.client().post("/auth/login", &body).await.body["access_token"].clone();
    let owner = cura.client().with_token(&token);
    let mut from = 0;
    let flood = flood(6, 60, async || {
        from += 1;
        let request = stolen.request(Method::GET, "/users/me");
        stolen
            .send(request.header("x-forwarded-for", format!("203.0.113.{from}")))
            .await
    })
    .await;
    assert!(flood.served.iter().all(|reply| reply.status == 401));
    let lookups = flood.served.len();
    assert!(lookups <= flood.most, "{lookups} lookups from as many addresses");
    assert_eq!(owner.get("/users/me").await.status, 200);
}

#[tokio::test]
async fn documents_health_and_unknown_paths_are_limited_by_address_and_orchestrators_are_not() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_DEFAULT", "2").start().await;
    let client = cura.client();
    for path in ["/openapi.json", "/health", "/nothing/here"] {
        let flood = flood(20, 30, async || client.get(path).await).await;
        let refused = flood.refused.last().expect("a refusal");
        assert_eq!(
            (refused.status.as_u16(), refused.header("ratelimit-limit")),
            (429, Some("20")),
            "{path}"
        );
    }
    for _ in 0..60 {
        assert_eq!(client.get("/health/live").await.status, 200);
    }
    assert_ne!(client.get("/health/ready").await.status, 429);
}

#[tokio::test]
async fn a_path_that_is_spelled_otherwise_is_unknown_whoever_calls_it() {
    let cura = Cura::builder().workers(0).start().await;
    let ann = cura.user().await;
    for path in [
        "//users/me",
        "/users//me",
        "/users/me/",
        "/users/me//",
        "/users%2Fme",
        "/%75sers/me",
        "/users/m%65",
        "/./users/me",
        "/users/x/../me",
        "/USERS/me",
        "/users/me;x",
    ] {
        // The library of the client would tidy the path up.
        let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]).with_token(ann.token.clone());
        let head = attacker.head("GET", path, "Connection: close\r\n");
        let outcome = attacker
            .say(&head, PATIENCE, |answer| answer.contains("\r\n\r\n"))
            .await;
        assert_eq!(outcome.status, Some(404), "{path}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_slow_body_of_a_sign_in_is_not_refused_for_an_old_token() {
    let cura = Cura::builder().workers(0).start().await;
    cura.client().register("ann@example.com").await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]).with_token(Some("a.stale.token".to_owned()));
    let body = json!({ "email": "ann@example.com", "password": "a long password" }).to_string();
    let more = format!(
        "Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    let mut stream = attacker.connect().await.unwrap();
    stream
        .write_all(attacker.head("POST", "/auth/login", &more).as_bytes())
        .await
        .unwrap();
    // Longer than a body takes without a second look at the session.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn the_errors_of_a_body_are_few_however_much_is_wrong() {
    let cura = Cura::builder().workers(0).start().await;
    let ann = cura.user().await;
    let many = vec![Value::Null; 50_000];
    let refused = ann
        .post("/chat/send", &json!({ "content": "Hi", "attachments": many }))
        .await;
    assert_eq!(refused.status, 422);
    assert!(refused.bytes.len() < 1024, "{} bytes", refused.bytes.len());
    assert_eq!(
        refused.body["errors"],
        json!([{ "pointer": "/attachments", "code": "too_many", "detail": "must have at most 10 items" }])
    );
    let wrong = [
        "id",
        "user_id",
        "role",
        "is_admin",
        "admin",
        "status",
        "created_at",
        "updated_at",
    ];
    let mut body: serde_json::Map<String, Value> = wrong.map(|name| (name.to_owned(), json!(1))).into_iter().collect();
    body.insert("attachments".to_owned(), json!(["a.png"]));
    let refused = ann.post("/chat/send", &Value::Object(body)).await;
    let errors = refused.body["errors"].as_array().unwrap();
    assert_eq!(
        (refused.status.as_u16(), errors.len()),
        (422, wrong.len() + 2),
        "each kind is there: {errors:?}"
    );
}

#[tokio::test]
async fn streams_and_sockets_of_a_person_are_limited_and_make_room_again() {
    let cura = Cura::builder().workers(0).with("USER_CONNECTIONS", "2").start().await;
    let ann = cura.user().await;
    let bob = cura.client().register("bob@example.com").await;
    let conversation = ann.post("/conversations", &json!({})).await.body["id"].clone();
    let first = ann.watch(None).await;
    let _second = ann.watch(None).await;
    let hi = json!({ "content": "Hi" });
    let requests = [
        ann.request(Method::GET, "/events"),
        ann.request(Method::POST, "/chat/stream").json(&hi),
        ann.request(Method::POST, &format!("/chat/stream/{conversation}"))
            .json(&hi),
    ];
    for request in requests {
        let refused = ann.events(request).await.err().expect("no stream");
        assert_eq!((refused.status.as_u16(), refused.code()), (429, "too_many_connections"));
        assert!(refused.header("retry-after").is_some());
    }
    let messages = ann.get(&format!("/conversations/{conversation}/messages")).await.body;
    assert_eq!(messages["items"], json!([]), "what is refused is not stored");
    bob.watch(None).await;
    drop(first);
    eventually("there is room", async || {
        ann.events(ann.request(Method::GET, "/events")).await.ok()
    })
    .await;
}
