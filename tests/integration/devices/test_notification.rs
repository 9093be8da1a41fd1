//! Trying out pushes.

use cura_tests::fcm_server::fcm_error;
use cura_tests::{Cura, HttpAnswer, PushService, eventually};
use serde_json::{Value, json};

use super::{Pushing, register};

#[tokio::test]
async fn a_test_tells_what_came_of_it_on_each_device() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    let phone = register(&user, "phone").await.body["id"].clone();
    let gone = register(&user, "gone").await.body["id"].clone();
    pushing
        .fcm
        .answer_always("gone", fcm_error(404, "UNREGISTERED", "", &[]));
    let mut feed = user.watch(None).await;
    assert!(feed.wait_for_cursor().await);
    let accepted = user.post("/devices/test-notification", &Value::Null).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let events = feed.until("push").await;
    let event = &events.last().unwrap().data;
    assert_eq!(event["push_id"], accepted.body["push_id"]);
    assert_eq!(
        event["devices"],
        json!([
            { "device_id": phone, "outcome": "sent", "code": "sent" },
            { "device_id": gone, "outcome": "gone", "code": "unregistered" },
        ])
    );
    let sent = pushing.fcm.sends_to("phone");
    assert_eq!(sent[0].message["data"]["type"], "test");
}

#[tokio::test]
async fn a_test_leaves_the_number_on_an_app_as_it_is() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    user.post("/devices/test-notification", &Value::Null).await;
    let sends = pushing.fcm.wait_for_sends_to("phone", 2).await;
    let of_answer = &sends[0].message;
    assert_eq!(of_answer["data"]["badge"], "1");
    assert_eq!(sends[1].message["data"]["type"], "test");
    assert_eq!(sends[1].message["data"]["badge"], "1");
    assert_eq!(
        sends[1].message["apns"]["payload"]["aps"]["badge"],
        of_answer["apns"]["payload"]["aps"]["badge"]
    );
}

/// Nothing is claimed where there is no access token, and the event says that, too.
#[tokio::test]
async fn a_test_tells_of_devices_whose_service_took_nothing() {
    let service = PushService::start().await;
    let pushing = Pushing::start_with(|cura| cura.with_push_service(&service)).await;
    let user = pushing.cura.user().await;
    let phone = register(&user, "phone").await.body["id"].clone();
    let browser = service.subscribe();
    let body = json!({ "subscription": browser.to_json(), "platform": "web" });
    let browser = user.post("/devices/register", &body).await.body["id"].clone();
    let refusal = json!({ "error": "invalid_grant" });
    pushing.fcm.answer_token_requests(Some(HttpAnswer::json(400, &refusal)));
    let mut feed = user.watch(None).await;
    assert!(feed.wait_for_cursor().await);
    user.post("/devices/test-notification", &Value::Null).await;
    // Its pauses are 15 s each.
    for waits in [
        "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-test-push' AND attempts = 1 AND run_at > now()",
        "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-test-push' AND attempts = 2 AND run_at > now()",
    ] {
        eventually("the test waits", async || {
            (pushing.cura.database.count(waits).await == 1).then_some(())
        })
        .await;
        pushing
            .sql("UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-test-push'")
            .await;
    }
    let events = feed.until("push").await;
    assert_eq!(
        events.last().unwrap().data["devices"],
        json!([
            { "device_id": phone, "outcome": "kept", "code": "service_unavailable" },
            { "device_id": browser, "outcome": "sent", "code": "sent" },
        ])
    );
    assert!(pushing.fcm.sends().is_empty());
    assert_eq!(service.pushes().len(), 1, "once");
}

/// Nobody who tries out pushes waits for an hour.
#[tokio::test]
async fn a_service_that_asks_for_more_than_a_moment_ends_the_test() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    let phone = register(&user, "phone").await.body["id"].clone();
    let later = fcm_error(503, "UNAVAILABLE", "", &[]).with("Retry-After", "3600");
    pushing.fcm.answer_always("phone", later);
    let mut feed = user.watch(None).await;
    assert!(feed.wait_for_cursor().await);
    user.post("/devices/test-notification", &Value::Null).await;
    let events = feed.until("push").await;
    let told = json!([{ "device_id": phone, "outcome": "retry", "code": "unavailable" }]);
    assert_eq!(events.last().unwrap().data["devices"], told);
    assert_eq!(pushing.fcm.sends().len(), 1);
}

#[tokio::test]
async fn without_devices_a_test_says_so() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    let mut feed = user.watch(None).await;
    assert!(feed.wait_for_cursor().await);
    user.post("/devices/test-notification", &Value::Null).await;
    let events = feed.until("push").await;
    assert_eq!(events.last().unwrap().data["devices"], json!([]));
}

#[tokio::test]
async fn a_person_tries_five_times_a_minute() {
    let cura = Cura::builder()
        .workers(0)
        .with("RATE_LIMIT_DEFAULT", "100")
        .start()
        .await;
    let user = cura.user().await;
    for _ in 0..5 {
        assert_eq!(user.post("/devices/test-notification", &Value::Null).await.status, 202);
    }
    let refused = user.post("/devices/test-notification", &Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate_limited"));
    assert_eq!(user.get("/devices").await.status, 200);
}
