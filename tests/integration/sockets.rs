//! One conversation on a WebSocket: said, heard, resumed, refused and ended.

use std::time::Duration;

use cura_app::tokens::{TokenLifetimes, Tokens};
use cura_bin::settings::Settings;
use cura_tests::{Client, Cura, ScriptedProvider, Socket, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const TOKENS: [&str; 4] = ["One ", "two ", "three ", "four"];
const TEXT: &str = "One two three four";

async fn cura(apart: Duration) -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::saying(&TOKENS, apart).await;
    let cura = Cura::builder().with("AI_MODEL_URL", provider.url()).start().await;
    (cura, provider)
}

async fn conversation(client: &Client) -> Value {
    client.post("/conversations", &json!({})).await.body["id"].clone()
}

/// The text of an answer, put together from its events; checks that none is missing or repeated.
fn text_of(events: &[Value], answer: &Value) -> String {
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
async fn what_is_said_is_confirmed_and_its_answer_comes() {
    let (cura, _provider) = cura(Duration::from_millis(5)).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    socket
        .say(&json!({ "type": "message", "content": "Hi", "client_message_id": "a" }))
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
async fn the_same_name_is_the_same_message_and_its_end_is_told_again() {
    let (cura, provider) = cura(Duration::ZERO).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    let frame = json!({ "type": "message", "content": "Hi", "client_message_id": "a" });
    socket.say(&frame).await;
    let first = socket.until("complete").await;
    drop(socket);
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    socket.say(&frame).await;
    let again = socket.until("complete").await;
    assert_eq!(
        (&again[0]["replayed"], &again[0]["message_id"]),
        (&json!(true), &first[0]["message_id"])
    );
    assert_eq!(types(&again), ["ack", "complete"]);
    assert_eq!(again.last().unwrap()["message"], first.last().unwrap()["message"]);
    socket
        .say(&json!({ "type": "message", "content": "Ho", "client_message_id": "a" }))
        .await;
    let refused = socket.until("error").await;
    let refused = refused.last().unwrap();
    assert_eq!(
        (&refused["code"], &refused["client_message_id"]),
        (&json!("idempotency_key_reused"), &json!("a"))
    );
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn a_socket_that_was_cut_anywhere_goes_on_with_its_cursor() {
    let (cura, _provider) = cura(Duration::from_millis(30)).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    socket.say(&json!({ "type": "message", "content": "Hi" })).await;
    let mut seen = vec![socket.next().await.unwrap()];
    let answer = seen[0]["message_id"].clone();
    // Cut after every single event.
    while seen.last().unwrap()["type"] != "complete" {
        let cursor = socket.cursor.clone();
        drop(socket);
        socket = Socket::of(&somebody, &conversation, cursor.as_deref()).await;
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
async fn a_socket_to_which_nothing_has_happened_knows_where_it_stands() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    socket.say(&json!({ "type": "ping" })).await;
    socket.next().await.unwrap();
    let cursor = socket.cursor.clone().unwrap();
    drop(socket);
    let body = json!({ "content": "Hi", "conversation_id": conversation });
    let request = somebody
        .request(Method::POST, "/chat/send")
        .header("Idempotency-Key", "a");
    somebody.send(request.json(&body)).await;
    let mut socket = Socket::of(&somebody, &conversation, Some(&cursor)).await;
    // Who lost the answer to what they said says it again: its end is told once, after its beginning.
    socket
        .say(&json!({ "type": "message", "content": "Hi", "client_message_id": "a" }))
        .await;
    let seen = socket.until("complete").await;
    socket.say(&json!({ "type": "ping" })).await;
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
    let somebody = cura.somebody().await;
    let (here, there) = (conversation(&somebody).await, conversation(&somebody).await);
    let mut socket = Socket::of(&somebody, &here, None).await;
    socket.say(&json!({ "type": "message", "content": "Hi" })).await;
    socket.until("complete").await;
    let cursor = socket.cursor.clone().unwrap();
    let mut other = Socket::of(&somebody, &there, Some(&cursor)).await;
    assert_eq!(other.next().await.unwrap()["type"], "resync");
    let mut everything = somebody.watch(Some(&cursor)).await;
    let told = everything.next().await.unwrap();
    assert_eq!(
        (told.name.as_str(), &told.data["reason"]),
        ("resync", &json!("unknown"))
    );
    // What is about everything is about one conversation, too.
    let mut socket = Socket::of(&somebody, &here, Some("0")).await;
    assert_eq!(text_of(&socket.until("complete").await, &json!(2)), TEXT);
}

#[tokio::test]
async fn a_reader_that_does_not_read_keeps_no_server_from_stopping() {
    let word = "word ".repeat(2000);
    let provider = ScriptedProvider::saying(&[word.as_str(); 60], Duration::ZERO).await;
    let mut cura = Cura::builder().with("AI_MODEL_URL", provider.url()).start().await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    for _ in 0..20 {
        let body = json!({ "content": "Hi", "conversation_id": conversation });
        assert_eq!(somebody.post("/chat/send", &body).await.status, 200);
    }
    let begun = std::time::Instant::now();
    cura.servers[0].program.signal("TERM");
    assert_eq!(cura.servers[0].program.ended().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    socket.closed().await;
}

#[tokio::test]
async fn an_answer_is_stopped_and_what_is_not_of_here_is_not() {
    let (cura, _provider) = cura(Duration::from_millis(500)).await;
    let somebody = cura.somebody().await;
    let (here, there) = (conversation(&somebody).await, conversation(&somebody).await);
    let mut socket = Socket::of(&somebody, &here, None).await;
    socket.say(&json!({ "type": "message", "content": "Hi" })).await;
    let seen = socket.until("chunk").await;
    let mut other = Socket::of(&somebody, &there, None).await;
    other
        .say(&json!({ "type": "cancel", "message_id": seen[0]["message_id"] }))
        .await;
    let refused = other.until("error").await;
    assert_eq!(refused[0]["code"], "message_not_found");
    socket
        .say(&json!({ "type": "cancel", "message_id": seen[0]["message_id"] }))
        .await;
    let end = socket.until("complete").await;
    let end = end.last().unwrap();
    assert_eq!(end["message"]["metadata"]["finish_reason"], "cancelled");
    socket.say(&json!({ "type": "cancel", "message_id": 999_999 })).await;
    let refused = socket.until("error").await;
    assert_eq!(refused.last().unwrap()["message_id"], 999_999);
}

#[tokio::test]
async fn other_devices_see_what_is_typed_read_and_changed_and_typing_expires() {
    let provider = ScriptedProvider::saying(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .servers(2)
        .with("AI_MODEL_URL", provider.url())
        .start()
        .await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let there = somebody.at(&cura.servers[1].base);
    let mut here = Socket::of(&somebody, &conversation, None).await;
    let mut elsewhere = Socket::of(&there, &conversation, None).await;
    here.say(&json!({ "type": "message", "content": "Hi" })).await;
    let seen = here.until("complete").await;
    let theirs = elsewhere.until("complete").await;
    let answer = &seen[0]["message_id"];
    assert_eq!(text_of(&theirs, answer), "Hello");
    assert_eq!(
        theirs.last().unwrap(),
        seen.last().unwrap(),
        "the same event, with the same cursor"
    );
    here.say(&json!({ "type": "typing", "is_typing": true })).await;
    let typing = async |socket: &mut Socket| loop {
        let event = socket.next().await.unwrap();
        if event["type"] == "typing" && event["role"] == "user" {
            return event["is_typing"].clone();
        }
    };
    assert_eq!(typing(&mut elsewhere).await, true);
    assert_eq!(typing(&mut elsewhere).await, false, "it expires");
    here.say(&json!({ "type": "read", "message_id": answer })).await;
    let read = elsewhere.until("read").await;
    assert_eq!(&read.last().unwrap()["message_id"], answer);
    let request = there.request(Method::PATCH, &format!("/conversations/{conversation}"));
    there.send(request.json(&json!({ "title": "New" }))).await;
    let changed = here.until("conversation").await;
    assert_eq!(changed.last().unwrap()["conversation"]["title"], "New");
}

#[tokio::test]
async fn who_may_not_is_told_by_the_close_code() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let path = format!("/chat/ws/{conversation}");
    let nobody = cura.client();
    assert_eq!(Socket::open(&nobody, &path).await.unwrap().closed().await, 4401);
    for bad in ["?token=garbage", "?ticket=garbage"] {
        assert_eq!(
            Socket::open(&nobody, &format!("{path}{bad}"))
                .await
                .unwrap()
                .closed()
                .await,
            4401,
            "{bad}"
        );
    }
    let other = cura.client().register("other@example.com").await;
    assert_eq!(Socket::of(&other, &conversation, None).await.closed().await, 4404);
    assert_eq!(Socket::of(&somebody, &json!(999_999), None).await.closed().await, 4404);
    let ticket = somebody.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let by_ticket = format!("{path}?ticket={}", ticket.as_str().unwrap());
    let mut socket = Socket::open(&nobody, &by_ticket).await.unwrap();
    socket.say(&json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await.unwrap()["type"], "pong");
    assert_eq!(
        Socket::open(&nobody, &by_ticket).await.unwrap().closed().await,
        4401,
        "it is for once"
    );
    let by_token = format!("{path}?token={}", somebody.token.as_ref().unwrap());
    let mut socket = Socket::open(&nobody, &by_token).await.unwrap();
    socket.say(&json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await.unwrap()["type"], "pong");
    assert!(
        !cura.said().contains(somebody.token.as_ref().unwrap()),
        "a token reached a log"
    );
    let plain = somebody.get(&path).await;
    assert_eq!((plain.status.as_u16(), plain.code()), (426, "upgrade_required"));
    assert!(
        Socket::open(&somebody, &format!("{path}?after=nonsense"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn nonsense_is_answered_and_floods_and_heaps_are_closed() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    for (frame, code) in [
        (Message::text("nonsense"), "malformed_frame"),
        (Message::text("{\"type\":\"dance\"}"), "unknown_type"),
        (Message::text("{\"type\":\"message\"}"), "invalid_frame"),
        (
            Message::text("{\"type\":\"message\",\"content\":\" \"}"),
            "invalid_content",
        ),
        (Message::binary(vec![1, 2, 3]), "malformed_frame"),
    ] {
        socket.send(frame).await;
        let answer = socket.next().await.unwrap();
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)));
    }
    socket.send(Message::text("x".repeat(64 * 1024 + 1))).await;
    assert_eq!(socket.closed().await, 1009);
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    for _ in 0..200 {
        socket.say(&json!({ "type": "typing", "is_typing": true })).await;
    }
    assert_eq!(socket.closed().await, 1008);
}

#[tokio::test]
async fn a_socket_spends_the_same_budget_as_everything_else() {
    let provider = ScriptedProvider::saying(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with("AI_MODEL_URL", provider.url())
        .with("RATE_LIMIT_CHAT", "2")
        .start()
        .await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    assert_eq!(
        somebody.post("/chat/send", &json!({ "content": "Hi" })).await.status,
        200
    );
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    socket
        .say(&json!({ "type": "message", "content": "one", "client_message_id": "1" }))
        .await;
    socket.until("complete").await;
    socket
        .say(&json!({ "type": "message", "content": "two", "client_message_id": "2" }))
        .await;
    let refused = socket.until("error").await;
    let refused = refused.last().unwrap();
    assert_eq!(
        (&refused["code"], &refused["client_message_id"]),
        (&json!("rate_limited"), &json!("2"))
    );
    assert_eq!(refused["retryable"], true);
    socket
        .say(&json!({ "type": "message", "content": "one", "client_message_id": "1" }))
        .await;
    let again = socket.until("ack").await;
    assert_eq!(again.last().unwrap()["replayed"], true, "a repetition is free");
    assert_eq!(provider.asked().len(), 2);
}

#[tokio::test]
async fn sessions_that_end_and_tokens_that_expire_end_sockets_and_a_fresh_token_keeps_one() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    socket.say(&json!({ "type": "auth", "token": "garbage" })).await;
    assert_eq!(socket.next().await.unwrap()["code"], "not_authenticated");
    let other = cura.client().register("other@example.com").await;
    socket.say(&json!({ "type": "auth", "token": other.token })).await;
    assert_eq!(
        socket.next().await.unwrap()["code"],
        "not_authenticated",
        "only one's own"
    );
    socket.say(&json!({ "type": "auth", "token": somebody.token })).await;
    let taken = socket.next().await.unwrap();
    assert_eq!(taken["type"], "auth");
    assert!(taken["expires_at"].is_string());
    somebody.post("/auth/logout-all", &Value::Null).await;
    let begun = std::time::Instant::now();
    let ended = socket.until("session_ended").await;
    assert_eq!(ended.last().unwrap()["reason"], "signed_out");
    assert_eq!(socket.closed().await, 4401);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_token_that_expires_ends_what_was_opened_with_it_unless_a_fresh_one_comes() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let session = somebody.get("/auth/sessions").await.body["items"][0]["id"]
        .as_i64()
        .unwrap();
    let lifetimes = TokenLifetimes {
        access: chrono::TimeDelta::seconds(3),
        refresh: chrono::TimeDelta::days(1),
    };
    // Signed as the server would sign it, for a shorter time.
    let tokens = Tokens::new(Settings::from_environment().unwrap().signing_key(), lifetimes);
    let (user, session) = (cura_domain::UserId(1), cura_domain::SessionId(session));
    let now = chrono::DateTime::from(std::time::SystemTime::now());
    let short = tokens
        .issue_access(user, session, now, &cura_bin::wiring::entropy())
        .unwrap();
    let hasty = somebody.with_token(&json!(short));
    let mut stream = hasty.watch(None).await;
    let mut left = Socket::of(&hasty, &conversation, None).await;
    let mut kept = Socket::of(&hasty, &conversation, None).await;
    kept.say(&json!({ "type": "auth", "token": somebody.token })).await;
    assert_eq!(kept.next().await.unwrap()["type"], "auth");
    let ended = left.until("session_ended").await;
    assert_eq!(ended.last().unwrap()["reason"], "expired");
    assert_eq!(left.closed().await, 4401);
    assert_eq!(stream.rest().await.last().unwrap().data["reason"], "expired");
    kept.say(&json!({ "type": "ping" })).await;
    assert_eq!(kept.next().await.unwrap()["type"], "pong");
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_the_other_one_goes_on() {
    let provider = ScriptedProvider::saying(&TOKENS, Duration::from_millis(300)).await;
    let mut cura = Cura::builder()
        .servers(2)
        .with("AI_MODEL_URL", provider.url())
        .start()
        .await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let mut socket = Socket::of(&somebody, &conversation, None).await;
    socket.say(&json!({ "type": "message", "content": "Hi" })).await;
    let mut seen = socket.until("chunk").await;
    cura.servers[0].program.signal("TERM");
    let code = loop {
        match socket.next().await {
            Ok(event) => seen.push(event),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 1012);
    let there = somebody.at(&cura.servers[1].base);
    let mut socket = Socket::of(&there, &conversation, socket.cursor.as_deref()).await;
    seen.extend(socket.until("complete").await);
    assert_eq!(text_of(&seen, &seen[0]["message_id"]), TEXT);
    assert_eq!(cura.servers[0].program.ended().await, Some(0));
}

#[tokio::test]
async fn presence_is_known_on_every_server_and_ends_by_itself() {
    let (mut cura, _provider) = cura(Duration::ZERO).await;
    let somebody = cura.somebody().await;
    let conversation = conversation(&somebody).await;
    let live = cura_live::Live::redis(&cura.redis.url(), cura_live::LiveConfig::default()).unwrap();
    let user = cura_domain::UserId(1);
    assert!(!live.is_present(user).await.unwrap());
    let socket = Socket::of(&somebody, &conversation, None).await;
    eventually("somebody is there", async || {
        live.is_present(user).await.unwrap().then_some(())
    })
    .await;
    drop(socket);
    eventually("nobody is there", async || {
        (!live.is_present(user).await.unwrap()).then_some(())
    })
    .await;
    let _socket = Socket::of(&somebody, &conversation, None).await;
    eventually("somebody is there", async || {
        live.is_present(user).await.unwrap().then_some(())
    })
    .await;
    // A server that is killed says nothing; its word holds for half a minute.
    cura.servers.remove(0).program.kill();
    assert!(live.is_present(user).await.unwrap());
    let begun = std::time::Instant::now();
    while live.is_present(user).await.unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(40), "it does not expire");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
