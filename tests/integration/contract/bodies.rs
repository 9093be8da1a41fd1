//! Bodies: every invalid body of every operation is answered with a problem that says what is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cura_tests::operations::{Operation, PART, operations};
use cura_tests::problem::assert_problem;
use cura_tests::{Client, Cura, Form, eventually};
use reqwest::Method;
use serde_json::{Value, json};

/// On a busy machine it is not ready at every moment.
async fn check_that_it_lives(client: &Client) {
    eventually("it lives and is ready", async || {
        (client.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_route_refuses_every_kind_of_bad_body() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    let bodies: [(&str, Vec<u8>, u16); 11] = [
        ("empty", vec![], 400),
        ("malformed", b"{\"content\": ".to_vec(), 400),
        ("not UTF-8", vec![b'"', 0xff, 0xfe, b'"'], 400),
        ("deep", deep.into_bytes(), 400),
        ("a lone surrogate", br#"{"content":"\ud800"}"#.to_vec(), 400),
        (
            "huge",
            format!("{{\"content\":\"{}\"}}", "x".repeat(11 * 1024 * 1024)).into_bytes(),
            413,
        ),
        (
            "NUL",
            br#"{"content":"\u0000","title":"\u0000","email":"\u0000","name":"\u0000","password":"\u0000"}"#.to_vec(),
            422,
        ),
        ("a list", b"[]".to_vec(), 422),
        ("a number", b"7".to_vec(), 422),
        ("null", b"null".to_vec(), 422),
        (
            "wrong-typed",
            json!({ "content": 1, "title": 1, "email": 1, "password": 1, "refresh_token": 1 })
                .to_string()
                .into_bytes(),
            422,
        ),
    ];
    let mut operations = operations(&cura).await;
    operations.retain(Operation::takes_body);
    assert!(operations.len() >= 8, "{operations:?}");
    for operation in operations {
        let path = operation.path("1");
        let name = format!("{} {path}", operation.method);
        let request = || user.request(operation.method.clone(), &path);
        let as_json = || request().header("content-type", "application/json");
        if operation.takes_form() {
            assert_problem(&user.send(as_json().body("{}")).await, 415, &format!("{name} as JSON"));
            let of_form = Form::default().content_type();
            for (what, body, status) in &bodies {
                let reply = user
                    .send(request().header("content-type", &of_form).body(body.clone()))
                    .await;
                // None of them is a form.
                let status = if *status == 413 { 413 } else { 400 };
                assert_problem(&reply, status, &format!("{name} with {what} body"));
            }
        }
        if operation.takes_part() {
            let of_part = |body: Vec<u8>| {
                let request = request().header("content-type", PART).header("Tus-Resumable", "1.0.0");
                request.header("Upload-Offset", "0").body(body)
            };
            for (what, body, _) in &bodies {
                // Any bytes are bytes; nothing has this id.
                assert_problem(
                    &user.send(of_part(body.clone())).await,
                    404,
                    &format!("{name} with {what} body"),
                );
            }
        }
        for (what, body, status) in bodies.iter().filter(|_| !operation.takes_file()) {
            let reply = user.send(as_json().body(body.clone())).await;
            let what = format!("{name} with {what} body");
            // Where none is needed, an empty one or null is none, and what is wrong is that nothing has this id.
            let none = (body.is_empty() || body == b"null") && !operation.needs_body();
            if none && path == "/auth/ticket" {
                assert_eq!(reply.status, 200, "{what}: {}", reply.body);
                continue;
            }
            assert_problem(&reply, if none { 404 } else { *status }, &what);
        }
        for (what, untyped) in [
            ("as text", request().header("content-type", "text/plain").body("hello")),
            ("without a type", request().body("{}")),
            ("compressed", as_json().header("content-encoding", "gzip").body("{}")),
        ] {
            let untyped = untyped.header("Tus-Resumable", "1.0.0");
            assert_problem(&user.send(untyped).await, 415, &format!("{name} {what}"));
        }
    }
    check_that_it_lives(&user).await;
}

#[tokio::test]
async fn routes_that_take_no_body_survive_every_body() {
    let cura = Cura::without_workers().await;
    let mut people = 0;
    for operation in operations(&cura).await {
        // A stream without an end has no answer to wait for.
        if operation.takes_body() || operation.template == "/events" {
            continue;
        }
        // A person of its own for each: some of these end sessions.
        people += 1;
        let user = cura.client().register(&format!("person{people}@example.com")).await;
        let path = operation.path("7");
        let send = async |body: Vec<u8>| {
            let request = user.request(operation.method.clone(), &path);
            user.send(request.header("content-type", "application/json").body(body))
                .await
        };
        let what = format!("{} {path}", operation.method);
        let huge = send(vec![b'x'; 11 * 1024 * 1024]).await;
        // The answer to HEAD has no body.
        if operation.method == Method::HEAD {
            assert_eq!(huge.status, 413, "{what}");
        } else {
            assert_problem(&huge, 413, &what);
        }
        for body in ["null", "[]", "{\"a\": ", "\0"] {
            let status = send(body.into()).await.status;
            assert!(status.is_success() || status.is_client_error(), "{what}: {status}");
        }
    }
    check_that_it_lives(&cura.client()).await;
}

#[tokio::test]
async fn a_huge_body_without_a_length_is_cut_off() {
    const MEGABYTE: usize = 1024 * 1024;
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let said = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&said);
    let endless = futures_util::stream::iter((0..128).map(move |_| {
        count.fetch_add(MEGABYTE, Ordering::SeqCst);
        Ok::<_, std::io::Error>(vec![b' '; MEGABYTE])
    }));
    let request = user
        .request(Method::POST, "/conversations")
        .header("content-type", "application/json");
    match user.try_send(request.body(reqwest::Body::wrap_stream(endless))).await {
        Ok(reply) => assert_problem(&reply, 413, "an endless body"),
        // The server does not listen for ever, and who goes on talking does not hear its answer.
        Err(error) => assert!(!error.is_timeout() && !error.is_connect(), "{error:?}"),
    }
    // It hears sixteen to let the client finish; some more fit into the sockets.
    let said = said.load(Ordering::SeqCst) / MEGABYTE;
    assert!((16..=48).contains(&said), "{said} megabytes were taken");
    assert_eq!(user.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn texts_have_their_limits_and_emojis_count_once() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let send = async |content: Value| user.try_send_without_waiting(&json!({ "content": content })).await;
    assert_eq!(send(json!("👋".repeat(10_000))).await.status, 202);
    for bad in [
        json!("👋".repeat(10_001)),
        json!(""),
        json!(" \n\t "),
        json!("nul \u{0}"),
        json!(null),
    ] {
        assert_problem(&send(bad.clone()).await, 422, "content");
    }
}
