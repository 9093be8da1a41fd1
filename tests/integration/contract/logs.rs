//! Logs at trace level hold neither messages nor tokens nor email addresses.

use std::time::Duration;

use cura_domain::device::DeviceAddress;
use cura_domain::{ConversationId, MessageId, UserId};
use cura_providers::push::{Banner, Fcm, Meaning, Push, PushProviders, VapidSubject, WebPush};
use cura_tests::provider::{answer, refusal};
use cura_tests::{
    Cura, FcmServer, Form, HttpAnswer, LogCapture, ManualClock, PushService, ScriptedProvider, Socket, eventually,
};
use serde_json::{Value, json};

#[tokio::test]
async fn no_words_and_no_tokens_of_a_socket_reach_a_log() {
    let provider = ScriptedProvider::answering(&["an answer of mine"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "trace")
        .start()
        .await;
    let user = cura.user().await;
    let made = user.post("/conversations", &json!({})).await.body;
    let mut socket = Socket::of(&user, &made["id"], None).await;
    socket
        .send(&json!({ "type": "auth", "token": user.token.clone().unwrap() }))
        .await;
    socket
        .send(&json!({ "type": "message", "content": "a question of mine" }))
        .await;
    socket.until("complete").await;
    // What is logged last is read last.
    cura.client().get("/health/live").await;
    cura.servers[0].program.wait_for_log("/health/live").await;
    cura.workers[0].wait_for_log("TRACE").await;
    let said = cura.logs();
    assert!(said.contains("TRACE"), "it says everything else");
    for secret in ["of mine", user.token.as_ref().unwrap(), "a_friend"] {
        assert!(!said.contains(secret), "{secret} reached a log");
    }
}

#[tokio::test]
async fn logs_hold_neither_words_nor_tokens_nor_addresses() {
    // A provider that repeats the prompt in an error, which the worker logs.
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => refusal("500 Oh", "", &json!({ "error": { "message": "my secret words" } })),
        _ => answer(&["a secret answer"], Duration::ZERO),
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "trace")
        .start()
        .await;
    let user = cura.client().register("private@example.com").await;
    let sent = user.send_message(&Value::Null, "my secret words").await;
    assert_eq!(sent["assistant_message"]["content"], "a secret answer");
    user.get("/conversations?cursor=my-secret-cursor").await;
    user.get(&format!("/users/me?token={}", user.token.as_ref().unwrap()))
        .await;
    // What is logged last is read last.
    cura.client().get("/health/live").await;
    cura.servers[0].program.wait_for_log("/health/live").await;
    let of_the_job =
        |line: &str| line.contains("job{queue=\"generate-answer\"") && line.contains("the provider failed; retrying");
    eventually("the worker's log is there", async || {
        cura.workers[0].logs().lines().any(of_the_job).then_some(())
    })
    .await;
    let said = cura.logs();
    assert!(said.contains("/chat/send"), "the access log is there: {said}");
    for secret in [
        "private@example.com",
        "my secret words",
        "a secret answer",
        "my-secret-cursor",
        user.token.as_ref().unwrap(),
        "a long password",
    ] {
        assert!(!said.contains(secret), "{secret} is in the logs");
    }
}

#[tokio::test]
async fn no_name_no_content_and_no_place_of_a_file_reaches_a_log() {
    let cura = Cura::builder().with("LOG_LEVEL", "trace").start().await;
    let user = cura.user().await;
    let content = [
        include_bytes!("../../fixtures/files/alpha.png").as_slice(),
        b"my secret pixels",
    ]
    .concat();
    let kept = user
        .upload_with_key(Form::of("my secret face.png", content), "my-secret-key")
        .await;
    assert_eq!(kept.status, 201, "{}", kept.body);
    let refused = user.upload(Form::of("my secret words.txt", "my secret words")).await;
    assert_eq!(refused.status, 415);
    assert_eq!(user.until_scanned(&kept.body["id"]).await["status"], "clean");
    let keys = "SELECT object_key FROM files UNION ALL SELECT object_key FROM file_pictures";
    let keys: Vec<String> = sqlx::query_scalar(keys).fetch_all(cura.database.pool()).await.unwrap();
    assert_eq!(keys.len(), 3);
    let path = format!("/uploads/{}", kept.body["id"]);
    assert_eq!(
        user.send(user.request(reqwest::Method::DELETE, &path)).await.status,
        204
    );
    eventually("the object is deleted", async || {
        let listed = "SELECT count(*) FROM object_deletions";
        (cura.database.count(listed).await == 0).then_some(())
    })
    .await;
    // What is logged last is read last.
    cura.client().get("/health/live").await;
    cura.servers[0].program.wait_for_log("/health/live").await;
    let said = cura.logs();
    assert!(
        said.contains("/uploads/file") && said.contains("delete-objects"),
        "{said}"
    );
    let names = keys.iter().map(|key| key.split('/').nth(1).unwrap());
    for secret in ["my secret", "my-secret-key"].into_iter().chain(names) {
        assert!(!said.contains(secret), "{secret} reached a log");
    }
}

#[tokio::test]
async fn no_device_no_credential_and_no_text_of_a_push_reaches_a_log() {
    let (fcm, service) = (FcmServer::start().await, PushService::start().await);
    // More specific than what silences libraries.
    let logs = LogCapture::of_program("trace,gcp_auth::types=trace,h2::codec=trace,hyper_util::client=trace");
    let base = fcm.server().url().parse().unwrap();
    let subject = VapidSubject::parse("mailto:push@example.org").unwrap();
    let clock = ManualClock::default();
    let web = WebPush::new(service.key().clone(), subject, service.hosts(), None, clock.clock()).unwrap();
    let providers = PushProviders::new(
        Some(Fcm::new(fcm.credentials().into(), &base, clock.clock()).unwrap()),
        Some(web),
    );
    let banner = Push::Banner(Banner {
        kind: "answer",
        push_id: 3,
        about: Some((ConversationId(7), MessageId(9))),
        title: Some("a secret title"),
        body: "a secret answer",
        badge: 1,
    });
    let phone = DeviceAddress::fcm("secret-device".to_owned()).unwrap();
    let browser = service.subscribe();
    let subscription = DeviceAddress::WebPush(browser.subscription(&service.hosts()));
    // What Google answers to a wrong key, and libraries like to repeat.
    fcm.answer_token_requests(Some(HttpAnswer::reply(400, "no such account: secret-key")));
    let mut meanings = Vec::new();
    for answer in [
        HttpAnswer::json(201, &json!({ "name": "projects/cura-test/messages/0:1" })),
        HttpAnswer::Cut,
        HttpAnswer::reply(403, "the device secret-device of secret"),
    ] {
        fcm.answer_next("secret-device", [answer.clone()]);
        service.answer_next(&browser, [answer]);
        for address in [&phone, &subscription] {
            let permit = providers.permits(address.kind(), 1).await.remove(0);
            meanings.push(providers.send(permit, UserId(1), address, false, &banner).await.meaning);
        }
        fcm.answer_token_requests(None);
        // Until it may be asked again.
        clock.advance(15);
    }
    // Without an access token the first push for the phone was not sent, so the phone is one answer behind.
    assert_eq!(
        meanings.iter().filter(|meaning| **meaning == Meaning::Sent).count(),
        2,
        "{meanings:?}"
    );
    assert!(fcm.sends().len() >= 2 && service.pushes().len() == 3, "{meanings:?}");
    assert!(!logs.lines().is_empty(), "it says something else");
    for line in logs.lines() {
        for secret in ["secret", "ya29", "wpush", "vapid t=", "eyJ", "cura-test.iam"] {
            assert!(!line.contains(secret), "{secret} is in the logs: {line}");
        }
    }
}

#[test]
fn no_directive_makes_libraries_log_what_they_carry() {
    for level in [
        "trace",
        "warn,h2=trace,gcp_auth=trace",
        "warn,h2::codec=trace,gcp_auth::types=trace,h2o=trace",
        "[send]=trace",
    ] {
        let logs = LogCapture::of_program(level);
        let _send = tracing::trace_span!("send").entered();
        tracing::trace!(target: "h2::codec", "a secret frame");
        tracing::debug!(target: "h2", "a secret header");
        tracing::error!(target: "gcp_auth::types", "a secret answer");
        tracing::error!(target: "h2::proto", "it broke");
        tracing::error!(target: "h2o", "another library");
        let lines = logs.lines().join("\n");
        assert!(!lines.contains("secret"), "{level}: {lines}");
        assert!(
            lines.contains("another library") && lines.contains("it broke"),
            "{level}: {lines}"
        );
    }
}
