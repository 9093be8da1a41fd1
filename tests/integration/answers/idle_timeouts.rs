//! Postgres or Redis is silent without closing a connection: requests time out, and no word is held back or lost.

use std::time::{Duration, Instant};

use cura_tests::{Proxy, TestRedis, eventually, interrupted_answer};
use serde_json::json;

#[tokio::test]
async fn a_silent_postgres_is_a_503_and_holds_no_word_back() {
    let long = interrupted_answer().words(400, Duration::from_millis(20)).read(1);
    let (mut answer, proxy) = long.start_behind_proxy().await;
    let user = answer.user.clone();
    proxy.fall_silent();
    let silent = Instant::now();
    let ask = async || {
        let asked = Instant::now();
        let reply = user.get("/users/me").await;
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        assert_eq!((reply.status.as_u16(), reply.code()), (503, "database_unavailable"));
        assert!(reply.header("retry-after").is_some());
    };
    let watch = async {
        let mut longest = Duration::ZERO;
        let mut last = Instant::now();
        while silent.elapsed() < Duration::from_secs(4) {
            let next = answer.stream.next().await.unwrap();
            answer.seen.push(next);
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        // A request that waits for Postgres waits five seconds.
        assert!(longest < Duration::from_secs(4), "a word was held back for {longest:?}");
    };
    let sign_in = async {
        let asked = Instant::now();
        let body = json!({ "email": "user@example.com", "password": "a long password" });
        let reply = answer.cura.client().post("/auth/login", &body).await;
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        assert_eq!((reply.status.as_u16(), reply.code()), (503, "database_unavailable"));
    };
    tokio::join!(ask(), ask(), sign_in, watch);
    proxy.restore();
    eventually("all requests are served again", async || {
        let asked = futures_util::future::join_all((0..20).map(|_| user.get("/users/me"))).await;
        asked.iter().all(|reply| reply.status == 200).then_some(())
    })
    .await;
    answer.finish().await;
    assert_eq!(answer.last().name, "complete");
    assert_eq!(answer.last().data["message"]["content"], answer.text_seen());
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await;
    let path = sent.header("location").unwrap().to_owned();
    eventually("the worker works again", async || {
        (user.get(&path).await.body["metadata"]["attempts"].as_i64() >= Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_redis_is_given_up_and_found_again() {
    let redis = TestRedis::start();
    let proxy = Proxy::to_port(redis.port()).await;
    let mut answer = interrupted_answer()
        .words(400, Duration::from_millis(20))
        .read(1)
        .with("REDIS_URL", format!("redis://127.0.0.1:{}", proxy.port()))
        .start()
        .await;
    let user = answer.user.clone();
    proxy.fall_silent();
    eventually("it is noticed", async || {
        let health = user.get("/health").await.body;
        (health["redis"]["status"] == "down").then_some(())
    })
    .await;
    proxy.restore();
    eventually("it is found again", async || {
        let health = user.get("/health").await.body;
        (health["redis"]["status"] == "up").then_some(())
    })
    .await;
    // Whatever was lost on the way, the text is right, and the next answer comes word by word again.
    answer.finish().await;
    assert_eq!(answer.last().data["message"]["content"], answer.text_seen());
    eventually("words come one by one", async || {
        let mut stream = user.stream("Hi").await;
        let mut chunks = 0;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let next = tokio::time::timeout(Duration::from_secs(1), stream.next()).await;
            chunks += usize::from(next.is_ok_and(|event| event.is_some_and(|event| event.name == "chunk")));
        }
        (chunks > 20).then_some(())
    })
    .await;
}
