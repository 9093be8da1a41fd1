//! Stream tokens: they open streams of events for a browser that comes back by itself, end with their session, and are good for
//! nothing else.

use std::time::Duration;

use cura_tests::client::names;
use cura_tests::problem::assert_problem;
use cura_tests::{Client, Cura, ScriptedProvider, Socket, event_source};
use reqwest::Method;
use serde_json::{Value, json};

use super::sessions::PASSWORD;

async fn stream_token(user: &Client) -> String {
    let issued = user.post("/auth/ticket", &json!({ "kind": "stream" })).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    issued.body["stream_token"].as_str().unwrap().to_owned()
}

fn events_with(token: &str) -> String {
    format!("/events?stream_token={token}")
}

/// The status of a stream that is opened and left.
async fn status_of(cura: &Cura, path: &str) -> u16 {
    let client = cura.client();
    match client.events(client.request(Method::GET, path)).await {
        Ok(_) => 200,
        Err(refused) => refused.status.as_u16(),
    }
}

#[tokio::test]
async fn what_is_asked_for_is_issued() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for body in [
        Value::Null,
        json!({}),
        json!({ "kind": null }),
        json!({ "kind": "socket" }),
    ] {
        let issued = user.post("/auth/ticket", &body).await;
        assert_eq!(issued.body["expires_in"], 60, "{body}");
        assert!(issued.body["ticket"].is_string() && issued.body.get("stream_token").is_none());
    }
    let without_body = user.send(user.request(Method::POST, "/auth/ticket")).await;
    assert!(without_body.body["ticket"].is_string());
    let issued = user.post("/auth/ticket", &json!({ "kind": "stream" })).await;
    assert_eq!(issued.body["expires_in"], 12 * 60 * 60);
    assert!(issued.body["stream_token"].is_string() && issued.body.get("ticket").is_none());
    let wrong = user.post("/auth/ticket", &json!({ "kind": "both" })).await;
    assert_problem(&wrong, 422, "kind");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/kind");
    let refused = cura.client().post("/auth/ticket", &json!({ "kind": "stream" })).await;
    assert_problem(&refused, 401, "not signed in");
}

#[tokio::test]
async fn a_stream_token_is_no_longer_valid_than_its_session() {
    let cura = Cura::builder().workers(0).servers(2).start().await;
    let user = cura.user().await;
    let ends_in = async |interval: &'static str| {
        sqlx::query(interval).execute(cura.database.pool()).await.unwrap();
    };
    ends_in("UPDATE sessions SET expires_at = now() + interval '1 hour'").await;
    let issued = user.post("/auth/ticket", &json!({ "kind": "stream" })).await;
    let seconds = issued.body["expires_in"].as_i64().unwrap();
    assert!((3_000..=3_600).contains(&seconds), "{seconds}");
    let path = events_with(issued.body["stream_token"].as_str().unwrap());
    ends_in("UPDATE sessions SET expires_at = now() + interval '3 seconds'").await;
    // A server that remembers nothing of the session.
    let there = cura.client().at(&cura.servers[1].base);
    let watched = event_source::watch(&there, &path, None).await;
    assert_eq!(watched.events.last().unwrap().data["reason"], "expired");
    assert_eq!((watched.connections, watched.stopped_by), (1, 401));
}

#[tokio::test]
async fn an_event_source_sees_an_answer_whole_and_stops_at_its_end() {
    let provider = ScriptedProvider::answering(&["Hel", "lo"], Duration::from_millis(50)).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("ALLOWED_ORIGINS", r#"["https://app.example"]"#)
        .start()
        .await;
    let user = cura.user().await;
    let token = stream_token(&user).await;
    let answer = user.ask("Hi").await;
    let path = format!("/chat/messages/{answer}/stream?stream_token={token}");
    for when in ["meanwhile", "afterwards"] {
        let watched = event_source::watch(&cura.client(), &path, Some("https://app.example")).await;
        assert_eq!(names(&watched.events).last(), Some(&"complete"), "{when}");
        let ends = watched.events.iter().filter(|event| event.name == "complete");
        assert_eq!((ends.count(), watched.connections, watched.stopped_by), (1, 1, 204));
    }
    // A page can read all of it, also that there is nothing more.
    let end = user
        .resume(answer.as_i64().unwrap(), None)
        .await
        .rest()
        .await
        .pop()
        .unwrap();
    for (path, last, status) in [
        (path.clone(), end.id.as_str(), 204),
        (events_with("invented"), "", 401),
        (format!("/chat/messages/{answer}/stream?stream_token=invented"), "", 401),
    ] {
        let request = cura
            .client()
            .request(Method::GET, &path)
            .header("Origin", "https://app.example");
        let reply = cura.client().send(request.header("Last-Event-ID", last)).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
        assert!(reply.header("access-control-allow-credentials").is_none());
    }
    assert!(!cura.logs().contains(&token), "a stream token reached a log");
}

#[tokio::test]
async fn an_event_source_of_everything_goes_on_with_the_same_token_until_its_session_ends() {
    let cura = Cura::builder().workers(0).servers(2).start().await;
    let user = cura.user().await;
    let token = stream_token(&user).await;
    let path = events_with(&token);
    let anonymous = cura.client();
    let mut first = anonymous
        .events(anonymous.request(Method::GET, &path))
        .await
        .ok()
        .unwrap();
    assert!(first.wait_for_cursor().await);
    let cursor = first.cursor.clone().unwrap();
    // The server goes, and the page comes back to another one.
    cura.servers[0].program.signal("TERM");
    while first.next().await.is_some() {}
    let there = cura.client().at(&cura.servers[1].base);
    let user = user.at(&cura.servers[1].base);
    user.post("/conversations", &json!({ "title": "Meanwhile" })).await;
    let request = there.request(Method::GET, &path).header("Last-Event-ID", &cursor);
    let mut second = there.events(request).await.ok().unwrap();
    assert_eq!(second.next().await.unwrap().data["conversation"]["title"], "Meanwhile");
    let ((), ended) = tokio::join!(
        async {
            user.post("/auth/logout-all", &Value::Null).await;
        },
        second.until("session_ended"),
    );
    assert_eq!(ended.last().unwrap().data["reason"], "signed_out");
    let watched = event_source::watch(&there, &path, None).await;
    assert_eq!((watched.connections, watched.stopped_by), (0, 401));
}

#[tokio::test]
async fn a_stream_token_is_good_for_reading_streams_and_nothing_else() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let registered = cura
        .client()
        .post(
            "/auth/register",
            &json!({ "email": "ann@example.com", "password": PASSWORD }),
        )
        .await;
    let user = cura.client().with_token(&registered.body["access_token"]);
    let token = stream_token(&user).await;
    let sent = user.send_message(&Value::Null, "Hi").await;
    let (conversation, answer) = (&sent["conversation_id"], &sent["assistant_message"]["id"]);
    let own = format!("/chat/messages/{answer}/stream?stream_token={token}");
    for path in [&own, &own, &events_with(&token)] {
        assert_eq!(status_of(&cura, path).await, 200, "as often as it likes");
    }
    // Elsewhere.
    let as_bearer = cura.client().with_token(&json!(token));
    for path in ["/events", "/users/me", "/conversations"] {
        assert_problem(&as_bearer.get(path).await, 401, path);
    }
    for path in ["/users/me", "/users/me/export", "/conversations", "/auth/sessions"] {
        let path = format!("{path}?stream_token={token}");
        assert_problem(&cura.client().get(&path).await, 401, &path);
    }
    for path in [
        "/chat/send",
        "/chat/stream",
        "/auth/ticket",
        "/auth/logout-all",
        "/conversations",
    ] {
        let path = format!("{path}?stream_token={token}");
        let refused = cura.client().post(&path, &json!({ "content": "Hi" })).await;
        assert_problem(&refused, 401, &path);
    }
    for parameter in ["ticket", "token", "stream_token"] {
        let socket = format!("/chat/ws/{conversation}?{parameter}={token}");
        let mut socket = Socket::open(&cura.client(), &socket).await.unwrap();
        assert_eq!(socket.closed().await, 4401, "{parameter}");
        if parameter != "stream_token" {
            assert_eq!(status_of(&cura, &format!("/events?{parameter}={token}")).await, 401);
        }
    }
    // And nothing else is one.
    let ticket = user.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    for other in [
        &ticket,
        &registered.body["access_token"],
        &registered.body["refresh_token"],
    ] {
        assert_eq!(status_of(&cura, &events_with(other.as_str().unwrap())).await, 401);
    }
    let mut changed = token.clone();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'B' } else { 'A' });
    let long = "A".repeat(5_000);
    for invented in ["", "x", &changed, &token[1..], &long] {
        assert_eq!(status_of(&cura, &events_with(invented)).await, 401, "{invented:.20}");
    }
    // It is somebody's.
    let bob = stream_token(&cura.client().register("bob@example.com").await).await;
    let path = format!("/chat/messages/{answer}/stream?stream_token={bob}");
    assert_eq!(status_of(&cura, &path).await, 404);
    // A token in the header is looked at first, and says what is wrong with it.
    let both = cura.client().with_token(&json!("invented"));
    assert_problem(&both.get(&events_with(&token)).await, 401, "both");
}

/// What an open stream of a token ends with, and the status of the next one, after `work`.
async fn end_after(cura: &Cura, user: &Client, work: impl AsyncFnOnce()) -> (Value, u16) {
    let path = events_with(&stream_token(user).await);
    let client = cura.client();
    let mut stream = client.events(client.request(Method::GET, &path)).await.ok().unwrap();
    assert!(stream.wait_for_cursor().await);
    work().await;
    let begun = std::time::Instant::now();
    let last = stream.rest().await.pop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(last.name, "session_ended");
    (last.data["reason"].clone(), status_of(cura, &path).await)
}

#[tokio::test]
async fn streams_of_a_token_end_with_its_session_its_account_and_its_password() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let ended = end_after(&cura, &ann, async || {
        ann.post("/auth/logout-all", &Value::Null).await;
    });
    assert_eq!(ended.await, (json!("signed_out"), 401));
    let login = json!({ "email": "ann@example.com", "password": PASSWORD });
    let signed_in = cura.client().post("/auth/login", &login).await;
    let ann = ann.with_token(&signed_in.body["access_token"]);
    let ended = end_after(&cura, &ann, async || {
        sqlx::query("UPDATE users SET suspended_at = now()")
            .execute(cura.database.pool())
            .await
            .unwrap();
    });
    assert_eq!(ended.await, (json!("suspended"), 403));
    sqlx::query("UPDATE users SET suspended_at = NULL")
        .execute(cura.database.pool())
        .await
        .unwrap();
    // With a new password the session goes on, but not with what was given out before.
    let renewed = std::sync::Mutex::new(Value::Null);
    let ended = end_after(&cura, &ann, async || {
        let change = json!({ "current_password": PASSWORD, "new_password": "another long password" });
        let reply = ann.post("/auth/password", &change).await;
        *renewed.lock().unwrap() = reply.body["access_token"].clone();
    });
    assert_eq!(ended.await, (json!("expired"), 401));
    let ann = ann.with_token(&renewed.into_inner().unwrap());
    let path = events_with(&stream_token(&ann).await);
    assert_eq!(status_of(&cura, &path).await, 200);
}

#[tokio::test]
async fn streams_of_a_token_count_as_any_other() {
    let cura = Cura::builder()
        .workers(0)
        .with("USER_CONNECTIONS", "1")
        .with("RATE_LIMIT_DEFAULT", "5")
        .start()
        .await;
    let user = cura.user().await;
    let path = events_with(&stream_token(&user).await);
    let client = cura.client();
    let mut open = client.events(client.request(Method::GET, &path)).await.ok().unwrap();
    assert!(open.wait_for_cursor().await);
    let second = client.get(&path).await;
    assert_eq!((second.status.as_u16(), second.code()), (429, "too_many_connections"));
    let limited = loop {
        let refused = client.get(&path).await;
        if refused.code() == "rate_limited" {
            break refused;
        }
    };
    assert!(limited.header("retry-after").is_some() && limited.header("ratelimit-reset").is_some());
}
