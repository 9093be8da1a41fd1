//! Invented and repeated tokens: they cost no query, no rows, and nobody else's limit.

use cura_tests::{Client, Cura};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::accounts::sessions::{PASSWORD, refresh};

/// Registers, and returns the client and its refresh token.
async fn register(cura: &Cura) -> (Client, Value) {
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let made = cura.client().post("/auth/register", &body).await.body;
    let client = cura.client().with_token(&made["access_token"]);
    (client, made["refresh_token"].clone())
}

async fn execute(cura: &Cura, statement: &'static str) {
    sqlx::query(statement).execute(cura.database.pool()).await.unwrap();
}

async fn count(cura: &Cura, table: &'static str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(cura.database.pool()).await.unwrap()
}

/// From now on, asking for a session, token or ticket is a failure of the server.
async fn break_queries(cura: &Cura) {
    for table in ["sessions", "refresh_tokens", "tickets"] {
        let rename = sqlx::AssertSqlSafe(format!("ALTER TABLE {table} RENAME TO away_{table}"));
        sqlx::query(rename).execute(cura.database.pool()).await.unwrap();
    }
}

/// A real token with one character changed, each at another place, and texts that were never tokens.
fn invented(real: &str) -> Vec<String> {
    let mut texts = vec![
        String::new(),
        "guess".to_owned(),
        "A".repeat(real.len()),
        real[1..].to_owned(),
    ];
    for at in [0, real.len() / 2, real.len() - 2] {
        let mut changed = real.as_bytes().to_vec();
        changed[at] = if changed[at] == b'Q' { b'g' } else { b'Q' };
        texts.push(String::from_utf8(changed).unwrap());
    }
    texts
}

#[tokio::test]
async fn an_invented_refresh_token_dies_without_the_database() {
    let cura = Cura::without_workers().await;
    let (ann, token) = register(&cura).await;
    break_queries(&cura).await;
    for text in invented(token.as_str().unwrap()) {
        let refused = refresh(&ann, &json!(text)).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (401, "invalid_refresh_token"),
            "{text}"
        );
        let body = json!({ "refresh_token": text });
        assert_eq!(ann.post("/auth/logout", &body).await.status, 204, "{text}");
    }
    assert_eq!(refresh(&ann, &token).await.status, 500, "a real one does ask");
}

#[tokio::test]
async fn an_invented_ticket_dies_without_the_database() {
    let cura = Cura::without_workers().await;
    let (ann, _) = register(&cura).await;
    let ticket = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    break_queries(&cura).await;
    let use_one = async |ticket: &str| cura.client().get(&format!("/events?ticket={ticket}")).await;
    for text in invented(ticket.as_str().unwrap()) {
        let refused = use_one(&text).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (401, "not_authenticated"),
            "{text}"
        );
    }
    assert_eq!(
        use_one(ticket.as_str().unwrap()).await.status,
        500,
        "a real one does ask"
    );
}

#[tokio::test]
async fn a_session_is_refreshed_as_often_as_its_limit_says_and_leaves_no_rows() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_DEFAULT", "20")
        .start()
        .await;
    let (ann, mut token) = register(&cura).await;
    let mut refreshed = 0;
    for _ in 0..60 {
        let reply = refresh(&ann, &token).await;
        if reply.status == 200 {
            refreshed += 1;
            token = reply.body["refresh_token"].clone();
        } else {
            assert_eq!(
                (reply.status.as_u16(), reply.code()),
                (429, "rate_limited"),
                "{}",
                reply.body
            );
        }
    }
    assert!(
        (20..40).contains(&refreshed),
        "a new token is no new limit: {refreshed}"
    );
    assert_eq!(
        (count(&cura, "refresh_tokens").await, count(&cura, "sessions").await),
        (0, 1)
    );
    let bob = json!({ "email": "bob@example.com", "password": PASSWORD });
    let bob = cura.client().post("/auth/register", &bob).await.body["refresh_token"].clone();
    assert_eq!(
        refresh(&cura.client(), &bob).await.status,
        200,
        "another session of the same address"
    );
}

#[tokio::test]
async fn a_used_ticket_that_is_presented_again_and_again_meets_its_sessions_limit() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_DEFAULT", "5").start().await;
    let (ann, _) = register(&cura).await;
    let ticket = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let path = format!("/chat/messages/1/stream?ticket={}", ticket.as_str().unwrap());
    assert_eq!(cura.client().get(&path).await.status, 404, "let in");
    for _ in 0..4 {
        assert_eq!(cura.client().get(&path).await.status, 401);
    }
    break_queries(&cura).await;
    for _ in 0..3 {
        let refused = cura.client().get(&path).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate_limited"));
    }
}

#[tokio::test]
async fn a_session_has_fifty_unused_tickets_at_most_and_the_newest_work() {
    let cura = Cura::without_workers().await;
    let (ann, _) = register(&cura).await;
    let mut newest = Value::Null;
    for _ in 0..60 {
        newest = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    }
    assert_eq!(count(&cura, "tickets").await, 50);
    let path = format!("/chat/messages/1/stream?ticket={}", newest.as_str().unwrap());
    assert_eq!(
        cura.client().get(&path).await.status,
        404,
        "let in, but there is no such message"
    );
}

#[tokio::test]
async fn a_session_ends_after_its_days_however_often_it_is_refreshed() {
    let cura = Cura::builder().workers(0).with("SESSION_MAX_DAYS", "2").start().await;
    let (ann, first) = register(&cura).await;
    let left = "SELECT extract(epoch FROM expires_at - now())::bigint FROM sessions";
    let left = async || {
        sqlx::query_scalar::<_, i64>(left)
            .fetch_one(cura.database.pool())
            .await
            .unwrap()
    };
    assert!(left().await <= 2 * 86_400);
    execute(
        &cura,
        "UPDATE sessions SET created_at = now() - interval '47 hours 50 minutes'",
    )
    .await;
    let second = refresh(&ann, &first).await;
    assert_eq!(second.status, 200);
    assert!(left().await <= 600, "not a minute longer: {}", left().await);
    let access = second.body["expires_in"].as_i64().unwrap();
    assert!((1..=600).contains(&access), "nor its access token: {access}");
    execute(&cura, "UPDATE sessions SET created_at = now() - interval '49 hours'").await;
    let refused = refresh(&ann, &second.body["refresh_token"]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (401, "invalid_refresh_token")
    );
    execute(&cura, "UPDATE sessions SET expires_at = now() - interval '1 second'").await;
    let ann = ann.with_token(&second.body["access_token"]);
    assert_eq!(ann.get("/users/me").await.status, 401);
}

#[tokio::test]
async fn a_token_of_the_release_before_works_once_and_its_session_goes_on_with_the_new_form() {
    let cura = Cura::without_workers().await;
    let (ann, _) = register(&cura).await;
    let legacy = |first: &str| format!("{first}{}", "A".repeat(42));
    let (previous, last) = (legacy("B"), legacy("C"));
    let hash = |text: &str| Sha256::digest(text.as_bytes()).to_vec();
    let as_before = "UPDATE sessions SET seed = NULL, current_token = $2, previous_token = $1, current_seed = $1,
                                         rotated_at = now() - interval '1 hour'";
    let pool = cura.database.pool();
    sqlx::query(as_before)
        .bind(hash(&previous))
        .bind(hash(&last))
        .execute(pool)
        .await
        .unwrap();
    let rows = "INSERT INTO refresh_tokens SELECT hash, 1, now() FROM unnest($1::bytea[]) hash";
    sqlx::query(rows)
        .bind(vec![hash(&previous), hash(&last)])
        .execute(pool)
        .await
        .unwrap();
    let first = refresh(&ann, &json!(last)).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let again = refresh(&ann, &json!(last)).await;
    assert_eq!(
        again.body["refresh_token"], first.body["refresh_token"],
        "a lost answer"
    );
    let second = refresh(&ann, &first.body["refresh_token"]).await;
    assert_eq!(second.status, 200);
    assert_eq!(count(&cura, "refresh_tokens").await, 2, "no new row");
    assert_eq!(
        refresh(&ann, &json!(previous)).await.status,
        401,
        "it was replaced an hour ago"
    );
    assert_eq!(ann.get("/users/me").await.status, 401, "the session has ended");
}

#[tokio::test]
async fn a_token_of_a_session_that_a_restored_database_has_forgotten_opens_no_other() {
    let cura = Cura::without_workers().await;
    let (ann, token) = register(&cura).await;
    // The same number, given to somebody else.
    execute(&cura, "UPDATE sessions SET seed = decode(md5('other'), 'hex')").await;
    assert_eq!(refresh(&ann, &token).await.status, 401);
    assert_eq!(ann.get("/users/me").await.status, 200, "and does not end it either");
}

#[tokio::test]
async fn a_token_presented_at_an_address_that_floods_still_works() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_DEFAULT", "3").start().await;
    let (ann, token) = register(&cura).await;
    for n in 0..10 {
        let expected = if n < 3 { 401 } else { 429 };
        assert_eq!(refresh(&ann, &json!(format!("guess {n}"))).await.status, expected);
    }
    assert_eq!(refresh(&ann, &token).await.status, 200);
    let request = ann.request(Method::POST, "/auth/refresh");
    assert_eq!(
        ann.send(request.json(&json!({ "refresh_token": "guess" })))
            .await
            .status,
        429
    );
}
