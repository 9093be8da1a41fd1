//! Guessing passwords: it makes the guesser wait, and nobody else. It is seen in the log, and tells nothing.

use cura_tests::{Client, Cura, CuraBuilder, Reply, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::sessions::PASSWORD;

const OWNER: &str = "ann@example.com";
const HOME: &str = "192.0.2.1";

fn server() -> CuraBuilder {
    Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_AUTH", "5")
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
}

/// A call with this body, seen as coming from `address`.
async fn call_from(client: &Client, address: &str, method: Method, path: &str, body: &Value) -> Reply {
    let request = client.request(method, path).header("x-forwarded-for", address);
    client.send(request.json(body)).await
}

async fn register(cura: &Cura, email: &str, address: &str) -> Reply {
    let body = json!({ "email": email, "password": PASSWORD });
    call_from(&cura.client(), address, Method::POST, "/auth/register", &body).await
}

async fn login(cura: &Cura, email: &str, password: &str, address: &str) -> Reply {
    let body = json!({ "email": email, "password": password });
    call_from(&cura.client(), address, Method::POST, "/auth/login", &body).await
}

/// The n-th address of an attacker who has many.
fn elsewhere(n: usize) -> String {
    format!("198.51.{}.{}", 100 + n / 250, 1 + n % 250)
}

fn assert_has_to_wait(reply: &Reply, seconds: std::ops::RangeInclusive<u64>) {
    assert_eq!(
        (reply.status.as_u16(), reply.code()),
        (429, "rate_limited"),
        "{}",
        reply.body
    );
    let number = |name: &str| reply.header(name).unwrap().parse::<u64>().unwrap();
    assert!(seconds.contains(&number("retry-after")), "{:?}", reply.headers);
    assert_eq!((number("ratelimit-limit"), number("ratelimit-remaining")), (5, 0));
}

#[tokio::test]
async fn whoever_guesses_waits_and_the_owner_signs_in_at_home() {
    let cura = server().start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    for n in 0..5 {
        assert_eq!(login(&cura, OWNER, "not my password", &elsewhere(n)).await.status, 401);
    }
    for n in 5..20 {
        assert_has_to_wait(&login(&cura, OWNER, "not my password", &elsewhere(n)).await, 1..=12);
    }
    assert_has_to_wait(&login(&cura, OWNER, PASSWORD, &elsewhere(20)).await, 1..=12);
    assert_eq!(login(&cura, OWNER, PASSWORD, HOME).await.status, 200, "never at home");
    assert_eq!(
        login(&cura, "bob@example.com", "x", &elsewhere(21)).await.status,
        401,
        "another account"
    );
}

#[tokio::test]
async fn the_owner_is_known_at_home_after_the_secret_key_was_replaced() {
    let old = "0123456789abcdef0123456789abcdef".to_owned();
    let mut cura = server().with("SECRET_KEY", old.clone()).start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    cura.add_server_with(&[("SECRET_KEY", "n".repeat(32)), ("SECRET_KEY_PREVIOUS", old)])
        .await;
    cura.servers.swap(0, 1);
    for n in 0..5 {
        assert_eq!(login(&cura, OWNER, "not my password", &elsewhere(n)).await.status, 401);
    }
    assert_has_to_wait(&login(&cura, OWNER, PASSWORD, &elsewhere(5)).await, 1..=12);
    assert_eq!(login(&cura, OWNER, PASSWORD, HOME).await.status, 200, "never at home");
}

#[tokio::test]
async fn registering_with_somebodys_address_keeps_nobody_from_signing_in() {
    let cura = server().start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    for n in 0..30 {
        assert_eq!(register(&cura, OWNER, &elsewhere(n / 5)).await.status, 409);
    }
    assert_eq!(
        login(&cura, OWNER, PASSWORD, &elsewhere(99)).await.status,
        200,
        "from a new place"
    );
}

#[tokio::test]
async fn an_account_that_does_not_exist_makes_guessers_wait_as_well() {
    let cura = server().start().await;
    for n in 0..5 {
        assert_eq!(
            login(&cura, "nobody@example.com", "guess", &elsewhere(n)).await.status,
            401
        );
    }
    assert_has_to_wait(
        &login(&cura, "nobody@example.com", "guess", &elsewhere(5)).await,
        1..=12,
    );
}

#[tokio::test]
async fn every_further_failure_makes_the_next_wait_longer_on_every_server() {
    let cura = server().servers(2).start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    let mut redis = redis::Client::open(cura.redis.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    // As if the waits had passed: what is kept is `count:forgetting_since:blocked_until`.
    let mut let_the_wait_pass = async || {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("cura:limit:sign-in:*")
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(keys.len(), 1, "{keys:?}");
        assert!(!keys[0].contains("ann"), "{keys:?}");
        let kept: String = redis::cmd("GET").arg(&keys[0]).query_async(&mut redis).await.unwrap();
        let (count, times) = kept.split_once(':').unwrap();
        let since = times.split_once(':').unwrap().0;
        let passed = format!("{count}:{since}:0");
        let () = redis::cmd("SET")
            .arg(&keys[0])
            .arg(passed)
            .arg("KEEPTTL")
            .query_async(&mut redis)
            .await
            .unwrap();
    };
    let mut number = 0;
    let mut try_once = async || {
        number += 1;
        let at = &cura.servers[number % 2].base;
        let body = json!({ "email": OWNER, "password": "not my password" });
        call_from(
            &cura.client().at(at),
            &elsewhere(number),
            Method::POST,
            "/auth/login",
            &body,
        )
        .await
    };
    for _ in 0..5 {
        assert_eq!(try_once().await.status, 401);
    }
    for wait in [12_u64, 24, 48, 96, 192, 384, 768, 900, 900] {
        assert_has_to_wait(&try_once().await, wait - 3..=wait);
        let_the_wait_pass().await;
        assert_eq!(try_once().await.status, 401, "one try");
    }
    assert_eq!(login(&cura, OWNER, PASSWORD, HOME).await.status, 200);
    let_the_wait_pass().await;
    assert_eq!(login(&cura, OWNER, PASSWORD, &elsewhere(1000)).await.status, 200);
}

#[tokio::test]
async fn a_hundred_guesses_at_once_are_five() {
    let cura = server().start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    let guesses = (0..100).map(|n| {
        let cura = &cura;
        async move {
            login(cura, OWNER, "not my password", &elsewhere(n))
                .await
                .status
                .as_u16()
        }
    });
    let statuses = futures_util::future::join_all(guesses).await;
    let tried = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(tried, 5, "counted before the password is checked: {statuses:?}");
}

#[tokio::test]
async fn signing_in_is_no_failure_however_often() {
    let cura = server().start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    for n in 0..20 {
        assert_eq!(login(&cura, OWNER, PASSWORD, &elsewhere(n)).await.status, 200);
    }
    let places: i64 = sqlx::query_scalar("SELECT count(*) FROM known_places")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(places, 20, "the last ones, and no more");
    assert_eq!(login(&cura, OWNER, PASSWORD, &elsewhere(20)).await.status, 200);
    let places: Vec<String> = sqlx::query_scalar("SELECT encode(place, 'escape') FROM known_places")
        .fetch_all(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(places.len(), 20);
    assert!(places.iter().all(|place| !place.contains("198.51")), "{places:?}");
}

#[tokio::test]
async fn who_holds_a_stolen_access_token_does_not_guess_the_password_with_it_or_lock_out_its_owner() {
    let cura = server().start().await;
    let made = register(&cura, OWNER, HOME).await.body;
    let thief = cura.client().with_token(&made["access_token"]);
    let guess = json!({ "current_password": "guess", "new_password": "a new password" });
    for n in 0..5 {
        let wrong = call_from(&thief, &elsewhere(n), Method::POST, "/auth/password", &guess).await;
        assert_eq!((wrong.status.as_u16(), wrong.code()), (403, "wrong_password"));
    }
    let wrong = call_from(&thief, &elsewhere(5), Method::POST, "/auth/password", &guess).await;
    assert_has_to_wait(&wrong, 1..=12);
    let erase = json!({ "password": "guess" });
    let wrong = call_from(&thief, &elsewhere(6), Method::DELETE, "/users/me", &erase).await;
    assert_has_to_wait(&wrong, 1..=12);
    let change = json!({ "current_password": PASSWORD, "new_password": "a new password" });
    assert_eq!(
        call_from(&thief, HOME, Method::POST, "/auth/password", &change)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn guessers_wait_also_while_redis_is_away() {
    let mut cura = server().start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    cura.redis.kill();
    for n in 0..5 {
        assert_eq!(login(&cura, OWNER, "not my password", &elsewhere(n)).await.status, 401);
    }
    assert_has_to_wait(&login(&cura, OWNER, "not my password", &elsewhere(5)).await, 1..=12);
    assert_eq!(login(&cura, OWNER, PASSWORD, HOME).await.status, 200);
}

/// The keyed hashes of the address and account in the log lines with these words.
fn logged(cura: &Cura, words: &str) -> Vec<(String, String)> {
    let value = |line: &str, name: &str| {
        let from = line.split_once(&format!("{name}=")).unwrap().1;
        from.split(' ').next().unwrap().to_owned()
    };
    let logs = cura.logs();
    let lines = logs.lines().filter(|line| line.contains(words));
    lines
        .map(|line| (value(line, "address"), value(line, "account")))
        .collect()
}

#[tokio::test]
async fn spraying_and_guessing_are_seen_in_the_log_without_addresses() {
    let cura = server().with("LOG_LEVEL", "trace").start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    // One address, several accounts; then one account from several addresses.
    for n in 0..4 {
        login(&cura, &format!("a{n}@example.com"), "guess", &elsewhere(0)).await;
    }
    for n in 1..7 {
        login(&cura, OWNER, "guess", &elsewhere(n)).await;
    }
    register(&cura, OWNER, &elsewhere(7)).await;
    let (failed, waiting, taken) = eventually("all is logged", async || {
        let failed = logged(&cura, "a sign-in failed");
        let waiting = logged(&cura, "a sign-in has to wait");
        let taken = logged(&cura, "a registration was refused");
        (failed.len() == 9 && waiting.len() == 1 && taken.len() == 1).then_some((failed, waiting, taken))
    })
    .await;
    let (sprayed, guessed) = failed.split_at(4);
    assert!(
        sprayed.iter().all(|(address, _)| *address == sprayed[0].0),
        "{failed:?}"
    );
    assert!(
        guessed.iter().all(|(_, account)| *account == guessed[0].1),
        "{failed:?}"
    );
    assert_ne!(guessed[0].0, guessed[1].0, "another address");
    assert_ne!(sprayed[0].1, sprayed[1].1, "another account");
    assert_eq!((&waiting[0].1, &taken[0].1), (&guessed[0].1, &guessed[0].1));
    let said = cura.logs();
    for secret in [OWNER, "a0@example.com", "198.51.100", HOME, "guess"] {
        assert!(!said.contains(secret), "{secret} is in the logs");
    }
}

#[tokio::test]
async fn where_a_session_was_refreshed_its_owner_never_waits() {
    let cura = server().start().await;
    let registered = register(&cura, OWNER, HOME).await;
    let (anonymous, travelling) = (cura.client(), "192.0.2.77");
    let token = json!({ "refresh_token": registered.body["refresh_token"] });
    let refreshed = call_from(&anonymous, travelling, Method::POST, "/auth/refresh", &token).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    for n in 0..5 {
        assert_eq!(login(&cura, OWNER, "not my password", &elsewhere(n)).await.status, 401);
    }
    assert_has_to_wait(&login(&cura, OWNER, PASSWORD, &elsewhere(6)).await, 1..=12);
    assert_eq!(login(&cura, OWNER, PASSWORD, travelling).await.status, 200);
}

#[tokio::test]
async fn whoever_guesses_from_one_address_keeps_the_owner_out_nowhere_else() {
    let cura = server().start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    let (attacker, mut refused) = ("198.51.100.66", 0);
    for n in 0..30 {
        let tried = login(&cura, OWNER, "not my password", attacker).await;
        refused += usize::from(tried.status == 429);
        let owner = login(&cura, OWNER, PASSWORD, &elsewhere(n)).await;
        assert_eq!(owner.status, 200, "where she never was: {}", owner.body);
    }
    assert!(refused >= 24, "{refused} of 30 tries of the attacker had to wait");
}

#[tokio::test]
async fn whoever_uses_up_an_address_keeps_nobody_out_who_has_signed_in_from_there() {
    let cura = server().start().await;
    assert_eq!(register(&cura, OWNER, HOME).await.status, 201);
    // A neighbour behind the same address, with the owner's e-mail and with others.
    for n in 0..20 {
        let email = if n % 2 == 0 {
            OWNER.to_owned()
        } else {
            format!("n{n}@example.com")
        };
        register(&cura, &email, HOME).await;
    }
    assert_eq!(login(&cura, OWNER, PASSWORD, HOME).await.status, 200);
    // Who guesses there is told nothing but to wait, and waits longer and longer.
    for _ in 0..10 {
        assert_eq!(login(&cura, OWNER, "not my password", HOME).await.status, 429);
    }
    assert_eq!(login(&cura, "nobody@example.com", PASSWORD, HOME).await.status, 429);
}
