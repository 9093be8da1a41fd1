//! Every operation of the document is flooded, stalled and fed without end at once, each by somebody of its own; everybody else is served
//! meanwhile. A new operation is attacked as soon as it is in the document.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cura_tests::attacker::{Outcome, content_type};
use cura_tests::operations::{Operation, operations};
use cura_tests::{Attacker, Client, Cura, eventually};
use futures_util::future::{join, join_all};
use futures_util::stream::{self, StreamExt};
use reqwest::Method;
use serde_json::json;

/// The budget of every rate class but the wide one, per minute.
const BUDGET: usize = 5;
/// Requests of a flood, and how many of them at once.
const FLOOD: usize = 60;
const AT_ONCE: usize = 8;
/// Longer than the server is patient with a body that does not come: 15 s, and time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// The largest body of any JSON operation, and what the server reads and drops so that a client hears its answer.
const MOST_BYTES_TAKEN: usize = 48 * 1024 * 1024;

/// An attacker of this operation: its own account, its own address.
async fn attacker(cura: &Cura, n: usize) -> Attacker {
    let request = cura.client().request(Method::POST, "/auth/register");
    let body = json!({ "email": format!("attacker{n}@example.com"), "password": "a long password" });
    let made = cura
        .client()
        .send(request.header("x-forwarded-for", format!("198.51.100.{n}")).json(&body))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    Attacker::new(&cura.servers[0].base, [127, 0, 0, 1])
        .forwarded_for(format!("203.0.113.{n}"))
        .with_token(made.body["access_token"].as_str().map(str::to_owned))
}

/// Whether the head of an answer is there: a stream has no end to wait for.
fn has_head(answer: &str) -> bool {
    answer.contains("\r\n\r\n")
}

/// More requests than are allowed: what is beyond the budget is refused, and says when to come back.
async fn flood(attacker: &Attacker, operation: &Operation) {
    let request = attacker.request(operation);
    let began = Instant::now();
    let outcomes: Vec<Outcome> = stream::iter(0..FLOOD)
        .map(|_| attacker.say(&request, PATIENCE, has_head))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let name = format!("{} {}", operation.method, operation.template);
    let statuses: Vec<u16> = outcomes.iter().filter_map(|outcome| outcome.status).collect();
    assert!(
        statuses.len() == FLOOD && statuses.iter().all(|status| *status < 500),
        "{name}: {statuses:?}"
    );
    if is_probe(operation) {
        return;
    }
    let served = statuses.iter().filter(|status| **status != 429).count();
    // An operation that ends the session is charged to its account, then to its address; each budget comes back in a minute.
    let minutes_begun = usize::try_from(began.elapsed().as_secs() / 60 + 1).unwrap();
    assert!(
        served <= 2 * BUDGET * (1 + minutes_begun),
        "{name}: {served} of {FLOOD} were served: {statuses:?}"
    );
    let refused = outcomes.iter().find(|outcome| outcome.status == Some(429)).unwrap();
    let retry_after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&retry_after), "{name}: {retry_after}");
}

/// A body that was announced and does not come, or comes byte by byte, or without an end: the connection ends, after few bytes.
async fn stall(attacker: &Attacker, operation: &Operation) {
    let (method, path) = (operation.method.as_str(), operation.path("999999999"));
    let name = format!("{method} {path}");
    let content_type = content_type(operation);
    let head = |more: &str| attacker.head(method, &path, &format!("{content_type}{more}"));
    let announced = head("Content-Length: 1000\r\n");
    let chunked = head("Transfer-Encoding: chunked\r\n");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let byte = "1\r\n \r\n";
    // A file may come byte by byte for ten minutes, on a bad network; who sends four of them is stopped at the fifth.
    let patience_with_slow = if operation.takes_file() {
        Duration::ZERO
    } else {
        PATIENCE
    };
    let (silent, (slow, endless)) = join(
        attacker.say(&announced, PATIENCE, |_| false),
        join(
            attacker.never_end(
                &chunked,
                byte.as_bytes(),
                Duration::from_millis(500),
                patience_with_slow,
            ),
            attacker.never_end(&chunked, chunk.as_bytes(), Duration::ZERO, PATIENCE),
        ),
    )
    .await;
    for (what, outcome) in [("silent", silent), ("slow", slow), ("endless", endless)] {
        if what == "slow" && operation.takes_file() {
            continue;
        }
        assert!(outcome.ended, "{name}, {what}: the connection lives: {outcome:?}");
        assert!(
            outcome.sent <= MOST_BYTES_TAKEN,
            "{name}, {what}: {} bytes",
            outcome.sent
        );
        let is_refused = outcome.status.is_none_or(|status| status < 500);
        assert!(is_refused, "{name}, {what}: {outcome:?}");
    }
}

/// Probes and documents have a wide limit, so that operators are never refused; a flood of sixty is below it.
fn is_probe(operation: &Operation) -> bool {
    operation.template.starts_with("/health")
}

/// Somebody else, all the while.
async fn check_that_others_are_served(client: &Client, is_over: &AtomicBool) -> usize {
    let mut calls = 0;
    while !is_over.load(Ordering::Relaxed) {
        let me = client.get("/users/me").await;
        assert_eq!(me.status, 200, "while others attack: {}", me.body);
        calls += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    calls
}

fn with_small_budgets() -> cura_tests::CuraBuilder {
    let budget = BUDGET.to_string();
    Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_AUTH", budget.clone())
        .with("RATE_LIMIT_CHAT", budget.clone())
        .with("RATE_LIMIT_UPLOAD", budget.clone())
        .with("RATE_LIMIT_DEFAULT", budget)
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
}

#[tokio::test]
async fn a_flood_of_any_operation_is_refused_and_costs_its_sender_only() {
    let (cura, postgres) = with_small_budgets().start_behind_proxy().await;
    let operations = operations(&cura).await;
    let mut attackers = Vec::new();
    for n in 0..operations.len() {
        attackers.push(attacker(&cura, n).await);
    }
    let attacks = operations.iter().zip(&attackers);
    // One after the other in a few lanes: what is measured is the budget, not the machine.
    let lanes = attacks.map(|(operation, attacker)| flood(attacker, operation));
    stream::iter(lanes).buffer_unordered(4).collect::<Vec<()>>().await;
    // Whoever goes on after that is refused without the database: it is not there.
    postgres.cut();
    for (operation, attacker) in operations.iter().zip(&attackers) {
        let mut again = attacker.say(&attacker.request(operation), PATIENCE, has_head).await;
        if again.status != Some(429) {
            // The floods of the others took a while, in which a little of each budget has come back; and a server that fails charges
            // nothing. So what has come back is spent with the database.
            postgres.restore();
            let what = format!("{} {} has spent its budget", operation.method, operation.template);
            eventually(&what, async || {
                let spent = attacker.say(&attacker.request(operation), PATIENCE, has_head).await;
                (is_probe(operation) || spent.status == Some(429)).then_some(())
            })
            .await;
            postgres.cut();
            again = attacker.say(&attacker.request(operation), PATIENCE, has_head).await;
        }
        let name = format!("{} {}", operation.method, operation.template);
        assert!(is_probe(operation) || again.status == Some(429), "{name}: {again:?}");
    }
    assert_eq!(cura.client().get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_body_that_never_comes_or_never_ends_costs_its_sender_only() {
    let cura = Cura::builder()
        .workers(0)
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let bystander = cura.client().register("bystander@example.com").await;
    let operations = operations(&cura).await;
    let mut attackers = Vec::new();
    for n in 0..operations.len() {
        attackers.push(attacker(&cura, n).await);
    }
    let is_over = AtomicBool::new(false);
    let attack = async {
        let attacks = operations.iter().zip(&attackers);
        // A stream and a socket have no body to wait for, and no end.
        let attacks = attacks.filter(|(operation, _)| operation.template != "/events");
        join_all(attacks.map(|(operation, attacker)| stall(attacker, operation))).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let ((), calls) = join(attack, check_that_others_are_served(&bystander, &is_over)).await;
    assert!(calls > 5, "others were served {calls} times");
}
