//! An answer is pushed when nobody watches, and says no more than its person lets it.

use cura_domain::UserId;
use cura_live::{Live, LiveConfig};
use cura_tests::fcm_server::html;
use cura_tests::{PushService, Socket, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Pushing, register};

async fn prefer(user: &cura_tests::Client, profile: &Value) {
    let changed = user.send(user.request(Method::PATCH, "/users/me").json(profile)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
}

#[tokio::test]
async fn an_answer_that_nobody_watches_is_pushed_once_and_says_nothing_private() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    prefer(&user, &json!({ "language": "de-AT" })).await;
    register(&user, "phone").await;
    register(&user, "tablet").await;
    let answer = pushing.ask(&user).await;
    let sent = pushing.fcm.wait_for_sends_to("phone", 1).await;
    pushing.fcm.wait_for_sends_to("tablet", 1).await;
    let message = &sent[0].message;
    let data = &message["data"];
    assert_eq!(
        (
            &data["type"],
            &data["conversation_id"],
            &data["message_id"],
            &data["badge"]
        ),
        (
            &json!("answer"),
            &json!(answer["conversation_id"].to_string()),
            &json!(answer["id"].to_string()),
            &json!("1"),
        )
    );
    assert_eq!(
        message["android"]["collapse_key"],
        format!("c{}", answer["conversation_id"])
    );
    assert_eq!(message["notification"], json!({ "body": "Deine Antwort ist da." }));
    let shown = message.to_string();
    for word in ["leep", "magnesium", "bed"] {
        assert!(!shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(pushing.decision(&answer).await, "pushed");
    pushing.until_done().await;
    assert_eq!(pushing.fcm.sends().len(), 2);
    let sends = "SELECT count(*) FROM push_sends WHERE outcome = 'sent' AND code = 'sent' AND attempts = 1";
    assert_eq!(pushing.cura.database.count(sends).await, 2);
    assert!(!pushing.cura.logs().contains("magnesium"));
}

#[tokio::test]
async fn who_wants_to_see_it_gets_the_title_and_the_beginning() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    prefer(
        &user,
        &json!({ "preferences": { "notifications": { "private": false } } }),
    )
    .await;
    register(&user, "phone").await;
    pushing.ask(&user).await;
    let sent = pushing.fcm.wait_for_sends_to("phone", 1).await;
    assert_eq!(
        sent[0].message["notification"],
        json!({ "title": "How do I sleep better?", "body": "Sleep Try magnesium before bed." })
    );
}

#[tokio::test]
async fn a_failed_answer_is_pushed_and_a_cancelled_one_is_not() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let cancelled = user.ask("one").await;
    user.cancel(&cancelled).await;
    assert_eq!(
        user.until_final(&cancelled).await["metadata"]["finish_reason"],
        "cancelled"
    );
    let failed = user.ask("two").await;
    // As the reaper of answers that no job will finish does.
    let job = json!({ "message_id": failed }).to_string();
    sqlx::query("UPDATE apalis.jobs SET status = 'Killed', lock_by = NULL WHERE job_type = 'generate-answer' AND idempotency_key = $1")
        .bind(failed.to_string())
        .execute(pushing.cura.database.pool())
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
         VALUES ('abandoned', convert_to($1, 'UTF8'), 'fail-abandoned-answer', 'Pending', 0, 3, now(), 0, 'abandoned', '')",
    )
    .bind(job)
    .execute(pushing.cura.database.pool())
    .await
    .unwrap();
    let sent = pushing.fcm.wait_for_sends_to("phone", 1).await;
    assert_eq!(
        (&sent[0].message["data"]["type"], &sent[0].message["data"]["message_id"]),
        (&json!("answer_failed"), &json!(failed.to_string()))
    );
    pushing.until_done().await;
    assert_eq!(pushing.fcm.sends().len(), 1);
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push'";
    assert_eq!(pushing.cura.database.count(jobs).await, 1, "none for the cancelled one");
}

#[tokio::test]
async fn an_answer_that_somebody_watches_is_looked_at_once_more() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let feed = user.watch(None).await;
    let answer = user.ask("Hi").await;
    pushing.latch.open();
    let answer = user.until_final(&answer).await;
    pushing.let_last_look_come(&answer).await;
    assert_eq!(pushing.decision(&answer).await, "watched");
    drop(feed);
    pushing.until_done().await;
    assert!(pushing.fcm.sends().is_empty());
}

/// Nobody watched the end; somebody does two seconds later.
#[tokio::test]
async fn who_comes_before_the_second_look_is_looked_at_once_more() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    let id = user.get("/users/me").await.body["id"].as_i64().unwrap();
    register(&user, "phone").await;
    pushing
        .sql(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 NEW.run_at := now() + interval '1 hour';
                 RETURN NEW;
             END $$",
        )
        .await;
    pushing
        .sql(
            "CREATE TRIGGER hold BEFORE INSERT ON apalis.jobs FOR EACH ROW WHEN (NEW.job_type = 'send-push')
             EXECUTE FUNCTION hold()",
        )
        .await;
    for (hides, decision) in [(false, "watched"), (true, "pushed")] {
        let answer = pushing.ask(&user).await;
        let mut socket = Socket::of(&user, &answer["conversation_id"], None).await;
        let live = Live::redis(&pushing.cura.redis.url(), LiveConfig::default()).unwrap();
        eventually("somebody watches", async || {
            live.is_watched(UserId(id)).await.then_some(())
        })
        .await;
        pushing
            .sql("UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push' AND status = 'Pending'")
            .await;
        pushing.until_snoozed(&answer).await;
        if hides {
            socket.send(&json!({ "type": "visible", "visible": false })).await;
            eventually("nobody watches", async || {
                (!live.is_watched(UserId(id)).await).then_some(())
            })
            .await;
        }
        pushing.let_last_look_come(&answer).await;
        assert_eq!(pushing.decision(&answer).await, decision);
        socket.send_frame(Message::Close(None)).await;
        socket.closed().await;
        eventually("nobody is left", async || {
            (!live.is_watched(UserId(id)).await).then_some(())
        })
        .await;
    }
    pushing.fcm.wait_for_sends_to("phone", 1).await;
}

/// Whatever libraries log at `trace`: neither whom a push is for, nor what it says, nor by what right it is sent.
#[tokio::test]
async fn logs_at_trace_hold_no_token_endpoint_or_text() {
    let service = PushService::start().await;
    let pushing = Pushing::start_with(|cura| cura.with_push_service(&service).with("LOG_LEVEL", "trace")).await;
    pushing.latch.open();
    let user = pushing.cura.user().await;
    prefer(
        &user,
        &json!({ "preferences": { "notifications": { "private": false } } }),
    )
    .await;
    register(&user, "phone-secret-token").await;
    let browser = service.subscribe();
    let body = json!({ "subscription": browser.to_json(), "platform": "web" });
    assert_eq!(user.post("/devices/register", &body).await.status, 201);
    pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("phone-secret-token", 1).await;
    service.wait_for_pushes_of(&browser, 1).await;
    pushing.until_done().await;
    let logs = pushing.cura.logs();
    assert!(logs.contains("a push service has answered"), "it is trace");
    for secret in ["secret-", "ya29", "magnesium", "sleep better", "Bearer "] {
        let line = logs.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[tokio::test]
async fn who_hides_after_the_end_and_has_not_read_it_is_told_in_the_end() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "Hi" })).await;
    pushing.latch.open();
    let ended = socket.until("complete").await;
    let answer = ended.last().unwrap()["message"].clone();
    pushing.until_waiting(&answer, 60).await;
    socket.send(&json!({ "type": "visible", "visible": false })).await;
    socket.send(&json!({ "type": "ping" })).await;
    socket.until("pong").await;
    pushing.let_last_look_come(&answer).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    assert_eq!(pushing.decision(&answer).await, "pushed");
}

#[tokio::test]
async fn who_closes_it_after_the_end_has_seen_it_and_who_reads_it_too() {
    let pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    pushing.latch.open();
    for (reads, decision) in [(false, "watched"), (true, "read")] {
        let mut socket = Socket::of(&user, &conversation, None).await;
        socket.send(&json!({ "type": "message", "content": "Hi" })).await;
        let ended = socket.until("complete").await;
        let answer = ended.last().unwrap()["message"].clone();
        pushing.until_waiting(&answer, 60).await;
        if reads {
            let path = format!("/conversations/{conversation}/read");
            assert_eq!(
                user.post(&path, &json!({ "message_id": answer["id"] })).await.status,
                204
            );
        }
        socket.send_frame(Message::Close(None)).await;
        socket.closed().await;
        pushing.let_last_look_come(&answer).await;
        assert_eq!(pushing.decision(&answer).await, decision);
    }
    pushing.until_done().await;
    assert!(pushing.fcm.sends().is_empty());
}

#[tokio::test]
async fn a_hidden_client_does_not_watch() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let hidden = user.events(user.request(Method::GET, "/events?visible=false")).await;
    assert!(hidden.is_ok());
    pushing.ask(&user).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
}

#[tokio::test]
async fn without_redis_nobody_watches() {
    let mut pushing = Pushing::start().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let _feed = user.watch(None).await;
    let answer = user.ask("Hi").await;
    pushing.cura.redis.kill();
    pushing.latch.open();
    user.until_final(&answer).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
}

#[tokio::test]
async fn whoever_wants_none_gets_none_and_the_log_says_why() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    prefer(&user, &json!({ "preferences": { "notifications": { "push": false } } })).await;
    let off = pushing.ask(&user).await;
    assert_eq!(pushing.decision(&off).await, "off");
    prefer(&user, &json!({ "preferences": { "notifications": { "push": null } } })).await;
    let muted = pushing.ask(&user).await;
    let path = format!("/conversations/{}", muted["conversation_id"]);
    let mute = user.request(Method::PATCH, &path).json(&json!({ "muted": true }));
    assert_eq!(user.send(mute).await.body["muted"], true);
    assert_eq!(pushing.decision(&muted).await, "muted");
    let old = pushing.ask(&user).await;
    sqlx::query("UPDATE messages SET updated_at = now() - interval '61 minutes' WHERE id = $1")
        .bind(old["id"].as_i64())
        .execute(pushing.cura.database.pool())
        .await
        .unwrap();
    assert_eq!(pushing.decision(&old).await, "expired");
    pushing.until_done().await;
    assert!(pushing.fcm.sends().is_empty());
}

#[tokio::test]
async fn without_a_device_nothing_is_enqueued() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    pushing.ask(&user).await;
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push'";
    assert_eq!(pushing.cura.database.count(jobs).await, 0);
    let rows = "SELECT count(*) FROM pushes";
    assert_eq!(pushing.cura.database.count(rows).await, 0);
}

/// The older one waits for its last look, the newer one does not.
#[tokio::test]
async fn an_older_answer_does_not_take_the_place_of_a_newer_one() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "one" })).await;
    let ended = socket.until("complete").await;
    let older = ended.last().unwrap()["message"].clone();
    pushing.until_waiting(&older, 60).await;
    // Asked from elsewhere, before the older one ended: it is not read by that.
    socket.send(&json!({ "type": "visible", "visible": false })).await;
    socket.send(&json!({ "type": "ping" })).await;
    socket.until("pong").await;
    let next = json!({ "conversation_id": conversation, "content": "two" });
    let newer = user.send_without_waiting(&next).await.body["assistant_message"]["id"].clone();
    let newer = user.until_final(&newer).await;
    pushing.fcm.wait_for_sends_to("phone", 1).await;
    pushing
        .sql("UPDATE messages SET created_at = created_at - interval '1 h' WHERE role = 'user' AND content = 'two'")
        .await;
    pushing.let_last_look_come(&older).await;
    assert_eq!(pushing.decision(&older).await, "superseded");
    pushing.until_done().await;
    let sends = pushing.fcm.sends();
    assert_eq!(sends.len(), 1);
    assert_eq!(sends[0].message["data"]["message_id"], newer["id"].to_string());
}

/// A push that could be sent to no device yet is decided anew each time.
#[tokio::test]
async fn who_wants_none_any_more_gets_none_that_waits_for_its_service() {
    let pushing = Pushing::answering().await;
    let other = pushing.cura.user().await;
    register(&other, "closes-the-gate").await;
    pushing.fcm.answer_always("closes-the-gate", html(403));
    pushing.ask(&other).await;
    pushing.fcm.wait_for_sends_to("closes-the-gate", 1).await;
    let user = other.register("someone.else@example.org").await;
    register(&user, "phone").await;
    let answer = pushing.ask(&user).await;
    assert_eq!(pushing.decision(&answer).await, "pushed");
    pushing.until_waiting(&answer, 5).await;
    prefer(&user, &json!({ "preferences": { "notifications": { "push": false } } })).await;
    pushing
        .sql("UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push' AND status = 'Pending'")
        .await;
    eventually("it is decided anew", async || {
        (pushing.decision(&answer).await == "off").then_some(())
    })
    .await;
    assert!(pushing.fcm.sends_to("phone").is_empty());
}

/// A proxy may keep a connection whose client is gone.
#[tokio::test]
async fn a_connection_that_may_be_a_proxy_alone_delays_a_push_and_does_not_swallow_it() {
    let pushing = Pushing::start_with(|cura| cura.with("TRUSTED_PROXIES", "127.0.0.0/8")).await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    let _feed = user.watch(None).await;
    let answer = user.ask("Hi").await;
    pushing.latch.open();
    let answer = user.until_final(&answer).await;
    pushing.let_last_look_come(&answer).await;
    assert_eq!(pushing.decision(&answer).await, "pushed");
    pushing.fcm.wait_for_sends_to("phone", 1).await;
}
