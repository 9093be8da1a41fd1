//! What a push service says about a device costs that device, and no other.

use cura_tests::HttpAnswer;
use cura_tests::PushService;
use cura_tests::fcm_server::{fcm_error, google_error, html, violation};
use cura_tests::{Cura, eventually};
use serde_json::json;

use super::{Pushing, devices, register};

#[tokio::test]
async fn a_device_that_is_gone_is_removed_and_the_others_are_served() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    for name in ["gone", "sold", "apple", "there"] {
        register(&user, name).await;
    }
    pushing
        .fcm
        .answer_always("gone", fcm_error(404, "UNREGISTERED", "", &[]));
    pushing
        .fcm
        .answer_always("sold", fcm_error(403, "SENDER_ID_MISMATCH", "", &[]));
    pushing
        .fcm
        .answer_always("apple", fcm_error(401, "THIRD_PARTY_AUTH_ERROR", "", &[]));
    pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("there", 1).await;
    pushing.until_done().await;
    let left = devices(&user).await;
    let active: Vec<_> = left.iter().map(|device| device["is_active"] == true).collect();
    assert_eq!(active, [true, true, false], "{left:?}");
    let pushed = pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("there", 2).await;
    assert_eq!(pushing.decision(&pushed).await, "pushed");
    pushing.until_done().await;
    assert_eq!(
        (pushing.fcm.sends_to("gone").len(), pushing.fcm.sends_to("sold").len()),
        (1, 1)
    );
    assert_eq!(pushing.fcm.sends_to("apple").len(), 2, "it is kept");
    // Whoever registers again is back.
    assert_eq!(register(&user, "gone").await.status, 200);
    assert_eq!(devices(&user).await.len(), 4);
}

/// Whether Firebase says so or Google before it, and names a field or, as for what is too large, nothing at all.
#[tokio::test]
async fn what_is_wrong_with_a_push_costs_no_device_and_is_an_alert() {
    let field = "message.data[0].value";
    for refused in [
        fcm_error(400, "INVALID_ARGUMENT", "", &[violation(field)]),
        google_error(
            "INVALID_ARGUMENT",
            "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
            &[violation(field)],
        ),
        google_error("INVALID_ARGUMENT", "Request contains an invalid argument.", &[]),
    ] {
        let pushing = Pushing::answering().await;
        let user = pushing.cura.user().await;
        register(&user, "strict").await;
        register(&user, "there").await;
        pushing.fcm.answer_always("strict", refused.clone());
        pushing.ask(&user).await;
        pushing.fcm.wait_for_sends_to("there", 1).await;
        let dead = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push' AND status = 'Killed'";
        eventually("the job is dead", async || {
            (pushing.cura.database.count(dead).await == 1).then_some(())
        })
        .await;
        assert_eq!(devices(&user).await.len(), 2, "{refused:?}");
        let logs = pushing.cura.logs();
        assert!(logs.contains("a push service refused a push as wrong"), "{refused:?}");
        // Everybody else is pushed to as before.
        let other = pushing.cura.client().register("other@example.com").await;
        register(&other, "theirs").await;
        pushing.ask(&other).await;
        pushing.fcm.wait_for_sends_to("theirs", 1).await;
        assert_eq!(other.get("/health").await.body["push"]["fcm"], "up", "{refused:?}");
    }
}

/// What is wrong is wrong for everybody: an operator is told once.
#[tokio::test]
async fn pushes_that_are_wrong_for_many_devices_are_one_alert() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    for name in ["one", "two", "three"] {
        register(&user, name).await;
        let refused = google_error("INVALID_ARGUMENT", "Request contains an invalid argument.", &[]);
        pushing.fcm.answer_always(name, refused);
    }
    for times in 1..=2 {
        pushing.ask(&user).await;
        for name in ["one", "two", "three"] {
            pushing.fcm.wait_for_sends_to(name, times).await;
        }
    }
    pushing.until_done().await;
    let failed = "SELECT count(*) FROM push_sends WHERE outcome = 'failed'";
    assert_eq!(pushing.cura.database.count(failed).await, 6);
    let logs = pushing.cura.logs();
    assert_eq!(
        logs.matches("a push service refused a push as wrong").count(),
        1,
        "{logs}"
    );
}

#[tokio::test]
async fn when_too_many_devices_would_go_at_once_none_goes() {
    let pushing = Pushing::answering().await;
    let mut people = Vec::new();
    for n in 0..3 {
        let person = pushing.cura.client().register(&format!("person{n}@example.com")).await;
        for device in 0..20 {
            let token = format!("device-{n}-{device}");
            register(&person, &token).await;
            pushing
                .fcm
                .answer_always(&token, fcm_error(404, "UNREGISTERED", "", &[]));
        }
        people.push(person);
    }
    for (person, left) in people.iter().zip([0, 0, 20]) {
        pushing.ask(person).await;
        pushing.until_done().await;
        assert_eq!(devices(person).await.len(), left);
    }
    assert_eq!(pushing.fcm.sends().len(), 60);
    for person in &people {
        assert_eq!(devices(person).await.len(), 20, "nobody lost one");
    }
    assert!(pushing.cura.logs().contains("too many devices would be lost at once"));
}

/// What is not Firebase's says nothing about devices: it is left alone, and an operator is told.
#[tokio::test]
async fn what_is_not_firebase_costs_no_device_and_is_seen_in_health() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let push = user.get("/health").await.body["push"].clone();
    assert_eq!(push, json!({ "status": "up", "fcm": "up", "web_push": "not_used" }));
    pushing.fcm.answer_always("phone", html(404));
    pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    eventually("an operator sees it", async || {
        let health = user.get("/health").await.body;
        (health["push"]["fcm"] == "down" && health["status"] == "degraded").then_some(())
    })
    .await;
    assert_eq!(devices(&user).await[0]["is_active"], true);
    assert!(pushing.cura.logs().contains("Firebase does not answer as it should"));
}

/// Google's endpoint for tokens hangs: nobody waits for it but the push.
#[tokio::test]
async fn answers_come_while_no_access_token_does() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    pushing.fcm.answer_token_requests(Some(HttpAnswer::Hang));
    for _ in 0..10 {
        pushing.ask(&user).await;
    }
    eventually("an operator sees it", async || {
        (user.get("/health").await.body["push"]["fcm"] == "down").then_some(())
    })
    .await;
    assert!(pushing.fcm.sends().is_empty());
    let claimed = "SELECT count(*) FROM push_sends";
    assert_eq!(
        pushing.cura.database.count(claimed).await,
        0,
        "nothing is claimed that cannot be sent"
    );
    pushing.fcm.answer_token_requests(None);
    pushing.fcm.wait_for_sends_to("phone", 10).await;
}

/// It hangs, and forty pushes for phones wait for it: those for browsers do not, and it is not asked again and again.
#[tokio::test]
async fn browsers_are_pushed_to_while_no_access_token_comes() {
    let service = PushService::start().await;
    let pushing = Pushing::start_with(|cura| cura.with_push_service(&service)).await;
    pushing.latch.open();
    pushing.fcm.answer_token_requests(Some(HttpAnswer::Hang));
    for person in 0..4 {
        let email = format!("person{person}@example.com");
        let user = pushing.cura.client().register(&email).await;
        register(&user, &format!("phone-{person}")).await;
        for _ in 0..10 {
            pushing.ask(&user).await;
        }
    }
    let (user, browser) = (pushing.cura.user().await, service.subscribe());
    let body = json!({ "subscription": browser.to_json(), "platform": "web" });
    assert_eq!(user.post("/devices/register", &body).await.status, 201);
    pushing.ask(&user).await;
    service.wait_for_pushes_of(&browser, 1).await;
    let asked = pushing.fcm.token_requests();
    assert!(asked <= 3, "asked {asked} times");
    assert!(pushing.fcm.sends().is_empty());
    pushing.fcm.answer_token_requests(None);
    for person in 0..4 {
        pushing.fcm.wait_for_sends_to(&format!("phone-{person}"), 10).await;
    }
}

#[tokio::test]
async fn a_browser_reads_its_push_and_a_subscription_that_is_gone_is_removed() {
    let service = PushService::start().await;
    let cura = Cura::builder()
        .with_push_service(&service)
        .with("APP_LINK", "https://app.example/c/{conversation_id}")
        .start()
        .await;
    let user = cura.user().await;
    let config = user.get("/devices/config").await.body;
    assert_eq!(config["web_push"]["public_key"], service.key().public_text());
    assert_eq!(config["fcm"], json!(null));
    let (there, gone) = (service.subscribe(), service.subscribe());
    for browser in [&there, &gone] {
        let body = json!({ "subscription": browser.to_json(), "platform": "web" });
        let made = user.post("/devices/register", &body).await;
        assert_eq!(
            (made.status.as_u16(), &made.body["kind"]),
            (201, &json!("webpush")),
            "{}",
            made.body
        );
    }
    service.unsubscribe(&gone);
    let answer = user.until_final(&user.ask("Hi").await).await;
    let pushes = service.wait_for_pushes_of(&there, 1).await;
    let read = pushes[0].plaintext.as_ref().unwrap();
    assert_eq!(read["data"]["message_id"], answer["id"].to_string());
    assert_eq!(
        read["link"],
        format!("https://app.example/c/{}", answer["conversation_id"])
    );
    eventually("the other is removed", async || {
        (devices(&user).await.len() == 1).then_some(())
    })
    .await;
    assert!(!cura.logs().contains("secret-"), "{}", cura.logs());
}
