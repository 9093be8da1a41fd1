//! Quiet hours postpone pushes; at their end only the newest unread answer of each conversation is pushed.

use chrono::{Timelike, Utc};
use cura_tests::fcm_server::fcm_error;
use cura_tests::{Client, Socket};
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Pushing, register};

/// Quiet hours that have begun an hour or two ago, and go on for three.
async fn make_quiet(user: &Client) {
    #[expect(clippy::disallowed_methods, reason = "the program reads this clock, too")]
    let hour = Utc::now().hour();
    let quiet = json!({ "start": format!("{:02}:00", (hour + 22) % 24), "end": format!("{:02}:59", (hour + 3) % 24) });
    let quiet = json!({ "timezone": "UTC", "preferences": { "notifications": { "quiet_hours": quiet } } });
    let changed = user.send(user.request(Method::PATCH, "/users/me").json(&quiet)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
}

async fn end_quiet_hours(pushing: &Pushing) {
    pushing
        .sql("UPDATE users SET preferences = '{\"notifications\": {}}'")
        .await;
    pushing.sql("UPDATE pushes SET quiet_until = now()").await;
    pushing
        .sql("UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push' AND status = 'Pending'")
        .await;
}

#[tokio::test]
async fn at_the_end_of_quiet_hours_the_newest_of_each_conversation_is_pushed() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    make_quiet(&user).await;
    let first = user.send_without_waiting(&json!({ "content": "one" })).await.body;
    let conversation = &first["conversation_id"];
    let second = json!({ "conversation_id": conversation, "content": "two", "on_busy": "queue" });
    let second = user.send_without_waiting(&second).await.body;
    pushing.latch.open();
    for sent in [&first, &second] {
        let answer = user.until_final(&sent["assistant_message"]["id"]).await;
        pushing.until_waiting(&answer, 3000).await;
        assert_eq!(pushing.decision(&answer).await, "quiet");
    }
    let elsewhere = pushing.ask(&user).await;
    pushing.until_waiting(&elsewhere, 3000).await;
    assert!(pushing.fcm.sends().is_empty());
    end_quiet_hours(&pushing).await;
    pushing.fcm.wait_for_sends_to("phone", 2).await;
    pushing.until_done().await;
    let sends = pushing.fcm.sends();
    let mut pushed: Vec<&str> = sends
        .iter()
        .map(|send| send.message["data"]["message_id"].as_str().unwrap())
        .collect();
    pushed.sort_unstable();
    let newest = [
        second["assistant_message"]["id"].to_string(),
        elsewhere["id"].to_string(),
    ];
    assert_eq!(pushed, newest);
    let superseded = "SELECT count(*) FROM pushes WHERE decision = 'superseded'";
    assert_eq!(pushing.cura.database.count(superseded).await, 1);
}

#[tokio::test]
async fn what_was_watched_to_its_end_in_quiet_hours_is_not_pushed_after_them() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    make_quiet(&user).await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    pushing.latch.open();
    let ended = socket.until("complete").await;
    let answer = ended.last().unwrap()["message"].clone();
    pushing.until_waiting(&answer, 60).await;
    socket.send_frame(Message::Close(None)).await;
    socket.closed().await;
    pushing.let_last_look_come(&answer).await;
    assert_eq!(pushing.decision(&answer).await, "watched");
    pushing.until_done().await;
    assert!(pushing.fcm.sends().is_empty());
}

#[tokio::test]
async fn a_cancelled_answer_takes_the_place_of_none() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    make_quiet(&user).await;
    let first = user.send_without_waiting(&json!({ "content": "one" })).await.body;
    let second = json!({ "conversation_id": first["conversation_id"], "content": "two", "on_busy": "queue" });
    let second = user.send_without_waiting(&second).await.body;
    let path = format!("/chat/messages/{}/cancel", second["assistant_message"]["id"]);
    assert_eq!(user.post(&path, &json!({})).await.status, 200);
    pushing.latch.open();
    let answer = user.until_final(&first["assistant_message"]["id"]).await;
    pushing.until_waiting(&answer, 3000).await;
    end_quiet_hours(&pushing).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    pushing.until_done().await;
    assert_eq!(pushing.decision(&answer).await, "pushed");
}

/// Nothing was sent before they began: the service took nothing.
#[tokio::test]
async fn a_push_that_waits_for_its_service_waits_for_quiet_hours_too() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    pushing
        .fcm
        .answer_next("phone", [fcm_error(503, "UNAVAILABLE", "", &[])]);
    let answer = pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    pushing.until_snoozed(&answer).await;
    make_quiet(&user).await;
    pushing
        .sql("UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push' AND status IN ('Pending', 'Failed')")
        .await;
    pushing.until_waiting(&answer, 3000).await;
    assert_eq!(pushing.fcm.sends().len(), 1);
    end_quiet_hours(&pushing).await;
    pushing.fcm.wait_for_sends_to("phone", 2).await;
    pushing.until_done().await;
}
