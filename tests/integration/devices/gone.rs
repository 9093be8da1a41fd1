//! Whoever is signed out is not pushed to any more, however that came about.

use cura_tests::{Client, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Pushing, register};
use crate::accounts::sessions::{PASSWORD, sign_in};

const ANN: &str = "ann@example.com";

/// Ann's laptop, at which she asks, and her phone, which is signed in by the token.
async fn ann(pushing: &Pushing) -> (Client, Client, Value) {
    let laptop = pushing.cura.client().register(ANN).await;
    let (phone, token) = sign_in(&pushing.cura.client(), ANN, "phone").await;
    assert_eq!(register(&phone, "phone").await.status, 201);
    (laptop, phone, token)
}

/// An answer has ended, and its push waits for the second look.
async fn ended(pushing: &Pushing, laptop: &Client) {
    let answer = laptop.ask("Hi").await;
    pushing.latch.open();
    eventually("the push waits", async || {
        let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push'";
        (pushing.cura.database.count(jobs).await == 1).then_some(())
    })
    .await;
    assert!(answer.is_i64());
}

#[tokio::test]
async fn a_logout_ends_pushes() {
    let pushing = Pushing::start().await;
    let (laptop, phone, token) = ann(&pushing).await;
    ended(&pushing, &laptop).await;
    phone.post("/auth/logout", &json!({ "refresh_token": token })).await;
    pushing.until_done().await;
    assert!(pushing.fcm.sends().is_empty());
    let decided = "SELECT count(*) FROM pushes WHERE decision = 'no_device'";
    assert_eq!(pushing.cura.database.count(decided).await, 1);
}

#[tokio::test]
async fn a_revocation_ends_pushes() {
    let pushing = Pushing::start().await;
    let (laptop, _phone, _) = ann(&pushing).await;
    ended(&pushing, &laptop).await;
    let sessions = laptop.get("/auth/sessions").await.body;
    let other = sessions["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|session| session["current"] == false)
        .unwrap();
    let revoke = laptop.request(Method::DELETE, &format!("/auth/sessions/{}", other["id"]));
    assert_eq!(laptop.send(revoke).await.status, 204);
    pushing.until_done().await;
    assert!(pushing.fcm.sends().is_empty());
}

#[tokio::test]
async fn a_new_password_a_suspension_and_an_erasure_end_pushes() {
    for ends in ["password", "suspension", "erasure", "expiry"] {
        let pushing = Pushing::start().await;
        let (laptop, _phone, _) = ann(&pushing).await;
        ended(&pushing, &laptop).await;
        match ends {
            "password" => {
                let change = json!({ "current_password": PASSWORD, "new_password": "another long password" });
                assert_eq!(laptop.post("/auth/password", &change).await.status, 200);
            }
            "suspension" => pushing.sql("UPDATE users SET suspended_at = now()").await,
            "expiry" => pushing.sql("UPDATE sessions SET expires_at = now()").await,
            _ => {
                let erase = laptop
                    .request(Method::DELETE, "/users/me")
                    .json(&json!({ "password": PASSWORD }));
                assert_eq!(laptop.send(erase).await.status, 204);
            }
        }
        pushing.until_done().await;
        assert!(pushing.fcm.sends().is_empty(), "{ends}");
    }
}

/// The token was sent to once; what waits to be sent to it again is not.
#[tokio::test]
async fn a_token_that_moves_to_another_account_gets_nothing_of_the_old_one() {
    let pushing = Pushing::start().await;
    let (laptop, _phone, _) = ann(&pushing).await;
    let bob = pushing.cura.client().register("bob@example.com").await;
    ended(&pushing, &laptop).await;
    assert_eq!(register(&bob, "phone").await.status, 201);
    pushing.until_done().await;
    assert!(pushing.fcm.sends().is_empty());
    bob.until_final(&bob.ask("Hi").await).await;
    let sent = pushing.fcm.wait_for_sends_to("phone", 1).await;
    assert_eq!(sent[0].message["data"]["badge"], "1");
}
