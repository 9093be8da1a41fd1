//! Plain calls.

use std::time::{Duration, Instant};

use cura_tests::Cura;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;

use crate::answers::{TOKEN_EVERY, provider};
use crate::measure::{at, ms, row};

/// 10,000 calls in a minute, on mixed routes, by 20 people.
pub async fn mixed_calls() {
    const CALLS: u32 = 10_000;
    let provider = provider(1, TOKEN_EVERY).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "warn,cura_bin=info")
        .with("DATABASE_POOL_SIZE", "10")
        .start()
        .await;
    let mut people = Vec::new();
    for n in 0..20 {
        let person = cura.client().register(&format!("person{n}@example.com")).await;
        let sent = person.post("/chat/send", &json!({ "content": "Hi" })).await.body;
        people.push((
            person,
            sent["conversation_id"].clone(),
            sent["assistant_message"]["id"].clone(),
        ));
    }
    let begun = Instant::now();
    let calls = (0..CALLS).map(|n| {
        let (person, conversation, message) = people[n as usize % people.len()].clone();
        async move {
            tokio::time::sleep_until((begun + Duration::from_secs(60) * n / CALLS).into()).await;
            let get = |path: String| person.request(Method::GET, &path);
            let patch = |path: String, body: serde_json::Value| person.request(Method::PATCH, &path).json(&body);
            let request = match n % 10 {
                0 | 1 => get("/users/me".to_owned()),
                2 => get("/conversations?limit=20".to_owned()),
                3 => get(format!("/conversations/{conversation}")),
                4 => get(format!("/conversations/{conversation}/messages")),
                5 => get(format!("/chat/messages/{message}")),
                6 => patch("/users/me".to_owned(), json!({ "preferences": { "n": n } })),
                7 => patch(
                    format!("/conversations/{conversation}"),
                    json!({ "title": format!("Title {n}") }),
                ),
                8 => person.request(Method::POST, "/conversations").json(&json!({})),
                _ => person
                    .request(Method::POST, "/chat/send")
                    .header("Prefer", "wait=0")
                    .json(&json!({ "content": "Hi" })),
            };
            let sent = Instant::now();
            let status = person.send(request).await.status;
            (status.is_success(), sent.elapsed())
        }
    });
    let done: Vec<_> = futures_util::stream::iter(calls)
        .buffer_unordered(10_000)
        .collect()
        .await;
    let wrong = done.iter().filter(|(right, _)| !right).count();
    let mut times: Vec<Duration> = done.into_iter().map(|(_, time)| time).collect();
    times.sort();
    let measured = format!(
        "{wrong} errors; p50 {}, p95 {}, p99 {}; {:.1} s in all",
        ms(at(&times, 50)),
        ms(at(&times, 95)),
        ms(at(&times, 99)),
        begun.elapsed().as_secs_f64()
    );
    row("10,000 calls a minute, mixed", "0 errors, p95 < 20 ms", &measured);
}

/// What a wrong password and an unknown address cost, at the default cost of a hash.
pub async fn sign_in_times() {
    let cura = Cura::builder()
        .workers(0)
        .with("PASSWORD_HASH_MEMORY_KIB", "19456")
        .with("PASSWORD_HASH_PASSES", "2")
        .start()
        .await;
    cura.client().register("known@example.com").await;
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..60 {
        for (email, times) in ["known@example.com", "unknown@example.com"].iter().zip(&mut times) {
            let begun = Instant::now();
            let body = json!({ "email": email, "password": format!("wrong password {n}") });
            assert_eq!(cura.client().post("/auth/login", &body).await.status, 401);
            times.push(begun.elapsed());
        }
    }
    for times in &mut times {
        times.sort();
    }
    let [known, unknown] = times.map(|times| ms(at(&times, 50)));
    row(
        "signing in with a wrong password / an unknown address, median",
        "the same",
        &format!("{known} / {unknown}"),
    );
}
