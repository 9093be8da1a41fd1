//! What phones show of a conversation goes when it is read elsewhere.

use chrono::Utc;
use cura_domain::push_endpoint::PushHosts;
use cura_domain::{ConversationId, DeviceId, MessageId, UserId};
use cura_store::pushes::{self, ClaimFor};
use cura_tests::fcm_server::fcm_error;
use cura_tests::http_server::HttpAnswer;
use cura_tests::provider::Latch;
use cura_tests::{Client, eventually};
use serde_json::{Value, json};

use super::{Pushing, register};

async fn read(user: &Client, answer: &Value) {
    let path = format!("/conversations/{}/read", answer["conversation_id"]);
    let reply = user.post(&path, &json!({ "message_id": answer["id"] })).await;
    assert_eq!(reply.status, 204);
}

#[tokio::test]
async fn a_read_takes_the_banner_away_and_only_where_there_is_one() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "android").await;
    user.post(
        "/devices/register",
        &json!({ "fcm_token": "iphone", "platform": "ios" }),
    )
    .await;
    user.post(
        "/devices/register",
        &json!({ "fcm_token": "browser", "platform": "web" }),
    )
    .await;
    let answer = pushing.ask(&user).await;
    pushing.until_done().await;
    register(&user, "later").await;
    let other = pushing.ask(&user).await;
    let banners = pushing.fcm.wait_for_sends_to("android", 2).await;
    assert_eq!(banners[1].message["data"]["badge"], "2");
    pushing.until_done().await;
    read(&user, &answer).await;
    let sent = pushing.fcm.wait_for_sends_to("android", 3).await;
    let message = &sent[2].message;
    assert_eq!(
        (&message["data"]["type"], &message["data"]["badge"]),
        (&json!("read"), &json!("1"))
    );
    assert_eq!(
        (&message["notification"], &message["android"]["notification"]),
        (&Value::Null, &Value::Null)
    );
    let sent = pushing.fcm.wait_for_sends_to("iphone", 3).await;
    assert_eq!(
        sent[2].message["apns"]["payload"]["aps"],
        json!({ "content-available": 1 })
    );
    assert_eq!(sent[2].message["apns"]["headers"]["apns-push-type"], "background");
    pushing.until_done().await;
    // A browser shows something for every push; a phone without the banner has nothing to take away.
    assert_eq!(pushing.fcm.sends_to("browser").len(), 2);
    assert_eq!(pushing.fcm.sends_to("later").len(), 1);
    // Read twice, and what nobody was shown.
    read(&user, &answer).await;
    pushing.until_done().await;
    assert_eq!(pushing.fcm.sends().len(), 9);
    read(&user, &other).await;
    pushing.fcm.wait_for_sends_to("later", 2).await;
}

#[tokio::test]
async fn apple_devices_get_three_silent_pushes_an_hour() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    user.post(
        "/devices/register",
        &json!({ "fcm_token": "iphone", "platform": "ios" }),
    )
    .await;
    for _ in 0..4 {
        let answer = pushing.ask(&user).await;
        pushing.until_done().await;
        read(&user, &answer).await;
        pushing.until_done().await;
    }
    assert_eq!(pushing.fcm.sends_to("iphone").len(), 7);
}

/// What takes it away must not overtake it.
#[tokio::test]
async fn a_banner_that_is_read_while_it_is_sent_goes_after_it_has_come() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let latch = Latch::default();
    let taken = HttpAnswer::json(200, &json!({ "name": "projects/x/messages/1" }));
    pushing.fcm.answer_next("phone", [taken.after(&latch)]);
    let answer = pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    read(&user, &answer).await;
    let waits = "SELECT count(*) FROM apalis.jobs
                 WHERE job_type = 'dismiss-push' AND status = 'Pending' AND last_result IS NOT NULL";
    eventually("it waits for the banner", async || {
        (pushing.cura.database.count(waits).await == 1).then_some(())
    })
    .await;
    assert_eq!(pushing.fcm.sends_to("phone").len(), 1);
    latch.open();
    let sent = pushing.fcm.wait_for_sends_to("phone", 2).await;
    assert_eq!(sent[1].message["data"]["type"], "read");
}

/// Firebase answers 503 for pushes that it delivered.
#[tokio::test]
async fn a_banner_that_may_have_come_goes_and_does_not_come_again() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    pushing
        .fcm
        .answer_next("phone", [fcm_error(503, "UNAVAILABLE", "", &[])]);
    let answer = pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    let recorded = "SELECT count(*) FROM push_sends WHERE outcome = 'retry'";
    eventually("it is to be sent again", async || {
        (pushing.cura.database.count(recorded).await == 1).then_some(())
    })
    .await;
    read(&user, &answer).await;
    pushing.until_done().await;
    let sent = pushing.fcm.sends_to("phone");
    let types: Vec<&Value> = sent.iter().map(|send| &send.message["data"]["type"]).collect();
    assert_eq!(types, ["answer", "read"]);
}

/// Between the decision and the claim, which may be seconds: a service may have to be waited for.
#[tokio::test]
async fn what_is_read_or_would_replace_something_newer_is_not_claimed() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let older = pushing.ask(&user).await;
    pushing.until_done().await;
    let pool = pushing.cura.database.pool();
    let (push, owner): (i64, i64) = sqlx::query_as("SELECT id, user_id FROM pushes")
        .fetch_one(pool)
        .await
        .unwrap();
    let device: i64 = sqlx::query_scalar("SELECT id FROM devices")
        .fetch_one(pool)
        .await
        .unwrap();
    let of = ClaimFor {
        push,
        user: UserId(owner),
        conversation: older["conversation_id"].as_i64().map(ConversationId),
        shows: older["id"].as_i64().map(MessageId),
    };
    let claim = async |of: &ClaimFor| {
        pushing
            .sql("DELETE FROM push_sends WHERE push_id = (SELECT min(id) FROM pushes)")
            .await;
        let mut connection = pool.acquire().await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "the program reads this clock, too")]
        let now = Utc::now();
        let hosts = PushHosts::parse("").unwrap();
        pushes::claim(&mut connection, of, &[DeviceId(device)], &hosts, now)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(claim(&of).await, 1);
    let next = json!({ "conversation_id": older["conversation_id"], "content": "two" });
    let newer = user.send_without_waiting(&next).await.body["assistant_message"]["id"].clone();
    let newer = user.until_final(&newer).await;
    pushing.fcm.wait_for_sends_to("phone", 2).await;
    assert_eq!(claim(&of).await, 0, "the phone shows a newer one");
    pushing.sql("DELETE FROM push_sends").await;
    assert_eq!(claim(&of).await, 1);
    read(&user, &older).await;
    assert_eq!(claim(&of).await, 0, "it is read");
    assert!(newer["id"].as_i64() > older["id"].as_i64());
}
