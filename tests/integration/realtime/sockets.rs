//! One conversation on a WebSocket: messages, answers, resuming, commands.

use std::time::Duration;

use cura_tests::{Client, Cura, ScriptedProvider, Socket};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

pub(crate) const TOKENS: [&str; 4] = ["One ", "two ", "three ", "four"];
pub(crate) const TEXT: &str = "One two three four";

pub(crate) async fn cura(apart: Duration) -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::answering(&TOKENS, apart).await;
    let cura = Cura::with_provider(&provider).await;
    (cura, provider)
}

pub(crate) async fn conversation(client: &Client) -> Value {
    client.post("/conversations", &json!({})).await.body["id"].clone()
}

/// The text of an answer, put together from its events; checks that none is missing or repeated.
pub(crate) fn text_of(events: &[Value], answer: &Value) -> String {
    let mut text = String::new();
    for event in events.iter().filter(|event| &event["message_id"] == answer) {
        let offset = usize::try_from(event["offset"].as_u64().unwrap_or_default()).unwrap();
        match event["type"].as_str().unwrap() {
            "chunk" => {
                assert_eq!(offset, text.len(), "a gap or a repetition: {events:#?}");
                text.push_str(event["content"].as_str().unwrap());
            }
            "reset" => text.truncate(offset),
            _ => {}
        }
    }
    text
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_message_is_acknowledged_and_its_answer_comes() {
    let (cura, _provider) = cura(Duration::from_millis(5)).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket
        .send(&json!({ "type": "message", "content": "Hi", "client_message_id": "a" }))
        .await;
    let seen = socket.until("complete").await;
    let ack = &seen[0];
    assert_eq!(
        (&ack["type"], &ack["client_message_id"], &ack["replayed"]),
        (&json!("ack"), &json!("a"), &json!(false))
    );
    assert_eq!(text_of(&seen, &ack["message_id"]), TEXT);
    let last = seen.last().unwrap();
    assert_eq!(last["message"]["content"], TEXT);
    let said: Vec<&Value> = seen.iter().filter(|event| event["type"] == "message").collect();
    assert_eq!(said[0]["message"]["content"], "Hi");
    assert_eq!(
        (&said[1]["message_id"], &said[1]["message"]["status"]),
        (&ack["message_id"], &json!("sending"))
    );
    let typing = socket.until("typing").await.pop().unwrap();
    assert_eq!(
        (&typing["role"], &typing["is_typing"]),
        (&json!("assistant"), &json!(false))
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn the_same_client_message_id_is_the_same_message_and_replays_its_answer() {
    let (cura, provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    let frame = json!({ "type": "message", "content": "Hi", "client_message_id": "a" });
    socket.send(&frame).await;
    let first = socket.until("complete").await;
    drop(socket);
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&frame).await;
    let again = socket.until("complete").await;
    assert_eq!(
        (&again[0]["replayed"], &again[0]["message_id"]),
        (&json!(true), &first[0]["message_id"])
    );
    assert_eq!(types(&again), ["ack", "start", "chunk", "complete"]);
    assert_eq!(text_of(&again, &again[0]["message_id"]), TEXT);
    assert_eq!(again.last().unwrap()["message"], first.last().unwrap()["message"]);
    socket
        .send(&json!({ "type": "message", "content": "Ho", "client_message_id": "a" }))
        .await;
    let refused = socket.until("error").await;
    let refused = refused.last().unwrap();
    assert_eq!(
        (&refused["code"], &refused["client_message_id"]),
        (&json!("idempotency_key_reused"), &json!("a"))
    );
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn a_socket_that_was_cut_anywhere_goes_on_with_its_cursor() {
    let (cura, _provider) = cura(Duration::from_millis(30)).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    let mut seen = vec![socket.next().await.unwrap()];
    let answer = seen[0]["message_id"].clone();
    // Cut after every single event.
    while seen.last().unwrap()["type"] != "complete" {
        let cursor = socket.cursor.clone();
        drop(socket);
        socket = Socket::of(&user, &conversation, cursor.as_deref()).await;
        socket.cursor = cursor;
        loop {
            let event = socket.next().await.unwrap();
            let moves = event["cursor"].is_string();
            seen.push(event);
            if moves {
                break;
            }
        }
    }
    assert_eq!(text_of(&seen, &answer), TEXT);
    assert_eq!(seen.iter().filter(|event| event["type"] == "complete").count(), 1);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_socket_without_events_has_a_cursor() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "ping" })).await;
    socket.next().await.unwrap();
    let cursor = socket.cursor.clone().unwrap();
    drop(socket);
    let body = json!({ "content": "Hi", "conversation_id": conversation });
    let request = user.request(Method::POST, "/chat/send").header("Idempotency-Key", "a");
    user.send(request.json(&body)).await;
    let mut socket = Socket::of(&user, &conversation, Some(&cursor)).await;
    // A client that lost the reply sends the message again: its end comes once, after its beginning.
    socket
        .send(&json!({ "type": "message", "content": "Hi", "client_message_id": "a" }))
        .await;
    let seen = socket.until("complete").await;
    socket.send(&json!({ "type": "ping" })).await;
    let rest = socket.until("pong").await;
    let ends = [&seen[..], &rest[..]].concat();
    assert_eq!(
        ends.iter().filter(|event| event["type"] == "complete").count(),
        1,
        "{ends:#?}"
    );
    assert_eq!(text_of(&seen, &seen.last().unwrap()["message_id"]), TEXT);
}

#[tokio::test]
async fn a_cursor_of_one_conversation_is_of_no_use_elsewhere() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let (here, there) = (conversation(&user).await, conversation(&user).await);
    let mut socket = Socket::of(&user, &here, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    socket.until("complete").await;
    let cursor = socket.cursor.clone().unwrap();
    let mut other = Socket::of(&user, &there, Some(&cursor)).await;
    assert_eq!(other.next().await.unwrap()["type"], "resync");
    let mut everything = user.watch(Some(&cursor)).await;
    let resync = everything.next().await.unwrap();
    assert_eq!(
        (resync.name.as_str(), &resync.data["reason"]),
        ("resync", &json!("unknown"))
    );
    // What is about everything is about one conversation, too.
    let mut socket = Socket::of(&user, &here, Some("0")).await;
    assert_eq!(text_of(&socket.until("complete").await, &json!(2)), TEXT);
}

#[tokio::test]
async fn the_longest_answer_is_sent_however_long_it_is_as_json() {
    // Six bytes each, as JSON; nothing but them would be an empty answer.
    let piece = format!("x{}", "\u{1}".repeat(16 * 1024 - 1));
    let provider = ScriptedProvider::answering(&[piece.as_str(); 64], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let body = json!({ "content": "Hi", "conversation_id": conversation });
    assert_eq!(user.post("/chat/send", &body).await.status, 200);
    let mut socket = Socket::of(&user, &conversation, Some("0")).await;
    let seen = socket.until("complete").await;
    let content = seen.last().unwrap()["message"]["content"].as_str().unwrap();
    assert_eq!(content.len(), 1024 * 1024);
    assert!(text_of(&seen, &json!(2)) == content);
}

#[tokio::test]
async fn an_answer_is_cancelled_on_its_own_socket_and_on_no_other() {
    let (cura, _provider) = cura(Duration::from_millis(500)).await;
    let user = cura.user().await;
    let (here, there) = (conversation(&user).await, conversation(&user).await);
    let mut socket = Socket::of(&user, &here, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    let seen = socket.until("chunk").await;
    let mut other = Socket::of(&user, &there, None).await;
    other
        .send(&json!({ "type": "cancel", "message_id": seen[0]["message_id"] }))
        .await;
    let refused = other.until("error").await;
    assert_eq!(refused[0]["code"], "message_not_found");
    socket
        .send(&json!({ "type": "cancel", "message_id": seen[0]["message_id"] }))
        .await;
    let end = socket.until("complete").await;
    let end = end.last().unwrap();
    assert_eq!(end["message"]["metadata"]["finish_reason"], "cancelled");
    socket.send(&json!({ "type": "cancel", "message_id": 999_999 })).await;
    let refused = socket.until("error").await;
    assert_eq!(refused.last().unwrap()["message_id"], 999_999);
}

#[tokio::test]
async fn a_message_that_is_refused_because_an_answer_runs_does_not_end_that_answer() {
    let (cura, _provider) = cura(Duration::from_millis(300)).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    let mut seen = socket.until("start").await;
    let answer = seen[0]["message_id"].clone();
    socket
        .send(&json!({ "type": "message", "content": "Ho", "client_message_id": "b" }))
        .await;
    seen.extend(socket.until("error").await);
    let refused = seen.pop().unwrap();
    assert_eq!(
        (&refused["code"], &refused["client_message_id"]),
        (&json!("generation_in_progress"), &json!("b"))
    );
    assert_eq!(
        (&refused["message_id"], &refused["running_message_id"]),
        (&Value::Null, &answer),
        "an error of a message is its end"
    );
    seen.extend(socket.until("complete").await);
    assert_eq!(text_of(&seen, &answer), TEXT);
}

#[tokio::test]
async fn cancelling_an_answer_that_ended_before_the_socket_opened_sends_its_end() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    let end = socket.until("complete").await.pop().unwrap();
    let cancel = json!({ "type": "cancel", "message_id": end["message_id"] });
    // This socket has received its end already.
    socket.send(&cancel).await;
    socket.send(&json!({ "type": "cancel", "message_id": 999_999 })).await;
    let rest = socket.until("error").await;
    assert!(rest.iter().all(|event| event["type"] != "complete"), "{rest:#?}");
    let mut socket = Socket::of(&user, &conversation, None).await;
    for _ in 0..2 {
        socket.send(&cancel).await;
        let end_again = socket.until("complete").await.pop().unwrap();
        assert_eq!(end_again["message"], end["message"]);
    }
}

#[tokio::test]
async fn a_message_of_another_conversation_cannot_be_marked_as_read() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let (here, there) = (conversation(&user).await, conversation(&user).await);
    let mut socket = Socket::of(&user, &there, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    let elsewhere = socket.until("complete").await[0]["message_id"].clone();
    let mut socket = Socket::of(&user, &here, None).await;
    for message in [json!(999_999), elsewhere] {
        socket.send(&json!({ "type": "read", "message_id": message })).await;
        let refused = socket.next().await.unwrap();
        assert_eq!(
            (&refused["code"], &refused["message_id"]),
            (&json!("message_not_found"), &message)
        );
    }
}

#[tokio::test]
async fn other_devices_see_what_is_typed_read_and_changed_and_typing_expires() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder().servers(2).with_provider(&provider).start().await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let there = user.at(&cura.servers[1].base);
    let mut here = Socket::of(&user, &conversation, None).await;
    let mut elsewhere = Socket::of(&there, &conversation, None).await;
    here.send(&json!({ "type": "message", "content": "Hi" })).await;
    let seen = here.until("complete").await;
    let theirs = elsewhere.until("complete").await;
    let answer = &seen[0]["message_id"];
    assert_eq!(text_of(&theirs, answer), "Hello");
    assert_eq!(
        theirs.last().unwrap(),
        seen.last().unwrap(),
        "the same event, with the same cursor"
    );
    here.send(&json!({ "type": "typing", "is_typing": true })).await;
    let typing = async |socket: &mut Socket| loop {
        let event = socket.next().await.unwrap();
        if event["type"] == "typing" && event["role"] == "user" {
            return event["is_typing"].clone();
        }
    };
    assert_eq!(typing(&mut elsewhere).await, true);
    assert_eq!(typing(&mut elsewhere).await, false, "it expires");
    here.send(&json!({ "type": "read", "message_id": answer })).await;
    let read = elsewhere.until("read").await;
    assert_eq!(&read.last().unwrap()["message_id"], answer);
    here.send(&json!({ "type": "message", "content": "Hi again" })).await;
    let next = here.until("complete").await.last().unwrap()["message_id"].clone();
    elsewhere.until("complete").await;
    let path = format!("/conversations/{conversation}/read");
    // The second does not say anything new, and what was read does not become unread.
    for message in [&next, &next, answer] {
        let reply = there.post(&path, &json!({ "message_id": message })).await;
        assert_eq!((reply.status.as_u16(), reply.bytes.len()), (204, 0));
    }
    let read = here.until("read").await;
    assert_eq!(read.last().unwrap()["message_id"], next);
    let unknown = there.post(&path, &json!({ "message_id": 999_999 })).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "message_not_found"));
    let nowhere = there
        .post("/conversations/999999/read", &json!({ "message_id": next }))
        .await;
    assert_eq!(
        (nowhere.status.as_u16(), nowhere.code()),
        (404, "conversation_not_found")
    );
    let request = there.request(Method::PATCH, &format!("/conversations/{conversation}"));
    there.send(request.json(&json!({ "title": "New" }))).await;
    let changed = here.until("conversation").await;
    assert_eq!(changed.last().unwrap()["conversation"]["title"], "New");
}

#[tokio::test]
async fn the_longest_message_fits_into_a_frame_however_it_is_escaped() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let conversation = conversation(&user).await;
    let escaped = |text: &str| -> String {
        let units = text.encode_utf16();
        units.map(|unit| format!("\\u{unit:04x}")).collect()
    };
    let key = "k".repeat(255);
    let frame = format!(
        r#"{{"type": "message", "content": "{}", "client_message_id": "{}", "attachments": [], "on_busy": "queue"}}"#,
        escaped(&"🐎".repeat(10_000)),
        escaped(&key),
    );
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send_frame(Message::text(frame)).await;
    let ack = socket.until("ack").await.pop().unwrap();
    assert_eq!(ack["client_message_id"], key.as_str());
    let stored = user.get(&format!("/chat/messages/{}", ack["user_message_id"])).await;
    assert_eq!(stored.body["content"], "🐎".repeat(10_000).as_str());
    // One character more is the message's fault, and no frame's.
    let frame = json!({ "type": "message", "content": "🐎".repeat(10_001) }).to_string();
    socket.send_frame(Message::text(frame)).await;
    assert_eq!(socket.until("error").await.pop().unwrap()["code"], "invalid_content");
}

#[tokio::test]
async fn what_happens_in_no_conversation_is_told_on_every_socket() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let (first, second) = (conversation(&user).await, conversation(&user).await);
    let mut sockets = [
        Socket::of(&user, &first, None).await,
        Socket::of(&user, &second, None).await,
    ];
    for socket in &mut sockets {
        socket.send(&json!({ "type": "ping" })).await;
        socket.until("pong").await;
    }
    let cursor = sockets[0].cursor.clone();
    assert_eq!(user.get("/users/me/export").await.status, 202);
    for socket in &mut sockets {
        let told = socket.until("export").await;
        assert_eq!(types(&told), ["export"], "and nothing of another conversation");
        assert!(told[0]["cursor"].is_string());
    }
    // Also to who was away.
    let mut back = Socket::of(&user, &first, cursor.as_deref()).await;
    assert_eq!(back.until("export").await.pop().unwrap()["status"], "ready");
    let bob = cura.client().register("bob@example.com").await;
    let mut his = Socket::of(&bob, &conversation(&bob).await, None).await;
    his.send(&json!({ "type": "ping" })).await;
    assert_eq!(types(&his.until("pong").await), ["pong"]);
}
