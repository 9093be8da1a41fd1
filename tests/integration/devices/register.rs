//! Registering, listing and removing devices.

use cura_tests::Cura;
use cura_tests::problem::assert_problem;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{devices, register, remove};

/// The public key of the browser in RFC 8291, appendix A.
const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

/// A subscription of a browser at this address.
fn subscription(endpoint: &str) -> Value {
    let keys = json!({ "p256dh": P256DH, "auth": "A".repeat(22) });
    json!({ "endpoint": endpoint, "expirationTime": null, "keys": keys })
}

#[tokio::test]
async fn a_device_is_registered_listed_and_removed_and_never_shows_its_token() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let made = register(&user, "first-token").await;
    assert_eq!(made.status, 201, "{}", made.body);
    let device = &made.body;
    for (field, value) in [
        ("platform", json!("android")),
        ("kind", json!("fcm")),
        ("device_name", json!("phone")),
        ("is_active", json!(true)),
        ("current", json!(true)),
    ] {
        assert_eq!(device[field], value, "{field}");
    }
    let renamed = json!({ "fcm_token": "first-token", "platform": "ios", "device_name": "tablet" });
    let again = user.post("/devices/register", &renamed).await;
    assert_eq!((again.status.as_u16(), &again.body["id"]), (200, &device["id"]));
    assert_eq!(
        (&again.body["platform"], &again.body["device_name"]),
        (&json!("ios"), &json!("tablet"))
    );
    let browser = json!({ "subscription": subscription("https://web.push.apple.com/secret"), "platform": "web" });
    let browser = user.post("/devices/register", &browser).await;
    assert_eq!(
        (browser.status.as_u16(), &browser.body["kind"]),
        (201, &json!("webpush"))
    );
    let by_id = user
        .post(
            "/devices/register",
            &json!({ "fid": "fJ1c8mRkT0-dQw4_w9WgXc", "platform": "ios" }),
        )
        .await;
    assert_eq!((by_id.status.as_u16(), &by_id.body["kind"]), (201, &json!("fid")));
    let listed = devices(&user).await;
    assert_eq!(listed.len(), 3);
    let shown = Value::from(listed).to_string();
    assert!(
        !shown.contains("token") && !shown.contains("secret") && !shown.contains("fJ1c"),
        "{shown}"
    );
    assert_eq!(remove(&user, &device["id"]).await.status, 204);
    assert_problem(&remove(&user, &device["id"]).await, 404, "twice");
    assert_eq!(devices(&user).await.len(), 2);
    let config = user.get("/devices/config").await;
    assert_eq!(config.body, json!({ "fcm": null, "web_push": null }));
}

#[tokio::test]
async fn exactly_one_address_of_a_known_service_is_taken() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let good = "https://fcm.googleapis.com/fcm/send/x";
    let short_key = json!({ "endpoint": good, "keys": { "p256dh": "BAAA", "auth": "A".repeat(22) } });
    let short_secret = json!({ "endpoint": good, "keys": { "p256dh": P256DH, "auth": "AAAA" } });
    // Of the right form, and no points of the curve: nothing could ever be encrypted for them.
    let off_curve = |p256dh: String| {
        let keys = json!({ "p256dh": p256dh, "auth": "A".repeat(22) });
        json!({ "subscription": { "endpoint": good, "keys": keys } })
    };
    let (zero, near) = (format!("BA{}", "A".repeat(85)), P256DH.replace("Aiw4", "Aiw8"));
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "fcm_token": "a", "fid": "b" }), ""),
        (json!({ "fcm_token": "a", "subscription": subscription(good) }), ""),
        (json!({ "fcm_token": "" }), "/fcm_token"),
        (json!({ "fcm_token": "a b" }), "/fcm_token"),
        (json!({ "fcm_token": "x".repeat(4097) }), "/fcm_token"),
        (json!({ "fid": "a:b" }), "/fid"),
        (json!({ "subscription": short_key }), "/subscription/keys/p256dh"),
        (json!({ "subscription": short_secret }), "/subscription/keys/auth"),
        (off_curve(zero), "/subscription/keys/p256dh"),
        (off_curve(near), "/subscription/keys/p256dh"),
    ] {
        let mut body = body;
        body["platform"] = json!("web");
        let reply = user.post("/devices/register", &body).await;
        assert_problem(&reply, 422, pointer);
        assert_eq!(reply.body["errors"][0]["pointer"], pointer, "{}", reply.body);
    }
    for endpoint in [
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com@evil.example/x",
        "https://127.1/x",
        "https://[::ffff:7f00:1]/x",
        "https://evil.example/x",
    ] {
        let body = json!({ "subscription": subscription(endpoint), "platform": "web" });
        let reply = user.post("/devices/register", &body).await;
        assert_problem(&reply, 422, endpoint);
        assert_eq!(
            reply.body["errors"][0]["code"], "endpoint_not_allowed",
            "{}",
            reply.body
        );
    }
    assert!(devices(&user).await.is_empty());
}

#[tokio::test]
async fn twenty_registrations_at_once_make_one_device() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let replies = join_all((0..20).map(|_| register(&user, "same"))).await;
    let new = replies.iter().filter(|reply| reply.status == 201).count();
    let known = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!((new, known), (1, 19));
    assert_eq!(devices(&user).await.len(), 1);
}

#[tokio::test]
async fn the_device_unseen_longest_leaves_when_there_are_too_many() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for n in 0..20 {
        register(&user, &format!("token-{n}")).await;
    }
    let oldest = devices(&user).await.pop().unwrap();
    assert_eq!(register(&user, "one-more").await.status, 201);
    let left = devices(&user).await;
    assert!(left.len() == 20 && left.iter().all(|device| device["id"] != oldest["id"]));
}

#[tokio::test]
async fn a_token_that_moves_to_another_account_takes_nothing_along() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let bob = cura.client().register("bob@example.com").await;
    let anns = register(&ann, "shared").await.body;
    let bobs = register(&bob, "shared").await;
    assert_eq!(bobs.status, 201, "new for this account");
    assert_ne!(bobs.body["id"], anns["id"]);
    assert!(devices(&ann).await.is_empty());
    assert_eq!(devices(&bob).await.len(), 1);
    // Both at once: one of them has it.
    let (first, second) = futures_util::future::join(register(&ann, "raced"), register(&bob, "raced")).await;
    assert!(
        first.status.is_success() && second.status.is_success(),
        "{} {}",
        first.body,
        second.body
    );
    let there = cura.database.count("SELECT count(*) FROM devices").await;
    assert_eq!(there, 2);
}

#[tokio::test]
async fn a_new_token_takes_the_place_of_an_old_one() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let first = register(&user, "old").await.body;
    register(&user, "other").await;
    let replacing = |token: &str| json!({ "fcm_token": token, "platform": "android", "device_id": first["id"] });
    let replaced = user.post("/devices/register", &replacing("new")).await;
    assert_eq!((replaced.status.as_u16(), &replaced.body["id"]), (200, &first["id"]));
    assert_eq!(replaced.body["device_name"], Value::Null);
    // A token that another device of the user has goes over to this one.
    let merged = user.post("/devices/register", &replacing("other")).await;
    assert_eq!((merged.status.as_u16(), devices(&user).await.len()), (200, 1));
    let unknown = json!({ "fcm_token": "new", "platform": "android", "device_id": 999_999 });
    let unknown = user.post("/devices/register", &unknown).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "device_not_found"));
}
