//! Sending a message: exactly once, with any wait, and never to another user's conversation.

use std::time::Duration;

use cura_tests::client::text_after;
use cura_tests::provider::Step;
use cura_tests::{Client, Cura, Reply, ScriptedProvider, eventually, interrupted_answer};
use reqwest::Method;
use serde_json::{Value, json};

async fn send(client: &Client, headers: &[(&str, &str)], body: &Value) -> Reply {
    let mut request = client.request(Method::POST, "/chat/send").json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request).await
}

async fn quick() -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    (cura, provider)
}

#[tokio::test]
async fn sending_gives_the_finished_answer() {
    let (cura, _provider) = quick().await;
    let sent = send(&cura.user().await, &[], &json!({ "content": "Hi" })).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    assert_eq!(sent.body["user_message"]["content"], "Hi");
    assert_eq!(sent.body["user_message"]["role"], "user");
    assert_eq!(sent.body["assistant_message"]["content"], "Hello");
    assert_eq!(
        sent.body["assistant_message"]["parent_id"],
        sent.body["user_message"]["id"]
    );
    assert_eq!(
        sent.body["assistant_message"]["conversation_id"],
        sent.body["conversation_id"]
    );
}

#[tokio::test]
async fn a_client_that_does_not_wait_gets_202_and_a_location() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::from_millis(300)).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = send(&user, &[("Prefer", "wait=0")], &json!({ "content": "Hi" })).await;
    assert_eq!(sent.status, 202);
    assert_eq!(sent.body["assistant_message"]["status"], "sending");
    let location = sent.header("location").unwrap().to_owned();
    assert_eq!(
        location,
        format!("/chat/messages/{}", sent.body["assistant_message"]["id"])
    );
    eventually("it is there later", async || {
        (user.get(&location).await.body["content"] == "Hello").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_same_key_and_body_attach_to_the_first_send() {
    let (cura, provider) = quick().await;
    let user = cura.user().await;
    let key = [("Idempotency-Key", "once")];
    let first = send(&user, &key, &json!({ "content": "Hi" })).await;
    assert!(first.header("idempotent-replayed").is_none());
    let again = send(&user, &key, &json!({ "content": "Hi" })).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    let request = user
        .request(Method::POST, "/chat/stream")
        .header("Idempotency-Key", "once");
    let mut stream = user.events(request.json(&json!({ "content": "Hi" }))).await.unwrap();
    assert_eq!(stream.headers.get("idempotent-replayed").unwrap(), "true");
    let seen = stream.rest().await;
    assert_eq!(seen[0].data["replayed"], true);
    assert_eq!(seen[1].name, "start");
    assert_eq!(text_after("", &seen), "Hello");
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let (cura, provider) = quick().await;
    let user = cura.user().await;
    let key = [("Idempotency-Key", "once")];
    send(&user, &key, &json!({ "content": "Hi" })).await;
    let other = send(&user, &key, &json!({ "content": "Ho" })).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency_key_reused"));
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn a_key_belongs_to_its_user() {
    let (cura, _provider) = quick().await;
    let key = [("Idempotency-Key", "once")];
    let first = send(&cura.user().await, &key, &json!({ "content": "Hi" })).await;
    let other = cura.client().register("other@example.com").await;
    let second = send(&other, &key, &json!({ "content": "Hi" })).await;
    assert!(second.header("idempotent-replayed").is_none());
    assert_ne!(first.body["conversation_id"], second.body["conversation_id"]);
}

#[tokio::test]
async fn twenty_sends_at_once_with_one_key_are_one_message() {
    let (cura, provider) = quick().await;
    let user = cura.user().await;
    let body = json!({ "content": "Hi" });
    let sends = (0..20).map(|_| send(&user, &[("Idempotency-Key", "once")], &body));
    let replies = futures_util::future::join_all(sends).await;
    for reply in &replies {
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(
            reply.body["assistant_message"]["id"],
            replies[0].body["assistant_message"]["id"]
        );
    }
    assert_eq!(
        replies
            .iter()
            .filter(|reply| reply.header("idempotent-replayed").is_none())
            .count(),
        1
    );
    assert_eq!(provider.requests().len(), 1);
    cura.check_invariants().await;
    let bills = cura
        .database
        .count("SELECT sum(messages)::bigint FROM usage_days")
        .await;
    assert_eq!(bills, 1);
}

#[tokio::test]
async fn a_second_message_while_an_answer_runs_is_a_conflict() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Hang]).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.send_without_waiting(&json!({ "content": "Hi" })).await;
    let conversation = first.body["conversation_id"].clone();
    let second = send(&user, &[], &json!({ "content": "Ho", "conversation_id": conversation })).await;
    assert_eq!((second.status.as_u16(), second.code()), (409, "generation_in_progress"));
    assert_eq!(second.body["message_id"], first.body["assistant_message"]["id"]);
}

#[tokio::test]
async fn another_users_conversation_and_message_are_not_found() {
    let (cura, _provider) = quick().await;
    let sent = send(&cura.user().await, &[], &json!({ "content": "secret" })).await;
    let (conversation, message) = (
        sent.body["conversation_id"].as_i64().unwrap(),
        sent.body["assistant_message"]["id"].as_i64().unwrap(),
    );
    let other = cura.client().register("other@example.com").await;
    let missing = other.get("/conversations/999999").await;
    for path in [
        format!("/conversations/{conversation}"),
        format!("/conversations/{conversation}/messages"),
        format!("/chat/messages/{message}"),
        format!("/chat/messages/{message}/stream"),
    ] {
        assert_eq!(other.get(&path).await.status, 404, "{path}");
    }
    let theirs = other.get(&format!("/conversations/{conversation}")).await;
    assert_eq!(
        (theirs.code(), &theirs.body["detail"]),
        (missing.code(), &missing.body["detail"]),
        "they are indistinguishable"
    );
    let body = json!({ "content": "Hi", "conversation_id": conversation });
    assert_eq!(send(&other, &[], &body).await.code(), "conversation_not_found");
    let stream = other
        .request(Method::POST, &format!("/chat/stream/{conversation}"))
        .json(&json!({ "content": "Hi" }));
    assert_eq!(other.events(stream).await.err().unwrap().status, 404);
}

#[tokio::test]
async fn what_is_not_there_yet_is_refused_instead_of_ignored() {
    let (cura, provider) = quick().await;
    let user = cura.user().await;
    for (body, pointer) in [
        (json!({ "content": "Hi", "attachments": ["a.png"] }), "/attachments/0"),
        (json!({ "content": "Hi", "on_busy": "whatever" }), "/on_busy"),
    ] {
        let refused = send(&user, &[], &body).await;
        assert_eq!(refused.status, 422, "{body}");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.body);
    }
    assert!(provider.requests().is_empty());
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_refused_instead_of_ignored() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let key = reqwest::header::HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap();
    let request = user.request(Method::POST, "/chat/send").header("Idempotency-Key", key);
    let refused = user.send(request.json(&json!({ "content": "Hi" }))).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "malformed_header"));
}

#[tokio::test]
async fn a_message_whose_job_cannot_be_queued_is_not_stored() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    // A job of a message that no longer exists: the database was restored, and ids are given out again.
    let old =
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key)
               VALUES (apalis.generate_ulid(), '{}', 'generate-answer', 'Done', 1, 4, now(), 0, '2')";
    sqlx::query(old).execute(cura.database.pool()).await.unwrap();
    let refused = user.post("/chat/send", &json!({ "content": "Hi" })).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (500, "internal_error"));
    let messages: i64 = sqlx::query_scalar("SELECT count(*) FROM messages")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(messages, 0);
}

#[tokio::test]
async fn a_key_outlives_what_was_deleted_and_does_not_bring_it_back() {
    let (cura, provider) = quick().await;
    let user = cura.user().await;
    let key = [("Idempotency-Key", "deleted")];
    let first = send(&user, &key, &json!({ "content": "Hi" })).await;
    let path = format!("/conversations/{}", first.body["conversation_id"]);
    let delete = user.request(Method::DELETE, &path);
    assert_eq!(user.send(delete).await.status, 204);
    eventually("nothing is left of it", async || {
        (cura.database.count("SELECT count(*) FROM messages").await == 0).then_some(())
    })
    .await;
    let again = send(&user, &key, &json!({ "content": "Hi" })).await;
    assert_eq!((again.status.as_u16(), again.code()), (404, "conversation_not_found"));
    let other = send(&user, &key, &json!({ "content": "Hello" })).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency_key_reused"));
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn whatever_else_a_client_says_belongs_to_its_key() {
    let (cura, _provider) = quick().await;
    let user = cura.user().await;
    let key = [("Idempotency-Key", "whole")];
    let first = send(&user, &key, &json!({ "content": "Hi" })).await;
    assert_eq!(first.status, 200);
    for other in [
        json!({ "content": "Hi", "on_busy": "interrupt" }),
        json!({ "content": "Hi", "conversation_id": first.body["conversation_id"] }),
    ] {
        let refused = send(&user, &key, &other).await;
        assert_eq!(refused.status, 422, "{other}");
    }
    let same = send(&user, &key, &json!({ "content": "Hi", "on_busy": "reject" })).await;
    assert_eq!(same.status, 200, "what is left out is what it stands for");
}

#[tokio::test]
async fn a_running_answer_is_read_as_far_as_it_was_shown() {
    let answer = interrupted_answer().stalling_after(&["as far as this"]).start().await;
    let message = answer.user.get(&format!("/chat/messages/{}", answer.id())).await;
    assert_eq!(
        (&message.body["status"], &message.body["content"]),
        (&json!("sending"), &json!("as far as this"))
    );
    let list = format!("/conversations/{}/messages", answer.conversation_id());
    let listed = answer.user.get(&list).await;
    assert_eq!(listed.body["items"][0]["content"], "as far as this");
}
