//! Devices, and what is pushed to them.

mod prune;
mod register;
mod sessions;

use cura_tests::{Client, Reply};
use reqwest::Method;
use serde_json::{Value, json};

/// Registers a phone with this token.
pub(super) async fn register(client: &Client, token: &str) -> Reply {
    let phone = json!({ "fcm_token": token, "platform": "android", "device_name": "phone" });
    client.post("/devices/register", &phone).await
}

/// The devices of a user, the one seen last first.
pub(super) async fn devices(client: &Client) -> Vec<Value> {
    let listed = client.get("/devices").await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    listed.body["items"].as_array().unwrap().clone()
}

pub(super) async fn remove(client: &Client, device: &Value) -> Reply {
    client
        .send(client.request(Method::DELETE, &format!("/devices/{device}")))
        .await
}
