//! `SECRET_KEY` is replaced: with the previous key still set nobody is signed out, and what is given out then is of the new key.

use cura_tests::{Client, Cura};
use reqwest::Method;
use serde_json::{Value, json};

const OLD: &str = "old-0123456789abcdef0123456789abcdef";
const NEW: &str = "new-0123456789abcdef0123456789abcdef";

/// What a user holds.
struct Held {
    access: Value,
    refresh: Value,
    stream: String,
    ticket: String,
}

async fn sign_in(client: &Client, email: &str) -> Held {
    let body = json!({ "email": email, "password": "a long password" });
    let made = client.post("/auth/register", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let user = client.with_token(&made.body["access_token"]);
    let issued = async |kind: &str, name: &str| {
        let issued = user.post("/auth/ticket", &json!({ "kind": kind })).await;
        issued.body[name].as_str().unwrap().to_owned()
    };
    Held {
        access: made.body["access_token"].clone(),
        refresh: made.body["refresh_token"].clone(),
        stream: issued("stream", "stream_token").await,
        ticket: issued("socket", "ticket").await,
    }
}

/// The statuses of a request with the access token, and of streams with the stream token and the ticket.
async fn statuses(client: &Client, held: &Held) -> [u16; 3] {
    let open = async |path: String| match client.events(client.request(Method::GET, &path)).await {
        Ok(_) => 200,
        Err(refused) => refused.status.as_u16(),
    };
    [
        client.with_token(&held.access).get("/users/me").await.status.as_u16(),
        open(format!("/events?stream_token={}", held.stream)).await,
        open(format!("/events?ticket={}", held.ticket)).await,
    ]
}

async fn refresh(client: &Client, token: &Value) -> (u16, Value) {
    let reply = client.post("/auth/refresh", &json!({ "refresh_token": token })).await;
    (reply.status.as_u16(), reply.body)
}

fn keys(current: &str, previous: &str) -> [(&'static str, String); 2] {
    [
        ("SECRET_KEY", current.to_owned()),
        ("SECRET_KEY_PREVIOUS", previous.to_owned()),
    ]
}

#[tokio::test]
async fn nobody_is_signed_out_while_the_previous_key_is_set() {
    let mut cura = Cura::builder().workers(0).with("SECRET_KEY", OLD).start().await;
    let held = sign_in(&cura.client(), "ann@example.com").await;
    cura.add_server_with(&keys(NEW, OLD)).await;
    cura.add_server_with(&keys(NEW, "")).await;
    let [both, only_new] = [1, 2].map(|n| cura.client().at(&cura.servers[n].base));

    assert_eq!(
        statuses(&only_new, &held).await,
        [401; 3],
        "nobody knows the old key there"
    );
    assert_eq!(refresh(&only_new, &held.refresh).await.0, 401);
    assert_eq!(statuses(&both, &held).await, [200; 3]);

    let (status, renewed) = refresh(&both, &held.refresh).await;
    assert_eq!(status, 200, "{renewed}");
    // The response was lost: the same token leads to the same successor, which is of the new key as well.
    let (status, again) = refresh(&both, &held.refresh).await;
    assert_eq!((status, &again["refresh_token"]), (200, &renewed["refresh_token"]));
    let user = only_new.with_token(&renewed["access_token"]);
    assert_eq!(user.get("/users/me").await.status, 200, "of the new key");
    let (status, next) = refresh(&only_new, &renewed["refresh_token"]).await;
    assert_eq!(status, 200, "{next}");
}

#[tokio::test]
async fn servers_that_have_the_two_keys_swapped_accept_each_others_tokens() {
    let mut cura = Cura::builder().workers(0).with("SECRET_KEY", OLD).start().await;
    cura.add_server_with(&keys(OLD, NEW)).await;
    cura.add_server_with(&keys(NEW, OLD)).await;
    let [before, after] = [1, 2].map(|n| cura.client().at(&cura.servers[n].base));
    for (n, (made_at, used_at)) in [(&before, &after), (&after, &before)].into_iter().enumerate() {
        let held = sign_in(made_at, &format!("user{n}@example.com")).await;
        assert_eq!(statuses(used_at, &held).await, [200; 3]);
        let (status, renewed) = refresh(used_at, &held.refresh).await;
        assert_eq!(status, 200, "{renewed}");
        let (status, renewed) = refresh(made_at, &renewed["refresh_token"]).await;
        assert_eq!(status, 200, "{renewed}");
    }
}

#[tokio::test]
async fn a_token_of_a_key_that_was_never_set_is_refused() {
    let mut cura = Cura::builder().workers(0).with("SECRET_KEY", OLD).start().await;
    cura.add_server_with(&keys(NEW, "someone-0123456789abcdef0123456789"))
        .await;
    let held = sign_in(&cura.client(), "ann@example.com").await;
    let other = cura.client().at(&cura.servers[1].base);
    assert_eq!(statuses(&other, &held).await, [401; 3]);
    assert_eq!(refresh(&other, &held.refresh).await.0, 401);
}
