//! The event stream of a user: everything that happens, on one cursor, from any server.

use std::time::{Duration, Instant};

use cura_tests::client::names;
use cura_tests::provider::{Step, answer, chunk};
use cura_tests::{Cura, ScriptedProvider, View};
use reqwest::Method;
use serde_json::{Value, json};

const TOKENS: [&str; 4] = ["One ", "two ", "three ", "four"];

async fn cura(apart: Duration) -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::answering(&TOKENS, apart).await;
    let cura = Cura::with_provider(&provider).await;
    (cura, provider)
}

#[tokio::test]
async fn events_come_in_the_order_in_which_they_happened() {
    let (cura, _provider) = cura(Duration::from_millis(5)).await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    user.post("/chat/send", &json!({ "content": "Hi" })).await;
    let mut seen = stream.until("complete").await;
    seen.retain(|event| !["typing", "chunk", "queued"].contains(&event.name.as_str()));
    assert_eq!(
        names(&seen),
        [
            "conversation",
            "message",
            "message",
            "start",
            "conversation",
            "complete"
        ]
    );
    assert_eq!(seen[0].data["conversation"]["title"], "Hi");
    assert_eq!(seen[1].data["message"]["content"], "Hi");
    assert!(seen.iter().all(|event| !event.id.is_empty()));
    let header = |name: &str| stream.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-cache, no-transform");
}

#[tokio::test]
async fn a_client_that_was_away_sends_one_cursor_and_is_up_to_date() {
    let (cura, _provider) = cura(Duration::from_millis(20)).await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    let mut view = View::default();
    let sent = user.send_without_waiting(&json!({ "content": "first" })).await.body;
    for event in stream.until("chunk").await {
        view.apply(&event.data);
    }
    let cursor = stream.cursor.clone().unwrap();
    // Asleep, in the middle of a word: an answer ends, another one comes and goes, things are renamed and deleted.
    drop(stream);
    let answered = user.until_final(&sent["assistant_message"]["id"]).await;
    assert_eq!(answered["status"], "sent");
    user.post(
        "/chat/send",
        &json!({ "content": "second", "conversation_id": sent["conversation_id"] }),
    )
    .await;
    let made = user.post("/conversations", &json!({ "title": "gone soon" })).await.body;
    user.send(user.request(Method::DELETE, &format!("/conversations/{}", made["id"])))
        .await;
    let request = user.request(Method::PATCH, &format!("/conversations/{}", sent["conversation_id"]));
    user.send(request.json(&json!({ "title": "renamed" }))).await;
    let mut stream = user.watch(Some(&cursor)).await;
    while view.titles.get(&sent["conversation_id"].as_i64().unwrap()) != Some(&Some("renamed".to_owned()))
        || view.messages.values().filter(|shown| shown.status == "sent").count() < 4
    {
        view.apply(&stream.next().await.unwrap().data);
    }
    let texts: Vec<&str> = view.messages.values().map(|shown| shown.text.as_str()).collect();
    assert_eq!(texts, ["first", "One two three four", "second", "One two three four"]);
    assert_eq!((view.titles.len(), view.resyncs), (1, 0));
}

#[tokio::test]
async fn every_event_can_be_the_last_one_a_client_saw() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    assert!(stream.wait_for_cursor().await);
    let begin = stream.cursor.clone().unwrap();
    user.post("/chat/send", &json!({ "content": "Hi" })).await;
    let seen = stream.until("complete").await;
    let mut whole = View::default();
    seen.iter().for_each(|event| whole.apply(&event.data));
    let cursors = std::iter::once(begin).chain(seen.iter().map(|event| event.id.clone()));
    for (at, cursor) in cursors.enumerate().filter(|(_, cursor)| !cursor.is_empty()) {
        let mut view = View::default();
        seen[..at].iter().for_each(|event| view.apply(&event.data));
        let mut stream = user.watch(Some(&cursor)).await;
        while view != whole {
            view.apply(&stream.next().await.unwrap().data);
        }
    }
}

#[tokio::test]
async fn a_cursor_that_is_too_old_or_unknown_gets_a_resync() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    for n in 0..5 {
        user.post("/conversations", &json!({ "title": n.to_string() })).await;
    }
    sqlx::query("DELETE FROM events WHERE seq <= 3")
        .execute(cura.database.pool())
        .await
        .unwrap();
    for (cursor, reason) in [("1", "too_old"), ("99", "unknown"), ("9223372036854775807", "unknown")] {
        let mut stream = user.watch(Some(cursor)).await;
        let resync = stream.next().await.unwrap();
        assert_eq!(
            (resync.name.as_str(), &resync.data["reason"]),
            ("resync", &json!(reason)),
            "{cursor}"
        );
        assert_eq!(resync.id, "5", "and goes on from here");
        user.post("/conversations", &json!({ "title": "more" })).await;
        assert_eq!(stream.next().await.unwrap().name, "conversation");
        sqlx::query("DELETE FROM events WHERE seq > 5")
            .execute(cura.database.pool())
            .await
            .unwrap();
        sqlx::query("UPDATE event_counters SET seq = 5")
            .execute(cura.database.pool())
            .await
            .unwrap();
    }
    let mut stream = user.watch(Some("3")).await;
    assert_eq!(
        stream.next().await.unwrap().id,
        "4",
        "events that are still there are sent"
    );
    for bad in ["x", "-1", "1_", "1_2-3"] {
        let request = user.request(Method::GET, "/events").header("Last-Event-ID", bad);
        let refused = user.events(request).await.err().unwrap();
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (400, "invalid_cursor"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_cursor_that_names_another_users_answer_shows_nothing_of_it() {
    let provider = ScriptedProvider::start(|_, _| {
        let mut steps = answer(&["a secret"], Duration::ZERO);
        steps.truncate(3);
        steps.push(Step::Hang);
        steps
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.client().register("ann@example.com").await;
    let sent = ann.send_without_waiting(&json!({ "content": "Hi" })).await.body;
    let bob = cura.client().register("bob@example.com").await;
    let cursor = format!("0_{}-0.0", sent["assistant_message"]["id"]);
    let mut stream = bob.watch(Some(&cursor)).await;
    bob.post("/conversations", &json!({ "title": "Bob's" })).await;
    let first = stream.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id.as_str()), ("conversation", "1"));
}

#[tokio::test]
async fn an_event_without_a_signal_is_found_by_polling() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    user.post("/conversations", &json!({ "title": "announced" })).await;
    assert_eq!(stream.next().await.unwrap().data["conversation"]["title"], "announced");
    // Written without a signal.
    for write in [
        "UPDATE event_counters SET seq = seq + 1",
        "INSERT INTO events SELECT user_id, seq, 'conversation', '{\"conversation_id\": 1}', now() FROM event_counters",
    ] {
        sqlx::query(write).execute(cura.database.pool()).await.unwrap();
    }
    let begun = Instant::now();
    assert_eq!(stream.next().await.unwrap().id, "2");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_with_its_token() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    stream.next_frame().await.unwrap();
    let begun = Instant::now();
    user.post("/auth/logout-all", &Value::Null).await;
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["reason"]),
        ("session_ended", &json!("signed_out"))
    );
    // Without the signal it would be found after ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let again = user.events(user.request(Method::GET, "/events")).await.err().unwrap();
    assert_eq!(again.status, 401);
}

#[tokio::test]
async fn the_end_of_a_session_has_the_cursor_of_the_last_event_sent() {
    let word = "word ".repeat(2000);
    let provider = ScriptedProvider::answering(&[word.as_str(); 40], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    for _ in 0..8 {
        assert_eq!(user.post("/chat/send", &json!({ "content": "Hi" })).await.status, 200);
    }
    let mut stream = user.watch(Some("0")).await;
    let mut seen = vec![stream.next().await.unwrap()];
    // More than the sockets hold waits to be read when the session ends.
    user.post("/auth/logout-all", &Value::Null).await;
    seen.extend(stream.rest().await);
    let last = seen.pop().unwrap();
    assert_eq!(last.name, "session_ended");
    let before = seen.iter().rev().find(|event| !event.id.is_empty()).unwrap();
    assert_eq!(last.id, before.id);
    let login = json!({ "email": "user@example.com", "password": "a long password" });
    let token = cura.client().post("/auth/login", &login).await.body["access_token"].clone();
    let mut view = View::default();
    seen.iter().for_each(|event| view.apply(&event.data));
    let mut stream = user.with_token(&token).watch(Some(&last.id)).await;
    while view.messages.values().filter(|shown| shown.status == "sent").count() < 16 {
        view.apply(&stream.next().await.unwrap().data);
    }
}

#[tokio::test]
async fn a_log_with_a_hole_or_set_back_is_not_stepped_over() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    for n in 0..6 {
        user.post("/conversations", &json!({ "title": n.to_string() })).await;
    }
    sqlx::query("DELETE FROM events WHERE seq = 4")
        .execute(cura.database.pool())
        .await
        .unwrap();
    let mut stream = user.watch(Some("1")).await;
    let seen = stream.until("resync").await;
    assert_eq!(names(&seen), ["conversation", "conversation", "resync"]);
    // A restored database: the log ends before the last event of this stream.
    for restore in ["DELETE FROM events WHERE seq > 3", "UPDATE event_counters SET seq = 3"] {
        sqlx::query(restore).execute(cura.database.pool()).await.unwrap();
    }
    let resync = stream.next().await.unwrap();
    assert_eq!(
        (resync.name.as_str(), &resync.data["reason"]),
        ("resync", &json!("unknown"))
    );
}

#[tokio::test]
async fn an_export_that_is_ready_is_an_event() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    assert_eq!(user.get("/users/me/export").await.status, 202);
    let export = stream.until("export").await.pop().unwrap();
    assert_eq!(export.data["status"], "ready");
    assert!(export.data["size"].as_i64().unwrap() > 0);
}

#[tokio::test]
async fn a_conversation_event_shows_the_latest_state() {
    let (cura, _provider) = cura(Duration::ZERO).await;
    let user = cura.user().await;
    let made = user.post("/conversations", &json!({})).await.body;
    let mut stream = user.watch(None).await;
    let said = json!({ "conversation_id": made["id"], "content": "My first words" });
    user.post("/chat/send", &said).await;
    let seen = stream.until("complete").await;
    let changes = seen.iter().filter(|event| event.name == "conversation");
    let changes: Vec<&Value> = changes.map(|event| &event.data["conversation"]).collect();
    assert_eq!(changes[0]["title"], "My first words", "the title it was given");
    let now = user.get(&format!("/conversations/{}", made["id"])).await.body;
    assert_eq!(**changes.last().unwrap(), now);
    assert_eq!((&now["busy"], &now["message_count"]), (&json!(false), &json!(2)));
}

#[tokio::test]
async fn an_answer_whose_conversation_is_deleted_ends_with_an_error_event() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Write(chunk("Hello")), Step::Hang]).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut stream = user.watch(None).await;
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await.body;
    stream.until("chunk").await;
    let delete = user.request(Method::DELETE, &format!("/conversations/{}", sent["conversation_id"]));
    assert_eq!(user.send(delete).await.status, 204);
    let mut seen = stream.until("error").await;
    let gone = seen.pop().unwrap();
    assert_eq!(
        (&gone.data["code"], &gone.data["message_id"]),
        (&json!("message_not_found"), &sent["assistant_message"]["id"])
    );
    let still = stream.until("typing").await.pop().unwrap();
    assert_eq!(still.data["is_typing"], false);
    let deleted = stream.until("conversation").await.pop().unwrap();
    assert_eq!(deleted.data["deleted"], true);
}
