//! Sessions: refresh tokens, sign-out, tickets, and how streams end with their session.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use cura_tests::{Client, Cura, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const PASSWORD: &str = "a long password";

/// Signs in; gives the client and the refresh token.
async fn sign_in(client: &Client, email: &str, device: &str) -> (Client, Value) {
    let login = json!({ "email": email, "password": PASSWORD, "device_name": device });
    let signed_in = client.post("/auth/login", &login).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    (
        client.with_token(&signed_in.body["access_token"]),
        signed_in.body["refresh_token"].clone(),
    )
}

async fn refresh(client: &Client, token: &Value) -> cura_tests::Reply {
    client.post("/auth/refresh", &json!({ "refresh_token": token })).await
}

#[tokio::test]
async fn twenty_refreshes_at_once_are_one_branch() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let (_, token) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    let client = cura.client();
    let all = futures_util::future::join_all((0..20).map(|_| refresh(&client, &token))).await;
    let given: HashSet<String> = all
        .iter()
        .map(|reply| {
            assert_eq!(reply.status, 200, "{}", reply.body);
            reply.body["refresh_token"].to_string()
        })
        .collect();
    assert_eq!(given.len(), 1, "everybody has the same successor");
    // It works, and what comes after it is again one.
    let next = refresh(&client, &all[0].body["refresh_token"]).await;
    assert_eq!(next.status, 200);
    assert_eq!(
        refresh(&client, &token).await.status,
        401,
        "two generations old: no lost answer explains that"
    );
    assert_eq!(
        refresh(&client, &next.body["refresh_token"]).await.status,
        401,
        "the session has ended"
    );
}

#[tokio::test]
async fn a_replaced_token_that_comes_back_late_ends_the_session() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let (ann, first) = sign_in(&cura.client(), "ann@example.com", "phone").await;
    assert_eq!(refresh(&ann, &first).await.status, 200);
    sqlx::query("UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds'")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(refresh(&ann, &first).await.status, 401);
    assert_eq!(ann.get("/users/me").await.status, 401);
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
    let (second, token) = sign_in(&cura.client(), "ann@example.com", "phone").await;
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
    assert_eq!(change(PASSWORD, "a new password").await.status, 204);
    assert_eq!(first.get("/users/me").await.status, 401);
    assert_eq!(second.get("/users/me").await.status, 200);
    assert_eq!(refresh(&second, &token).await.status, 200);
    let login = |password: &str| json!({ "email": "ann@example.com", "password": password });
    assert_eq!(cura.client().post("/auth/login", &login(PASSWORD)).await.status, 401);
    assert_eq!(
        cura.client().post("/auth/login", &login("a new password")).await.status,
        200
    );
}

#[tokio::test]
async fn a_ticket_opens_one_stream_of_its_session_once() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let sent = ann.post("/chat/send", &json!({ "content": "Hi" })).await;
    let answer = &sent.body["assistant_message"]["id"];
    let ticket = ann.post("/auth/ticket", &Value::Null).await;
    assert_eq!(ticket.status, 200);
    assert_eq!(ticket.body["expires_in"], 60);
    let path = format!(
        "/chat/messages/{answer}/stream?ticket={}",
        ticket.body["ticket"].as_str().unwrap()
    );
    let anonymous = cura.client();
    let mut events = anonymous.events(anonymous.request(Method::GET, &path)).await.unwrap();
    assert_eq!(events.rest().await.last().unwrap().name, "complete");
    let again = anonymous.get(&path).await;
    assert_eq!((again.status.as_u16(), again.code()), (401, "not_authenticated"));
    let bob = cura.client().register("bob@example.com").await;
    let bobs = bob.post("/auth/ticket", &Value::Null).await;
    let path = format!(
        "/chat/messages/{answer}/stream?ticket={}",
        bobs.body["ticket"].as_str().unwrap()
    );
    assert_eq!(anonymous.get(&path).await.status, 404, "another user's ticket");
    let elsewhere = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let path = format!("/users/me?ticket={}", elsewhere.as_str().unwrap());
    assert_eq!(anonymous.get(&path).await.status, 401, "tickets are for streams");
}

#[tokio::test]
async fn a_ticket_expires_and_dies_with_its_session() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let use_one = async |ticket: &Value| {
        let path = format!("/chat/messages/1/stream?ticket={}", ticket.as_str().unwrap());
        cura.client().get(&path).await.status.as_u16()
    };
    let ticket = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    sqlx::query("UPDATE tickets SET expires_at = expires_at - interval '1 minute'")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(use_one(&ticket).await, 401);
    let ticket = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let living = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    assert_eq!(use_one(&living).await, 404, "let in, but there is no such message");
    ann.post("/auth/logout-all", &Value::Null).await;
    assert_eq!(use_one(&ticket).await, 401);
}

/// Less than the ten seconds after which a server that missed the signal checks its sessions.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Opens a stream that does not end by itself, does `work`, and says how the stream ended.
async fn end_of_stream_after(cura: &Cura, ann: &Client, work: impl AsyncFnOnce()) -> Value {
    let mut stream = ann.stream("Hi").await;
    assert_eq!(stream.next().await.unwrap().name, "ack");
    work().await;
    let begun = Instant::now();
    let last = stream.rest().await.pop().unwrap();
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
    assert_eq!(last.name, "session_ended", "{}", cura.logs());
    last.data
}

#[tokio::test]
async fn signing_out_ends_open_streams_at_once_on_every_server() {
    let cura = Cura::builder().servers(2).workers(0).start().await;
    let ann = cura.user().await;
    let elsewhere = ann.at(&cura.servers[1].base);
    let data = end_of_stream_after(&cura, &ann, async || {
        assert_eq!(elsewhere.post("/auth/logout-all", &Value::Null).await.status, 204);
    })
    .await;
    assert_eq!(data["reason"], "signed_out");
}

#[tokio::test]
async fn a_suspended_account_is_shut_out_at_once_and_let_in_again_when_restored() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let suspend = async |at: &'static str| {
        sqlx::query(at).execute(cura.database.pool()).await.unwrap();
    };
    let data = end_of_stream_after(&cura, &ann, async || {
        suspend("UPDATE users SET suspended_at = now()").await;
    })
    .await;
    assert_eq!(data["reason"], "suspended");
    let refused = ann.get("/users/me").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "account_suspended"));
    let login = |password: &str| json!({ "email": "ann@example.com", "password": password });
    let right = cura.client().post("/auth/login", &login(PASSWORD)).await;
    assert_eq!((right.status.as_u16(), right.code()), (403, "account_suspended"));
    let wrong = cura.client().post("/auth/login", &login("not my password")).await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.code()),
        (401, "invalid_credentials"),
        "who does not know the password learns nothing"
    );
    suspend("UPDATE users SET suspended_at = NULL").await;
    assert_eq!(ann.get("/users/me").await.status, 200);
}

#[tokio::test]
async fn streams_end_also_when_the_announcement_was_missed() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let mut stream = ann.stream("Hi").await;
    assert_eq!(stream.next().await.unwrap().name, "ack");
    // Cut what listens, and end the session before it is back.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database()
                 AND (query LIKE 'LISTEN \"cura_sessions_ended\"%' OR query = 'SELECT ''still there''')";
    eventually("the server listens", async || {
        let done = sqlx::query(cut).execute(cura.database.pool()).await.unwrap();
        (done.rows_affected() > 0).then_some(())
    })
    .await;
    ann.post("/auth/logout-all", &Value::Null).await;
    let begun = Instant::now();
    assert_eq!(stream.rest().await.pop().unwrap().name, "session_ended");
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
}

/// The next step of a client that has some of the tokens of a session.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// Presents the token that was given out this many refreshes ago.
    Present(usize),
    /// Lets the grace pass.
    Wait,
}

/// What the contract says a session is.
#[derive(Default)]
struct Model {
    /// Every token in the order in which they were given out; the last one works.
    tokens: Vec<Value>,
    /// Whether the last rotation is so recent that the token before is forgiven.
    recent: bool,
    over: bool,
}

/// Whatever anybody presents in whatever order: one token works at most, a forgiven one leads to it, and any other ends
/// the session.
#[test]
fn a_session_has_one_living_branch_whatever_is_presented() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cura = runtime.block_on(Cura::without_workers());
    let client = cura.client();
    let moves = proptest::collection::vec(
        prop_oneof![6 => (0..4_usize).prop_map(Move::Present), 1 => Just(Move::Wait)],
        1..25,
    );
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let number = std::sync::atomic::AtomicUsize::new(0);
    let play = async |moves: Vec<Move>| {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let body = json!({ "email": format!("p{n}@example.com"), "password": PASSWORD });
        let made = client.post("/auth/register", &body).await.body;
        let mut model = Model {
            tokens: vec![made["refresh_token"].clone()],
            ..Model::default()
        };
        for step in moves {
            match step {
                Move::Wait => {
                    model.recent = false;
                    let wait = "UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds' WHERE user_id = $1";
                    let id = made["user"]["id"].as_i64().unwrap();
                    sqlx::query(wait).bind(id).execute(cura.database.pool()).await.unwrap();
                }
                Move::Present(ago) => {
                    let ago = ago.min(model.tokens.len() - 1);
                    let presented = model.tokens[model.tokens.len() - 1 - ago].clone();
                    let reply = refresh(&client, &presented).await;
                    match ago {
                        _ if model.over => assert_eq!(reply.status, 401, "the session is over"),
                        0 => {
                            assert_eq!(reply.status, 200);
                            assert_ne!(reply.body["refresh_token"], presented);
                            model.tokens.push(reply.body["refresh_token"].clone());
                            model.recent = true;
                        }
                        1 if model.recent => {
                            assert_eq!(reply.status, 200);
                            assert_eq!(Some(&reply.body["refresh_token"]), model.tokens.last());
                        }
                        _ => {
                            assert_eq!(reply.status, 401, "another client has the successor");
                            model.over = true;
                        }
                    }
                }
            }
        }
    };
    runner
        .run(&moves, |moves| {
            runtime.block_on(play(moves));
            Ok(())
        })
        .unwrap();
    // Its database goes with a runtime that still runs.
    runtime.block_on(async move { drop(cura) });
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
async fn a_stream_opened_while_the_session_ends_ends_too() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let conversation = ann.post("/conversations", &json!({})).await.body["id"].clone();
    // The stream is let in, and then has to wait for its conversation.
    let mut other = cura.database.pool().begin().await.unwrap();
    sqlx::query("SELECT id FROM conversations FOR UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();
    let request = ann.request(Method::POST, &format!("/chat/stream/{conversation}"));
    let (stream, ()) = tokio::join!(ann.events(request.json(&json!({ "content": "Hi" }))), async {
        cura.database.wait_for_lock_waiter().await;
        sqlx::query("UPDATE sessions SET ended_at = now()")
            .execute(cura.database.pool())
            .await
            .unwrap();
        other.commit().await.unwrap();
    });
    let begun = Instant::now();
    let last = stream.ok().unwrap().rest().await.pop().unwrap();
    assert_eq!(last.name, "session_ended");
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_body_that_takes_its_time_does_not_act_for_a_session_that_ended_meanwhile() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let address = cura.servers[0].base.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /conversations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 2\r\nconnection: close\r\n\r\n{{",
        ann.token.as_ref().unwrap()
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
async fn resuming_with_an_invalid_token_says_what_is_wrong_with_it() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_DEFAULT", "2").start().await;
    let ann = cura.user().await;
    let resume = async || ann.get("/chat/messages/1/stream").await;
    assert_eq!(resume().await.status, 404);
    assert_eq!(resume().await.status, 404);
    let limited = resume().await;
    assert_eq!((limited.status.as_u16(), limited.code()), (429, "rate_limited"));
    assert!(limited.header("retry-after").is_some());
    sqlx::query("UPDATE users SET suspended_at = now()")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(resume().await.code(), "account_suspended");
}

#[tokio::test]
async fn the_hundred_and_first_session_replaces_the_one_unused_longest() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let fill = "INSERT INTO sessions (user_id, current_token, created_at, last_used_at, expires_at)
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
