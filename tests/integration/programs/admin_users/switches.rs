//! What is switched off without a deploy: on every server, within two seconds.

use std::time::{Duration, Instant};

use cura_tests::{Client, Cura, Form, Reply, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::admin_devices::assert_fails;
use super::{json_of, recorded, run, run_beside, sql, text_of, three_users};
use crate::files::samples;

/// The two seconds of the contract, and what a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(5);

fn switch(cura: &Cura, name: &str, position: &str) -> Value {
    let run = |arguments: &[&str]| run_beside(cura, arguments);
    json_of(run, &["switch", name, position, "--reason", "a wave of spam"])
}

async fn register(client: &Client, email: &str) -> Reply {
    let body = json!({ "email": email, "password": super::PASSWORD });
    client.post("/auth/register", &body).await
}

async fn set_avatar(user: &Client) -> Reply {
    let form = Form::of("me.png", samples::PNG);
    let request = user.request(Method::POST, "/users/me/avatar");
    user.send(request.header("content-type", form.content_type()).body(form.end()))
        .await
}

async fn begin_upload(user: &Client) -> Reply {
    let request = user.request(Method::POST, "/uploads/resumable");
    user.send(request.header("Tus-Resumable", "1.0.0").header("Upload-Length", "4"))
        .await
}

/// Waits until this is refused with this code; then at once, counted from now.
async fn until_refused(code: &str, ask: impl AsyncFn() -> Reply) {
    let begun = Instant::now();
    eventually(&format!("it is refused: {code}"), async || {
        let reply = ask().await;
        (reply.status == 403 && reply.code() == code).then_some(())
    })
    .await;
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_registers_on_any_server_while_registration_is_off() {
    let cura = Cura::builder().servers(2).workers(0).start().await;
    let ann = cura.client().register("ann@example.com").await;
    let off = switch(&cura, "registration", "off");
    assert_eq!(
        (&off["name"], &off["is_on"], &off["reason"]),
        (&json!("registration"), &json!(false), &json!("a wave of spam"))
    );
    for server in &cura.servers {
        let client = Client::new(&server.base);
        until_refused("registration_closed", async || {
            register(&client, "ann@example.com").await
        })
        .await;
        // Everything else goes on.
        let credentials = json!({ "email": "ann@example.com", "password": super::PASSWORD });
        assert_eq!(client.post("/auth/login", &credentials).await.status, 200);
        assert_eq!(client.get("/health").await.status, 200);
        assert_eq!(
            ann.at(&server.base)
                .upload(Form::of("a.png", samples::PNG))
                .await
                .status,
            201
        );
    }
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    json_of(run, &["users", "create", "--email", "bob@example.com"]);
    switch(&cura, "registration", "on");
    for server in &cura.servers {
        let client = Client::new(&server.base);
        let email = format!("{}@example.com", server.base.rsplit(':').next().unwrap());
        eventually("people can register again", async || {
            (register(&client, &email).await.status == 201).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn no_upload_of_any_kind_begins_while_uploads_are_off_and_what_was_begun_goes_on() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let begun = begin_upload(&ann).await;
    assert_eq!(begun.status, 201);
    switch(&cura, "uploads", "off");
    until_refused("uploads_closed", async || {
        ann.upload(Form::of("a.png", samples::PNG)).await
    })
    .await;
    let refused = [begin_upload(&ann).await, set_avatar(&ann).await];
    for reply in refused {
        assert_eq!((reply.status.as_u16(), reply.code()), (403, "uploads_closed"));
    }
    let part = ann.request(Method::PATCH, begun.header("location").unwrap());
    let part = part.header("Tus-Resumable", "1.0.0").header("Upload-Offset", "0");
    let part = part.header("content-type", "application/offset+octet-stream");
    assert_eq!(ann.send(part.body("ab")).await.status, 204);
    assert_eq!(ann.get("/uploads").await.status, 200);
    assert_eq!(register(&cura.client(), "bob@example.com").await.status, 201);
    // A server that starts now knows it, too.
    let mut cura = cura;
    cura.add_server().await;
    let there = ann.at(&cura.servers[1].base);
    until_refused("uploads_closed", async || {
        there.upload(Form::of("a.png", samples::PNG)).await
    })
    .await;
    switch(&cura, "uploads", "on");
    eventually("files can be uploaded again", async || {
        (ann.upload(Form::of("a.png", samples::PNG)).await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_switch_is_noticed_although_its_announcement_was_missed_and_kept_while_postgres_is_away() {
    let (cura, proxy) = Cura::builder().workers(0).start_behind_proxy().await;
    let ann = cura.client().register("ann@example.com").await;
    sql(&cura.database, "ALTER TABLE switches DISABLE TRIGGER switches_changed").await;
    // Past the proxy, as an operator elsewhere.
    switch(&cura, "uploads", "off");
    until_refused("uploads_closed", async || {
        ann.upload(Form::of("a.png", samples::PNG)).await
    })
    .await;
    switch(&cura, "registration", "off");
    until_refused("registration_closed", async || {
        register(&cura.client(), "bob@example.com").await
    })
    .await;
    proxy.cut();
    for _ in 0..3 {
        let reply = register(&cura.client(), "bob@example.com").await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (403, "registration_closed"),
            "what was known last counts"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    switch(&cura, "registration", "on");
    proxy.restore();
    eventually("people can register again", async || {
        (register(&cura.client(), "carl@example.com").await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn switches_are_shown_and_set_with_a_reason_alone() {
    let database = three_users().await;
    let run_on = |arguments: &[&str]| run(&database, arguments);
    let all = json_of(run_on, &["switch"]);
    let states: Vec<(&Value, &Value)> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["name"], &item["is_on"]))
        .collect();
    assert_eq!(
        states,
        [
            (&json!("registration"), &json!(true)),
            (&json!("uploads"), &json!(true))
        ]
    );
    for wrong in [
        &["switch", "uploads"][..],
        &["switch", "uploads", "off"],
        &["switch", "off"],
        &["switch", "everything", "off", "--reason", "x"],
        &["switch", "uploads", "maybe", "--reason", "x"],
        &["switch", "--reason", "x"],
        &["switch", "uploads", "off", "--reason", ""],
    ] {
        assert_eq!(
            super::admin(wrong, &super::alone(database.url())).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
    let said = text_of(run_on, &["switch", "uploads", "off", "--reason", "the disk is full"]);
    assert!(said.contains("uploads is off"), "{said}");
    let read = text_of(run_on, &["switch"]);
    assert!(read.contains("the disk is full") && read.contains("off"), "{read}");
    // Twice is once.
    text_of(run_on, &["switch", "uploads", "off", "--reason", "still full"]);
    assert_eq!(json_of(run_on, &["switch"])["items"][1]["reason"], "still full");
    let done = ("switch.set".to_owned(), Some("uploads".to_owned()), None);
    assert_eq!(recorded(&database).await, [done.clone(), done]);
    assert_fails(
        |arguments: &[&str]| super::run_with(&super::alone("postgres://127.0.0.1:1/none".to_owned()), arguments),
        &["switch"],
        5,
        "database_away",
    );
}
