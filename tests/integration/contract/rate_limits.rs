//! Rate limits and their headers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cura_tests::{Client, Cura, CuraBuilder, Reply, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};

fn server() -> CuraBuilder {
    Cura::builder().workers(0)
}

/// A login that cannot succeed, seen as coming from `address`.
async fn try_login(client: &Client, email: &str, address: &str) -> Reply {
    let request = client
        .request(Method::POST, "/auth/login")
        .header("x-forwarded-for", address)
        .json(&json!({ "email": email, "password": "not my password" }));
    client.send(request).await
}

fn assert_limited(reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.code()), (429, "rate_limited"));
    let number = |name: &str| reply.header(name).unwrap().parse::<u64>().unwrap();
    assert_eq!(number("ratelimit-remaining"), 0);
    assert!((1..=60).contains(&number("retry-after")), "{:?}", reply.headers);
    assert!((number("retry-after")..=60).contains(&number("ratelimit-reset")));
}

#[tokio::test]
async fn passwords_are_tried_five_times_a_minute_by_address_and_by_account() {
    let cura = server()
        .with("RATE_LIMIT_AUTH", "5")
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let anonymous = cura.client();
    for left in (0..5).rev() {
        let tried = try_login(&anonymous, &format!("a{left}@example.com"), "203.0.113.1").await;
        assert_eq!(tried.status, 401);
        assert_eq!(tried.header("ratelimit-limit"), Some("5"));
        assert_eq!(tried.header("ratelimit-remaining"), Some(left.to_string().as_str()));
    }
    assert_limited(&try_login(&anonymous, "fresh@example.com", "203.0.113.1").await);
    for n in 0..5 {
        let tried = try_login(&anonymous, "ann@example.com", &format!("198.51.100.{n}")).await;
        assert_eq!(tried.status, 401, "from many addresses");
    }
    assert_limited(&try_login(&anonymous, " ANN@example.com ", "198.51.100.99").await);
    assert_eq!(
        try_login(&anonymous, "bob@example.com", "198.51.100.99").await.status,
        401
    );
}

#[tokio::test]
async fn without_trusted_proxies_no_client_chooses_its_own_address() {
    let cura = server().with("RATE_LIMIT_AUTH", "2").start().await;
    for n in 0..2 {
        assert_eq!(
            try_login(&cura.client(), &format!("a{n}@example.com"), &format!("203.0.113.{n}"))
                .await
                .status,
            401
        );
    }
    assert_limited(&try_login(&cura.client(), "c@example.com", "203.0.113.77").await);
}

#[tokio::test]
async fn every_user_has_a_rate_limit_and_sees_what_is_left_of_it() {
    let cura = server().with("RATE_LIMIT_DEFAULT", "3").start().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    for left in ["2", "1", "0"] {
        let me = ann.get("/users/me").await;
        assert_eq!(
            (me.status.as_u16(), me.header("ratelimit-remaining")),
            (200, Some(left))
        );
    }
    assert_limited(&ann.get("/conversations").await);
    assert_eq!(bob.get("/users/me").await.status, 200);
    for _ in 0..5 {
        let health = cura.client().get("/health/live").await;
        assert_eq!(health.status, 200);
        assert!(health.header("ratelimit-limit").is_none(), "probes are free");
    }
}

#[tokio::test]
async fn guessed_tokens_are_counted_by_address() {
    let cura = server().with("RATE_LIMIT_DEFAULT", "4").start().await;
    let forger = cura.client().with_token(&json!("a.b.c"));
    for n in 0..4 {
        let client = if n % 2 == 0 { &forger } else { &cura.client() };
        assert_eq!(client.get("/users/me").await.status, 401);
    }
    assert_limited(&forger.get("/users/me").await);
    assert_limited(&cura.client().get("/conversations").await);
    let refresh = json!({ "refresh_token": "guess" });
    assert_limited(&cura.client().post("/auth/refresh", &refresh).await);
}

#[tokio::test]
async fn asking_for_answers_has_a_budget_of_its_own_and_repeating_is_free() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("RATE_LIMIT_CHAT", "2")
        .start()
        .await;
    let ann = cura.user().await;
    let send = async |key: &str| {
        let request = ann.request(Method::POST, "/chat/send").header("Idempotency-Key", key);
        ann.send(request.json(&json!({ "content": "Hi" }))).await
    };
    for key in ["one", "two"] {
        let sent = send(key).await;
        assert_eq!((sent.status.as_u16(), sent.header("ratelimit-limit")), (200, Some("2")));
    }
    assert_limited(&send("three").await);
    for _ in 0..5 {
        let again = send("one").await;
        assert_eq!(
            (again.status.as_u16(), again.header("idempotent-replayed")),
            (200, Some("true"))
        );
    }
    let stream = ann
        .request(Method::POST, "/chat/stream")
        .json(&json!({ "content": "Hi" }));
    assert_limited(&ann.events(stream).await.err().expect("refused before the stream opens"));
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn servers_share_one_budget_and_count_for_themselves_while_redis_is_away() {
    let mut cura = server().servers(2).with("RATE_LIMIT_DEFAULT", "10").start().await;
    let (here, there) = (cura.client(), cura.servers[1].base.clone());
    let number = AtomicU32::new(0);
    // The limit of a new user, plus the calls that came back in the meantime: one every six seconds.
    let burst = async || {
        let email = format!("ann{}@example.com", number.fetch_add(1, Ordering::Relaxed));
        let here = here.register(&email).await;
        let there = here.at(&there);
        let begun = Instant::now();
        let calls = (0..30).map(|n| {
            let client = if n % 2 == 0 { here.clone() } else { there.clone() };
            async move { client.get("/users/me").await.status.as_u16() }
        });
        let all = futures_util::future::join_all(calls).await;
        assert!(all.iter().all(|status| [200, 429].contains(status)), "{all:?}");
        let allowed = all.iter().filter(|status| **status == 200).count();
        (allowed, begun.elapsed().as_secs() as usize / 6)
    };
    // A server whose call of Redis timed out does not use it for a second: then once more, with another user.
    eventually("they share", async || {
        let (allowed, back) = burst().await;
        (10..=11 + back).contains(&allowed).then_some(())
    })
    .await;
    cura.redis.kill();
    let (alone, back) = burst().await;
    assert!(
        (20..=21 + 2 * back).contains(&alone),
        "each server has a whole budget, and no more: {alone}"
    );
    assert_eq!(cura.client().get("/health/live").await.status, 200);
    cura.redis.restart();
    eventually("they share again", async || {
        let (allowed, back) = burst().await;
        (10..=11 + back).contains(&allowed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_zero_is_none() {
    let cura = server().start().await;
    let ann = cura.user().await;
    for _ in 0..150 {
        let me = ann.get("/users/me").await;
        assert_eq!(me.status, 200);
        assert!(me.header("ratelimit-limit").is_none());
    }
    assert_eq!(ann.post("/auth/ticket", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn what_is_refused_before_it_is_looked_at_is_counted_too() {
    let cura = server()
        .with("RATE_LIMIT_DEFAULT", "3")
        .with("RATE_LIMIT_AUTH", "3")
        .start()
        .await;
    let client = cura.client();
    for (path, body) in [("/auth/login", "{"), ("/auth/login", "[]"), ("/auth/register", "{}")] {
        let request = client
            .request(Method::POST, path)
            .header("content-type", "application/json");
        let refused = client.send(request.body(body)).await;
        assert!(refused.status == 400 || refused.status == 422, "{}", refused.status);
        assert_eq!(refused.header("ratelimit-limit"), Some("3"));
    }
    assert_limited(&client.post("/auth/login", &json!({})).await);
}

#[tokio::test]
async fn guessing_tokens_does_not_sign_out_users_at_the_same_address() {
    let cura = server().with("RATE_LIMIT_DEFAULT", "3").start().await;
    let client = cura.client();
    let body = json!({ "email": "ann@example.com", "password": "a long password" });
    let ann = client.post("/auth/register", &body).await.body;
    let refresh = async |token: &Value| client.post("/auth/refresh", &json!({ "refresh_token": token })).await;
    for n in 0..3 {
        assert_eq!(refresh(&json!(format!("guess {n}"))).await.status, 401);
    }
    assert_limited(&refresh(&json!("one more guess")).await);
    assert_eq!(refresh(&ann["refresh_token"]).await.status, 200);
}

#[tokio::test]
async fn a_repetition_and_a_refusal_say_what_is_left_too() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("RATE_LIMIT_CHAT", "2")
        .with("RATE_LIMIT_DEFAULT", "50")
        .start()
        .await;
    let user = cura.user().await;
    let send = async |key: &str, body: Value| {
        let request = user.request(Method::POST, "/chat/send");
        user.send(request.header("Idempotency-Key", key).json(&body)).await
    };
    let hi = json!({ "content": "Hi" });
    assert_eq!(send("a", hi.clone()).await.header("ratelimit-remaining"), Some("1"));
    let refused = send("b", json!({ "content": "" })).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("ratelimit-limit")),
        (422, Some("2")),
        "of the caller, of this route"
    );
    assert_limited(&send("c", hi.clone()).await);
    let again = send("a", hi).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (200, Some("true"))
    );
    assert_eq!(again.header("ratelimit-limit"), Some("50"));
}

#[tokio::test]
async fn a_failure_of_the_server_is_not_charged() {
    let (cura, proxy) = server().with("RATE_LIMIT_DEFAULT", "3").start_behind_proxy().await;
    let user = cura.user().await;
    proxy.cut();
    for _ in 0..5 {
        let failed = user.get("/users/me").await;
        assert_eq!(
            (failed.status.as_u16(), failed.code()),
            (503, "database_unavailable"),
            "{}",
            failed.body
        );
    }
}
