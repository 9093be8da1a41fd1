//! Quiet hours postpone pushes; at their end only the newest unread answer of each conversation is pushed.

use chrono::{Timelike, Utc};
use reqwest::Method;
use serde_json::json;

use super::{Pushing, register};

#[tokio::test]
async fn at_the_end_of_quiet_hours_the_newest_of_each_conversation_is_pushed() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    #[expect(clippy::disallowed_methods, reason = "the program reads this clock, too")]
    let hour = Utc::now().hour();
    let quiet = json!({ "start": format!("{:02}:00", (hour + 22) % 24), "end": format!("{:02}:59", (hour + 3) % 24) });
    let quiet = json!({ "timezone": "UTC", "preferences": { "notifications": { "quiet_hours": quiet } } });
    let changed = user.send(user.request(Method::PATCH, "/users/me").json(&quiet)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
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
    // They end.
    pushing
        .sql("UPDATE users SET preferences = '{\"notifications\": {}}'")
        .await;
    pushing.sql("UPDATE pushes SET quiet_until = now()").await;
    pushing
        .sql("UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push'")
        .await;
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
