//! Bodies that never end, that trickle, or that nobody wants: they hold what was sent and no more, and not for long.

use std::time::Duration;

use cura_tests::problem::assert_problem;
use cura_tests::{Attacker, Cura};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(40);
const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn whoever_signs_in_may_send_eight_kilobytes() {
    let cura = Cura::without_workers().await;
    let sign_in = async |bytes: usize| {
        let body = json!({ "email": "a@example.com", "password": "a long password", "more": "x".repeat(bytes) });
        cura.client().post("/auth/login", &body).await
    };
    assert_problem(&sign_in(7_000).await, 401, "a large body");
    assert_problem(&sign_in(9_000).await, 413, "a too large body");
}

#[tokio::test]
async fn a_body_that_only_trickles_is_not_waited_for_to_the_end() {
    let cura = Cura::without_workers().await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]);
    let head = attacker.head("POST", "/auth/login", &format!("{JSON}Content-Length: 8000\r\n"));
    let outcome = attacker
        .never_end(&head, b" ", Duration::from_millis(300), PATIENCE)
        .await;
    assert_eq!(outcome.status, Some(408), "{outcome:?}");
    assert!(outcome.answer.contains("request_timeout"), "{outcome:?}");
    assert!(outcome.sent < 100, "{outcome:?}");
}

#[tokio::test]
async fn the_bodies_of_one_address_are_bounded_together_and_cost_nobody_else() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 2]).with_token(user.token.clone());
    let head = attacker.head("PATCH", "/users/me", &format!("{JSON}Content-Length: 262144\r\n"));
    let almost = format!("{head}{}", " ".repeat(262_143));
    let attack = join_all((0..48).map(|_| attacker.say(&almost, PATIENCE, |answer| answer.contains("\r\n\r\n"))));
    let others = async {
        for _ in 0..10 {
            assert_eq!(user.post("/conversations", &json!({})).await.status, 201);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let (outcomes, ()) = futures_util::future::join(attack, others).await;
    let count = |status| outcomes.iter().filter(|outcome| outcome.status == Some(status)).count();
    assert!(count(429) >= 1 && count(408) >= 32, "{} and {}", count(429), count(408));
    let refused = outcomes.iter().find(|outcome| outcome.status == Some(429)).unwrap();
    assert!(refused.answer.contains("too_many_connections"), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
}

#[tokio::test]
async fn a_request_that_is_refused_unread_leaves_its_connection_usable_or_says_that_it_closes() {
    let cura = Cura::without_workers().await;
    let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]);
    let mut connection = attacker.connect().await.unwrap();
    // Signed out: refused before the body is looked at.
    let body = " ".repeat(20_000);
    let small = attacker.head(
        "POST",
        "/conversations",
        &format!("{JSON}Content-Length: {}\r\n", body.len()),
    );
    for _ in 0..3 {
        connection.write_all(format!("{small}{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            answer.push(timeout(PATIENCE, connection.read_u8()).await.unwrap().unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 401 ") && !answer.contains("connection: close"),
            "{answer}"
        );
    }
    let large = attacker.head("POST", "/conversations", &format!("{JSON}Content-Length: 200000\r\n"));
    let outcome = attacker
        .say(&format!("{large}{}", " ".repeat(150_000)), PATIENCE, |_| false)
        .await;
    assert_eq!(
        (outcome.status, outcome.header("connection")),
        (Some(401), Some("close")),
        "{outcome:?}"
    );
    let awaited = attacker.head(
        "POST",
        "/conversations",
        &format!("{JSON}Content-Length: 10\r\nExpect: 100-continue\r\n"),
    );
    let outcome = attacker.say(&awaited, PATIENCE, |_| false).await;
    assert_eq!(
        (outcome.status, outcome.header("connection")),
        (Some(401), Some("close")),
        "{outcome:?}"
    );
}
