//! Sessions: listed, ended one by one or all at once, and limited in number.

use std::time::Duration;

use cura_tests::{Client, Cura};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "a long password";

/// Signs in; gives the client and the refresh token.
pub(crate) async fn sign_in(client: &Client, email: &str, device: &str) -> (Client, Value) {
    let login = json!({ "email": email, "password": PASSWORD, "device_name": device });
    let signed_in = client.post("/auth/login", &login).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    (
        client.with_token(&signed_in.body["access_token"]),
        signed_in.body["refresh_token"].clone(),
    )
}

pub(crate) async fn refresh(client: &Client, token: &Value) -> cura_tests::Reply {
    client.post("/auth/refresh", &json!({ "refresh_token": token })).await
}

#[tokio::test]
async fn sessions_are_listed_and_each_can_be_ended() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let (phone, _) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let (laptop, _) = sign_in(&cura.client(), "ann@example.com", "laptop").await;
    let listed = phone.get("/auth/sessions").await;
    assert_eq!(listed.status, 200);
    let items = listed.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 3, "the registration, the phone and the laptop");
    let named = |name: &str| items.iter().find(|item| item["device_name"] == name).unwrap();
    assert_eq!(
        (&named("phone")["current"], &named("laptop")["current"]),
        (&json!(true), &json!(false))
    );
    let delete = async |client: &Client, id: &Value| {
        client
            .send(client.request(Method::DELETE, &format!("/auth/sessions/{id}")))
            .await
    };
    assert_eq!(delete(&phone, &named("laptop")["id"]).await.status, 204);
    assert_eq!(laptop.get("/users/me").await.status, 401);
    assert_eq!(phone.get("/users/me").await.status, 200);
    let again = delete(&phone, &named("laptop")["id"]).await;
    assert_eq!((again.status.as_u16(), again.code()), (404, "session_not_found"));
    let bob = cura.client().register("bob@example.com").await;
    assert_eq!(delete(&bob, &named("phone")["id"]).await.status, 404);
    assert_eq!(phone.get("/users/me").await.status, 200);
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_session() {
    let cura = Cura::without_workers().await;
    let first = cura.client().register("ann@example.com").await;
    let (second, token) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let bob = cura.client().register("bob@example.com").await;
    assert_eq!(second.post("/auth/logout-all", &Value::Null).await.status, 204);
    for signed_out in [&first, &second] {
        assert_eq!(signed_out.get("/users/me").await.status, 401);
    }
    assert_eq!(refresh(&second, &token).await.status, 401);
    assert_eq!(bob.get("/users/me").await.status, 200);
}

#[tokio::test]
async fn changing_the_password_ends_every_other_session() {
    let cura = Cura::without_workers().await;
    let first = cura.client().register("ann@example.com").await;
    let (second, _) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let change = async |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        second.post("/auth/password", &body).await
    };
    let wrong = change("not my password", "a new password").await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (403, "wrong_password"));
    let weak = change(PASSWORD, "iloveyou").await;
    assert_eq!((weak.status.as_u16(), weak.code()), (422, "validation_failed"));
    assert_eq!(weak.body["errors"][0]["pointer"], "/new_password");
    assert_eq!(first.get("/users/me").await.status, 200, "nothing has changed yet");
    let changed = change(PASSWORD, "a new password").await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(first.get("/users/me").await.status, 401);
    let second = second.with_token(&changed.body["access_token"]);
    assert_eq!(second.get("/users/me").await.status, 200);
    assert_eq!(refresh(&second, &changed.body["refresh_token"]).await.status, 200);
    let login = |password: &str| json!({ "email": "ann@example.com", "password": password });
    assert_eq!(cura.client().post("/auth/login", &login(PASSWORD)).await.status, 401);
    assert_eq!(
        cura.client().post("/auth/login", &login("a new password")).await.status,
        200
    );
}

/// Signs in with the right password while another transaction changes the account and commits.
async fn login_during(cura: &Cura, change: &'static str) -> cura_tests::Reply {
    let mut other = cura.database.pool().begin().await.unwrap();
    sqlx::query(change).execute(&mut *other).await.unwrap();
    let client = cura.client();
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let (reply, ()) = tokio::join!(client.post("/auth/login", &body), async {
        cura.database.wait_for_lock_waiter().await;
        other.commit().await.unwrap();
    });
    reply
}

#[tokio::test]
async fn a_login_that_began_before_the_password_was_changed_does_not_outlive_it() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let reply = login_during(
        &cura,
        "UPDATE users SET password_hash = replace(password_hash, 'm=8', 'm=16')",
    )
    .await;
    assert_eq!((reply.status.as_u16(), reply.code()), (401, "invalid_credentials"));
}

#[tokio::test]
async fn a_login_that_began_before_the_account_was_erased_or_suspended_does_not_outlive_it() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let reply = login_during(&cura, "UPDATE users SET suspended_at = now()").await;
    assert_eq!((reply.status.as_u16(), reply.code()), (403, "account_suspended"));
    sqlx::query("UPDATE users SET suspended_at = NULL")
        .execute(cura.database.pool())
        .await
        .unwrap();
    let reply = login_during(&cura, "UPDATE users SET erased_at = now(), email = 'erased:1'").await;
    assert_eq!((reply.status.as_u16(), reply.code()), (401, "invalid_credentials"));
}

#[tokio::test]
async fn a_body_that_takes_its_time_does_not_act_for_a_session_that_ended_meanwhile() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let address = cura.servers[0].base.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PATCH /users/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 8194\r\nconnection: close\r\n\r\n{{{}",
        ann.token.as_ref().unwrap(),
        // So much that it is not too slow.
        " ".repeat(8192)
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // Longer than a body is believed to be prompt, also when the head takes its time.
    tokio::time::sleep(Duration::from_secs(4)).await;
    ann.post("/auth/logout-all", &Value::Null).await;
    socket.write_all(b"}").await.unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
}

#[tokio::test]
async fn the_hundred_and_first_session_replaces_the_one_unused_longest() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let fill = "INSERT INTO sessions (user_id, seed, created_at, last_used_at, expires_at)
                SELECT 1, decode(md5(n::text), 'hex'), now(), now() - n * interval '1 minute', now() + interval '1 day'
                FROM generate_series(1, 120) n";
    sqlx::query(fill).execute(cura.database.pool()).await.unwrap();
    let (phone, _) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let listed = phone.get("/auth/sessions").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 100);
    assert!(
        listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["current"] == true)
    );
    assert_eq!(ann.get("/users/me").await.status, 200);
}

#[tokio::test]
async fn a_password_is_the_same_on_every_system() {
    let cura = Cura::without_workers().await;
    let body = json!({ "email": "ann@example.com", "password": "sch\u{f6}nes wetter" });
    assert_eq!(cura.client().post("/auth/register", &body).await.status, 201);
    let body = json!({ "email": "ann@example.com", "password": "scho\u{308}nes wetter" });
    assert_eq!(cura.client().post("/auth/login", &body).await.status, 200);
}
