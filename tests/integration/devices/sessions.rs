//! A device belongs to the session that registered it: however that ends, the device goes in the same moment.

use cura_tests::{Client, Cura};
use reqwest::Method;
use serde_json::{Value, json};

use super::{devices, register};
use crate::accounts::sessions::{PASSWORD, refresh, sign_in};

const ANN: &str = "ann@example.com";

async fn count(cura: &Cura) -> i64 {
    cura.database.count("SELECT count(*) FROM devices").await
}

/// Ann at her laptop, and her phone, which is registered.
async fn laptop_and_phone(cura: &Cura) -> (Client, Client, Value) {
    let laptop = cura.client().register(ANN).await;
    let (phone, token) = sign_in(&cura.client(), ANN, "phone").await;
    assert_eq!(register(&phone, "token").await.status, 201);
    (laptop, phone, token)
}

#[tokio::test]
async fn whatever_ends_a_session_takes_its_devices_along() {
    let cura = Cura::without_workers().await;
    let (laptop, phone, token) = laptop_and_phone(&cura).await;
    register(&laptop, "laptop").await;
    let seen = devices(&laptop).await;
    assert_eq!(
        (seen.len(), &seen[0]["current"], &seen[1]["current"]),
        (2, &json!(true), &json!(false))
    );
    phone.post("/auth/logout", &json!({ "refresh_token": token })).await;
    assert_eq!(count(&cura).await, 1, "logged out");

    let (phone, _) = sign_in(&cura.client(), ANN, "phone").await;
    register(&phone, "token").await;
    let sessions = phone.get("/auth/sessions").await.body;
    let current = sessions["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|session| session["current"] == true)
        .unwrap();
    let revoke = laptop.request(Method::DELETE, &format!("/auth/sessions/{}", current["id"]));
    assert_eq!(laptop.send(revoke).await.status, 204);
    assert_eq!(count(&cura).await, 1, "revoked");

    let (phone, _) = sign_in(&cura.client(), ANN, "phone").await;
    register(&phone, "token").await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another long password" });
    assert_eq!(laptop.post("/auth/password", &change).await.status, 200);
    assert_eq!(count(&cura).await, 1, "a new password spares the session that set it");

    register(&laptop, "again").await;
    sqlx::query("UPDATE sessions SET ended_at = now() WHERE ended_at IS NULL")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(count(&cura).await, 0, "by SQL");
}

#[tokio::test]
async fn a_suspended_or_erased_person_has_no_device() {
    let cura = Cura::without_workers().await;
    let (laptop, _phone, _) = laptop_and_phone(&cura).await;
    sqlx::query("UPDATE users SET suspended_at = now()")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(count(&cura).await, 0, "suspended");
    sqlx::query("UPDATE users SET suspended_at = NULL")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(register(&laptop, "token").await.status, 201);
    let erase = laptop
        .request(Method::DELETE, "/users/me")
        .json(&json!({ "password": PASSWORD }));
    assert_eq!(laptop.send(erase).await.status, 204);
    assert_eq!(count(&cura).await, 0, "erased, and no worker was needed for it");
}

#[tokio::test]
async fn a_registration_that_meets_the_end_of_its_session_leaves_nothing() {
    let cura = Cura::without_workers().await;
    let (_laptop, phone, _) = laptop_and_phone(&cura).await;
    let mut ending = cura.database.pool().begin().await.unwrap();
    sqlx::query("UPDATE sessions SET ended_at = now() WHERE device_name = 'phone'")
        .execute(&mut *ending)
        .await
        .unwrap();
    let registering = register(&phone, "late");
    let ended = async {
        cura.database.wait_for_lock_waiter().await;
        ending.commit().await.unwrap();
    };
    let (refused, ()) = futures_util::future::join(registering, ended).await;
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert_eq!(count(&cura).await, 0);
}

#[tokio::test]
async fn a_refresh_says_once_a_day_that_a_device_was_seen() {
    let cura = Cura::without_workers().await;
    let (_laptop, phone, token) = laptop_and_phone(&cura).await;
    let unseen = async || {
        let sql = "SELECT count(*) FROM devices WHERE last_active < now() - interval '1 hour'";
        cura.database.count(sql).await == 1
    };
    let long_ago = "UPDATE devices SET last_active = now() - interval '40 days', is_active = false,
                           inactive_since = now() - interval '10 days', inactive_reason = 'unseen'";
    sqlx::query(long_ago).execute(cura.database.pool()).await.unwrap();
    let refreshed = refresh(&phone, &token).await;
    assert_eq!(refreshed.status, 200);
    assert!(!unseen().await);
    let phone = phone.with_token(&refreshed.body["access_token"]);
    assert_eq!(devices(&phone).await[0]["is_active"], true, "it is back");
    let today = "UPDATE devices SET last_active = now() - interval '20 hours'";
    sqlx::query(today).execute(cura.database.pool()).await.unwrap();
    assert_eq!(refresh(&phone, &refreshed.body["refresh_token"]).await.status, 200);
    assert!(unseen().await, "not written again on the same day");
}
