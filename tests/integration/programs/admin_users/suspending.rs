//! Suspending and signing out, beside people who are using Cura.

use std::time::{Duration, Instant};

use cura_tests::provider::{Latch, words};
use cura_tests::{Client, Cura, ScriptedProvider, Socket, eventually};
use serde_json::{Value, json};

use super::super::admin_devices::assert_fails;
use super::{json_of, recorded, run_beside, text_of};

/// The two seconds of the contract, and what a busy machine needs to run a command.
const AT_ONCE: Duration = Duration::from_secs(6);

/// A provider whose answers do not end until the latch is opened.
async fn endless(latch: &Latch) -> Cura {
    let provider = ScriptedProvider::answering_until(&words(3), Duration::ZERO, latch).await;
    // Kept as long as the process lives.
    let provider: &'static ScriptedProvider = Box::leak(Box::new(provider));
    Cura::with_provider(provider).await
}

/// Runs a command beside an open stream of everything and an open socket; gives why each has ended.
async fn ends_of_streams(cura: &Cura, ann: &Client, command: &[&str]) -> (Value, u16) {
    let conversation = ann.send_without_waiting(&json!({ "content": "Hi" })).await.body["conversation_id"].clone();
    let mut stream = ann.watch(None).await;
    assert!(stream.wait_for_cursor().await);
    let mut socket = Socket::of(ann, &conversation, None).await;
    assert!(socket.next().await.is_ok());
    let command = command
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect::<Vec<_>>();
    let variables = super::beside(cura);
    let running = tokio::task::spawn_blocking(move || {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        super::run_with(&variables, &command)
    });
    let begun = Instant::now();
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(last.name, "session_ended", "{}", cura.logs());
    let code = loop {
        if let Err(code) = socket.next().await {
            break code;
        }
    };
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
    let output = running.await.unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (last.data["reason"].clone(), code)
}

#[tokio::test]
async fn open_streams_and_sockets_end_when_their_user_is_suspended_signed_out_or_gets_a_password() {
    let latch = Latch::default();
    let cura = endless(&latch).await;
    for (command, reason) in [
        (&["users", "sign-out", "ann1@example.com"][..], "signed_out"),
        (&["users", "set-password", "ann2@example.com"], "signed_out"),
        (
            &["users", "suspend", "ann3@example.com", "--reason", "spam"],
            "suspended",
        ),
    ] {
        let email = command.iter().find(|argument| argument.contains('@')).unwrap();
        let ann = cura.client().register(email).await;
        let (ended, code) = ends_of_streams(&cura, &ann, command).await;
        assert_eq!(ended, reason);
        assert!((4000..5000).contains(&code), "{code}");
    }
    latch.open();
}

#[tokio::test]
async fn a_suspended_user_has_no_running_answer_no_device_and_nothing_else_and_is_let_in_again() {
    let latch = Latch::default();
    let cura = endless(&latch).await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    let device = json!({ "fcm_token": "a-token-of-a-phone", "platform": "ios" });
    assert_eq!(ann.post("/devices/register", &device).await.status, 201);
    let (running, bobs) = (ann.ask("Hi").await, bob.ask("Hi").await);
    let mut stream = ann.watch(None).await;
    // One that is written, and one that waits behind it.
    let conversation = ann.get(&format!("/chat/messages/{running}")).await.body["conversation_id"].clone();
    ann.send_without_waiting(&json!({ "conversation_id": conversation, "content": "and?", "on_busy": "queue" }))
        .await;
    eventually("both are being written", async || {
        let begun = "SELECT count(*) FROM messages WHERE running AND attempt > 0";
        (cura.database.count(begun).await == 2).then_some(())
    })
    .await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let suspend = ["users", "suspend", "ann@example.com", "--reason", "spam wave"];
    let suspended = json_of(run, &suspend);
    assert_eq!(suspended, json!({ "id": 1, "changed": true, "answers_cancelled": 2 }));
    assert!(!stream.rest().await.is_empty());
    eventually("her answers have ended as cancelled", async || {
        let ended = "SELECT count(*) FROM messages WHERE user_id = 1 AND finish_reason = 'cancelled'";
        (cura.database.count(ended).await == 2).then_some(())
    })
    .await;
    let still = "SELECT count(*) FROM messages WHERE user_id = 2 AND running";
    assert_eq!(cura.database.count(still).await, 1, "nobody else's");
    assert_eq!(cura.database.count("SELECT count(*) FROM devices").await, 0);
    let refused = ann.get("/users/me").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "account_suspended"));
    // Again: nothing has changed, and nothing is left to cancel.
    assert_eq!(
        json_of(run, &suspend),
        json!({ "id": 1, "changed": false, "answers_cancelled": 0 })
    );
    assert_eq!(
        json_of(run, &["users", "restore", "1"]),
        json!({ "id": 1, "changed": true })
    );
    assert_eq!(ann.get("/users/me").await.status, 200, "the session goes on");
    assert!(text_of(run, &["users", "restore", "1"]).contains("not suspended"));
    let reasons: Vec<String> = sqlx::query_scalar(
        "SELECT arguments ->> 'reason' FROM operator_actions WHERE action = 'users.suspend' ORDER BY id",
    )
    .fetch_all(cura.database.pool())
    .await
    .unwrap();
    assert_eq!(reasons, ["spam wave", "spam wave"]);
    latch.open();
    bob.until_final(&bobs).await;
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_waits_for_a_worker_ends_at_once() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let answer = ann.ask("Hi").await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let suspended = json_of(run, &["users", "suspend", "1", "--reason", "spam"]);
    assert_eq!(suspended["answers_cancelled"], 1);
    let ended = "SELECT count(*) FROM messages WHERE user_id = 1 AND finish_reason = 'cancelled'";
    assert_eq!(cura.database.count(ended).await, 1, "{answer}");
    cura.check_invariants().await;
}

#[tokio::test]
async fn without_redis_accounts_are_suspended_and_streams_end_all_the_same() {
    let latch = Latch::default();
    let mut cura = endless(&latch).await;
    let ann = cura.client().register("ann@example.com").await;
    cura.redis.kill();
    let (reason, _) = ends_of_streams(&cura, &ann, &["users", "suspend", "1", "--reason", "spam"]).await;
    assert_eq!(reason, "suspended");
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    for command in [
        &["users", "list"][..],
        &["users", "show", "1"],
        &["users", "restore", "1"],
        &["users", "sign-out", "1"],
        &["users", "promote", "1"],
        &["users", "create", "--email", "bob@example.com"],
        &["switch"],
    ] {
        json_of(run, command);
    }
    latch.open();
}

#[tokio::test]
async fn a_reason_is_asked_for_and_names_no_address() {
    let database = super::three_users().await;
    let run = |arguments: &[&str]| super::admin(arguments, &super::alone(database.url()));
    for command in [
        &["users", "suspend", "1"][..],
        &["users", "suspend", "1", "--reason", " "],
        &["users", "suspend", "1", "--reason", "asked by ada@example.com"],
    ] {
        assert_eq!(run(command).status.code(), Some(2), "{command:?}");
    }
    assert_fails(
        run,
        &["users", "suspend", "77", "--reason", "spam"],
        4,
        "user_not_found",
    );
    assert_fails(run, &["users", "sign-out", "nobody@example.com"], 4, "user_not_found");
    let failed = |act: &str, target: Option<&str>| {
        let why = Some("user_not_found".to_owned());
        (act.to_owned(), target.map(str::to_owned), why)
    };
    // Each in both forms. An address is not recorded.
    let (suspend, sign_out) = (failed("users.suspend", Some("77")), failed("users.sign-out", None));
    assert_eq!(
        recorded(&database).await,
        [suspend.clone(), suspend, sign_out.clone(), sign_out]
    );
}
