//! What phones show of a conversation goes when it is read elsewhere.

use cura_tests::Client;
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
