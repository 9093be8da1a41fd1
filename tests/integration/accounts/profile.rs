//! The profile: name, language, time zone, preferences, usage.

use cura_tests::{Client, Cura, Reply, ScriptedProvider};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// The number of this day, UTC.
fn today() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs() / (24 * 60 * 60)
}

async fn patch(client: &Client, body: Value) -> Reply {
    client
        .send(client.request(Method::PATCH, "/users/me").json(&body))
        .await
}

#[tokio::test]
async fn only_what_is_said_changes() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let changed = patch(
        &ann,
        json!({ "name": " Ann ", "timezone": "Europe/Berlin", "language": "pt-br" }),
    )
    .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let me = ann.get("/users/me").await.body;
    assert_eq!(me, changed.body);
    assert_eq!(
        (&me["name"], &me["timezone"], &me["language"]),
        (&json!("Ann"), &json!("Europe/Berlin"), &json!("pt-BR"))
    );
    assert_eq!(patch(&ann, json!({})).await.body, me);
    let unnamed = patch(&ann, json!({ "name": null, "timezone": null })).await.body;
    assert_eq!(
        (&unnamed["name"], &unnamed["timezone"]),
        (&Value::Null, &json!("Europe/Berlin"))
    );
}

#[tokio::test]
async fn preferences_are_merged_and_bounded() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let merge = async |preferences: Value| patch(&ann, json!({ "preferences": preferences })).await;
    merge(json!({ "theme": "dark", "notifications": { "push": false }, "mine": { "a": 1 } })).await;
    let merged = merge(json!({ "theme": null, "notifications": { "private": true }, "mine": { "b": 2 } })).await;
    assert_eq!(
        merged.body["preferences"],
        json!({ "notifications": { "push": false, "private": true }, "mine": { "a": 1, "b": 2 } })
    );
    for (bad, pointer) in [
        (json!([]), "/preferences"),
        (json!("dark"), "/preferences"),
        (
            json!({ "notifications": { "push": "yes" } }),
            "/preferences/notifications/push",
        ),
        (json!({ "x": "x".repeat(17_000) }), "/preferences"),
        (
            json!({ "a": { "b": { "c": { "d": { "e": { "f": { "g": { "h": {} } } } } } } } }),
            "/preferences",
        ),
    ] {
        let refused = merge(bad).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer);
    }
    assert_eq!(
        ann.get("/users/me").await.body["preferences"],
        merged.body["preferences"]
    );
}

#[tokio::test]
async fn two_devices_that_change_preferences_at_once_both_succeed() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let changes = (0..20).map(|n| {
        let ann = ann.clone();
        async move {
            patch(&ann, json!({ "preferences": { format!("key{n}"): n } }))
                .await
                .status
        }
    });
    assert!(
        futures_util::future::join_all(changes)
            .await
            .iter()
            .all(|status| *status == 200)
    );
    let kept = ann.get("/users/me").await.body["preferences"]
        .as_object()
        .unwrap()
        .len();
    assert_eq!(kept, 20);
}

#[tokio::test]
async fn unknown_zones_languages_and_what_only_cura_sets_are_named_all_at_once() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let refused = patch(
        &ann,
        json!({ "timezone": "Mars/Olympus", "language": "klingonisch", "name": "a\nb" }),
    )
    .await;
    let pointers: Vec<&str> = refused.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        (refused.status.as_u16(), pointers),
        (422, vec!["/language", "/name", "/timezone"])
    );
    for field in [
        "email",
        "avatar_url",
        "is_admin",
        "id",
        "created_at",
        "last_seen",
        "role",
    ] {
        assert_eq!(patch(&ann, json!({ field: null })).await.status, 422, "{field}");
        let refused = patch(&ann, json!({ field: "x" })).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["errors"][0]["code"]),
            (422, &json!("not_allowed")),
            "{field}"
        );
    }
    assert_eq!(patch(&ann, json!({ "favourite_colour": "blue" })).await.status, 200);
}

#[tokio::test]
async fn last_seen_moves_once_a_minute() {
    let cura = Cura::builder().workers(0).servers(2).start().await;
    let ann = cura.user().await;
    let seen = async |client: &Client| client.get("/users/me").await.body["last_seen"].clone();
    let first = seen(&ann).await;
    assert_eq!(seen(&ann).await, first, "reading does not write every time");
    sqlx::query("UPDATE users SET last_seen = last_seen - interval '2 minutes'")
        .execute(cura.database.pool())
        .await
        .unwrap();
    // The first server remembers that it has just seen the user.
    let later = seen(&ann.at(&cura.servers[1].base)).await;
    assert!(later.as_str() >= first.as_str(), "{later} {first}");
}

#[tokio::test]
async fn usage_is_counted_by_day_and_model_and_outlives_what_it_was_counted_from() {
    let provider = ScriptedProvider::answering(&["Hello", " there"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let begun = today();
    let mut conversation = Value::Null;
    for _ in 0..2 {
        let sent = ann.post("/chat/send", &json!({ "content": "Hi" })).await;
        conversation = sent.body["conversation_id"].clone();
    }
    let old = "INSERT INTO usage_days SELECT user_id, day - 40, 'older', 1, 1, 1 FROM usage_days LIMIT 1";
    sqlx::query(old).execute(cura.database.pool()).await.unwrap();
    let delete = ann.request(Method::DELETE, &format!("/conversations/{conversation}"));
    assert_eq!(ann.send(delete).await.status, 204);
    let used = ann.get("/users/me/usage").await.body;
    let items = used["items"].as_array().unwrap();
    // One, unless it has been midnight meanwhile.
    let most = if today() == begun { 1 } else { 2 };
    assert!((1..=most).contains(&items.len()), "{used}");
    let sum = |field: &str| items.iter().map(|item| item[field].as_i64().unwrap()).sum::<i64>();
    assert!(items.iter().all(|item| item["model"] == "scripted"), "{used}");
    assert_eq!((sum("messages"), sum("total_tokens")), (2, 18));
    assert_eq!(
        used["total"],
        json!({ "messages": 2, "input_tokens": 14, "output_tokens": 4, "total_tokens": 18 })
    );
    assert_eq!(ann.get("/users/me/usage?days=366").await.body["total"]["messages"], 3);
    for bad in ["0", "367", "-1", "many"] {
        assert_eq!(
            ann.get(&format!("/users/me/usage?days={bad}")).await.status,
            422,
            "{bad}"
        );
    }
}
