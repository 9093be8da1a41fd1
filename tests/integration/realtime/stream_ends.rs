//! The end of an answer's stream: it is received once, and who has received it is told that there is nothing to come back for.

use std::time::Duration;

use cura_tests::client::{names, text_after};
use cura_tests::provider::{answer, refusal};
use cura_tests::{Client, Cura, Event, Reply, ScriptedProvider, interrupted_answer};
use reqwest::Method;
use serde_json::{Value, json};

/// What a client gets that comes back to this answer with this id: what it missed, or why there is nothing.
async fn come_back(user: &Client, answer: &Value, id: &str) -> Result<Vec<Event>, Reply> {
    let path = format!("/chat/messages/{answer}/stream");
    let request = user.request(Method::GET, &path).header("Last-Event-ID", id);
    match user.events(request).await {
        Ok(mut events) => Ok(events.rest().await),
        Err(reply) => Err(reply),
    }
}

/// Comes back with each of these ids, in the header and in the query, and with the id of the end.
async fn comes_back_for_the_end_once(user: &Client, answer: &Value, seen: &[Event]) {
    let (end, before) = seen.split_last().unwrap();
    for event in before {
        assert_ne!(event.id, end.id, "{seen:?}");
        let rest = come_back(user, answer, &event.id).await.unwrap();
        assert_eq!(rest.last(), Some(end), "after {event:?}");
    }
    let ended = come_back(user, answer, &end.id).await.unwrap_err();
    assert_eq!((ended.status.as_u16(), ended.bytes.len()), (204, 0));
    let by_query = user
        .get(&format!("/chat/messages/{answer}/stream?after={}", end.id))
        .await;
    assert_eq!(by_query.status, 204);
}

#[tokio::test]
async fn the_end_of_an_answer_comes_once_however_it_ended() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => answer(&["Hel", "lo"], Duration::from_millis(5)),
        _ => refusal(
            "400 Bad Request",
            "",
            &json!({ "error": { "message": "no", "code": "content_filter" } }),
        ),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.stream("Hi").await.rest().await;
    assert_eq!(sent.last().unwrap().name, "complete");
    comes_back_for_the_end_once(&user, &sent[0].data["message_id"], &sent).await;
    let failed = user.stream("Hi").await.rest().await;
    assert_eq!(failed.last().unwrap().name, "error", "{failed:?}");
    assert!(failed.iter().all(|event| event.name != "chunk"));
    comes_back_for_the_end_once(&user, &failed[0].data["message_id"], &failed).await;
}

#[tokio::test]
async fn the_end_of_an_answer_that_never_began_comes_once() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let ack = stream.next().await.unwrap();
    let answer = &ack.data["message_id"];
    assert_eq!(user.cancel(answer).await.status, 200);
    let mut seen = vec![ack.clone()];
    seen.extend(stream.rest().await);
    assert_eq!(seen.last().unwrap().name, "complete");
    comes_back_for_the_end_once(&user, answer, &seen).await;
    // Tried again, it is not final any more.
    sqlx::query("UPDATE messages SET status = 'sending' WHERE id = $1")
        .bind(answer.as_i64().unwrap())
        .execute(cura.database.pool())
        .await
        .unwrap();
    let path = format!("/chat/messages/{answer}/stream");
    let again = user
        .request(Method::GET, &path)
        .header("Last-Event-ID", &seen.last().unwrap().id);
    let mut again = user.events(again).await.expect("a stream");
    sqlx::query("UPDATE messages SET status = 'error', error_code = 'provider_timeout' WHERE id = $1")
        .bind(answer.as_i64().unwrap())
        .execute(cura.database.pool())
        .await
        .unwrap();
    let end = again.rest().await.pop().unwrap();
    assert_eq!(
        (end.name.as_str(), &end.data["code"]),
        ("error", &json!("provider_timeout"))
    );
    assert_eq!(come_back(&user, answer, &end.id).await.unwrap_err().status, 204);
}

#[tokio::test]
async fn the_end_comes_once_on_another_server_after_redis_was_lost() {
    let mut answer = interrupted_answer().servers(2).start().await;
    answer.finish().await;
    let id = answer.seen[0].data["message_id"].clone();
    answer.cura.redis.kill();
    answer.cura.redis.restart();
    let there = answer.user.at(&answer.cura.servers[1].base);
    comes_back_for_the_end_once(&there, &id, &answer.seen[answer.seen.len() - 3..]).await;
}

#[tokio::test]
async fn a_cursor_of_another_answer_begins_again_and_says_so() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.stream("Hi").await.rest().await;
    let second = user.stream("Hi").await.rest().await;
    let answer = &second[0].data["message_id"];
    for foreign in &first {
        let again = come_back(&user, answer, &foreign.id).await.unwrap();
        assert_eq!(names(&again), ["resync", "reset", "start", "chunk", "complete"]);
        assert_eq!(again[0].data["reason"], "unknown");
        assert_eq!(text_after("another text", &again), "Hello");
        let rest = come_back(&user, answer, &again[1].id).await.unwrap();
        assert_eq!(names(&rest), ["start", "chunk", "complete"], "and goes on from there");
    }
    // As they were handed out before.
    let old = come_back(&user, answer, "1.5").await.unwrap();
    assert_eq!(names(&old), ["complete"]);
    let ahead = come_back(&user, answer, "9.5").await.unwrap();
    assert_eq!(ahead[0].name, "resync", "an attempt that there never was");
}

/// Sends a message as a stream, with this key, from this id on.
async fn send(user: &Client, content: &str, key: &str, last: Option<&str>) -> Result<Vec<Event>, Reply> {
    let mut request = user
        .request(Method::POST, "/chat/stream")
        .header("Idempotency-Key", key);
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    match user.events(request.json(&json!({ "content": content }))).await {
        Ok(mut events) => Ok(events.rest().await),
        Err(reply) => Err(reply),
    }
}

#[tokio::test]
async fn a_message_that_is_sent_again_with_the_last_id_goes_on_there() {
    let provider = ScriptedProvider::answering(&["Hel", "lo ", "there"], Duration::from_millis(5)).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let seen = send(&user, "Hi", "a", None).await.unwrap();
    let (end, before) = seen.split_last().unwrap();
    for (at, event) in before.iter().enumerate() {
        let rest = send(&user, "Hi", "a", Some(&event.id)).await.unwrap();
        assert!(rest.iter().all(|event| event.name != "ack"), "{rest:?}");
        assert_eq!(text_after(&text_after("", &before[..=at]), &rest), "Hello there");
        assert_eq!(rest.last(), Some(end));
    }
    let ended = send(&user, "Hi", "a", Some(&end.id)).await.unwrap_err();
    assert_eq!(
        (ended.status.as_u16(), ended.header("idempotent-replayed")),
        (204, Some("true"))
    );
    let whole = send(&user, "Hi", "a", None).await.unwrap();
    assert_eq!(
        (whole[0].name.as_str(), &whole[0].data["replayed"]),
        ("ack", &json!(true))
    );
    let empty = send(&user, "Hi", "a", Some("")).await.unwrap();
    assert_eq!(empty[0].name, "ack", "an empty id is none");
    let malformed = send(&user, "Hi", "a", Some("41_7-1.2")).await.unwrap_err();
    assert_eq!((malformed.status.as_u16(), malformed.code()), (400, "invalid_cursor"));
    // Left from another answer: a new message is new, and a repeated one begins again.
    let new = send(&user, "Hi", "b", Some(&end.id)).await.unwrap();
    assert_eq!((new[0].name.as_str(), &new[0].data["replayed"]), ("ack", &json!(false)));
    let foreign = send(&user, "Hi", "b", Some(&end.id)).await.unwrap();
    assert_eq!(names(&foreign)[..2], ["resync", "reset"]);
    assert_eq!(text_after("Hello there", &foreign), "Hello there");
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn a_malformed_id_is_refused_before_a_message_is_stored() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let refused = send(&user, "Hi", "a", Some("nonsense")).await.unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "invalid_cursor"));
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM messages")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(stored, 0);
}
