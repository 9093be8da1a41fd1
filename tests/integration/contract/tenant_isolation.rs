//! Tenant isolation: on every operation, in paths, bodies, cursors and resume ids, the response for another user's id is
//! byte for byte the response for an id that does not exist.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cura_tests::operations::{PART, operations};
use cura_tests::problem::assert_problem;
use cura_tests::{Client, Cura, Form, ScriptedProvider};
use reqwest::Method;
use serde_json::{Value, json};

/// An id that does not exist.
const NOBODYS: i64 = 999_999_999;

/// What comes back, without what differs between any two requests.
async fn answer(request: reqwest::RequestBuilder) -> (u16, Vec<(String, String)>, String) {
    let response = request.send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let mut headers: Vec<(String, String)> = response
        .headers()
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let body = response.text().await.unwrap().replace(&id, "{request}");
    (status, headers, body)
}

fn picture() -> Form {
    Form::of("a.png", include_bytes!("../../fixtures/files/alpha.png"))
}

/// What one operation is asked with an id of the given kinds.
struct Probe {
    method: Method,
    /// As in the OpenAPI document.
    template: &'static str,
    /// The path and body that name these ids.
    with: fn(Ids) -> (String, Option<Body>),
}

/// The body of a request that names ids.
enum Body {
    Json(Value),
    /// A file of this message.
    FileOf(i64),
    /// An upload in parts, of this message.
    UploadOf(i64),
    /// One of its parts.
    Part,
}

#[derive(Clone, Copy)]
struct Ids {
    conversation: i64,
    question: i64,
    answer: i64,
    session: i64,
    device: i64,
    file: i64,
    upload: i64,
}

fn probes() -> Vec<Probe> {
    let probe = |method: Method, template, with| Probe { method, template, with };
    vec![
        probe(Method::GET, "/conversations/{conversation_id}", |ids| {
            (format!("/conversations/{}", ids.conversation), None)
        }),
        probe(Method::PATCH, "/conversations/{conversation_id}", |ids| {
            (
                format!("/conversations/{}", ids.conversation),
                Some(Body::Json(json!({ "title": "mine" }))),
            )
        }),
        probe(Method::PATCH, "/conversations/{conversation_id}", |ids| {
            (
                format!("/conversations/{}", ids.conversation),
                Some(Body::Json(json!({}))),
            )
        }),
        probe(Method::DELETE, "/conversations/{conversation_id}", |ids| {
            (format!("/conversations/{}", ids.conversation), None)
        }),
        probe(Method::GET, "/conversations/{conversation_id}/messages", |ids| {
            (format!("/conversations/{}/messages", ids.conversation), None)
        }),
        probe(Method::POST, "/conversations/{conversation_id}/read", |ids| {
            (
                format!("/conversations/{}/read", ids.conversation),
                Some(Body::Json(json!({ "message_id": ids.answer }))),
            )
        }),
        probe(Method::POST, "/chat/send", |ids| {
            let body = json!({ "conversation_id": ids.conversation, "content": "Hi" });
            ("/chat/send".to_owned(), Some(Body::Json(body)))
        }),
        probe(Method::POST, "/chat/stream", |ids| {
            let body = json!({ "conversation_id": ids.conversation, "content": "Hi" });
            ("/chat/stream".to_owned(), Some(Body::Json(body)))
        }),
        probe(Method::POST, "/chat/stream/{conversation_id}", |ids| {
            (
                format!("/chat/stream/{}", ids.conversation),
                Some(Body::Json(json!({ "content": "Hi" }))),
            )
        }),
        probe(Method::GET, "/chat/messages/{message_id}", |ids| {
            (format!("/chat/messages/{}", ids.answer), None)
        }),
        probe(Method::GET, "/chat/messages/{message_id}/stream", |ids| {
            (format!("/chat/messages/{}/stream", ids.answer), None)
        }),
        probe(Method::GET, "/chat/messages/{message_id}/stream", |ids| {
            (format!("/chat/messages/{}/stream?after=1.3", ids.answer), None)
        }),
        probe(Method::POST, "/chat/messages/{message_id}/cancel", |ids| {
            (format!("/chat/messages/{}/cancel", ids.answer), None)
        }),
        probe(Method::POST, "/chat/messages/{message_id}/regenerate", |ids| {
            (format!("/chat/messages/{}/regenerate", ids.answer), None)
        }),
        probe(Method::POST, "/chat/messages/{message_id}/edit", |ids| {
            (
                format!("/chat/messages/{}/edit", ids.question),
                Some(Body::Json(json!({ "content": "mine" }))),
            )
        }),
        probe(Method::DELETE, "/auth/sessions/{session_id}", |ids| {
            (format!("/auth/sessions/{}", ids.session), None)
        }),
        probe(Method::POST, "/devices/register", |ids| {
            let body = json!({ "fcm_token": "another", "platform": "ios", "device_id": ids.device });
            ("/devices/register".to_owned(), Some(Body::Json(body)))
        }),
        probe(Method::DELETE, "/devices/{device_id}", |ids| {
            (format!("/devices/{}", ids.device), None)
        }),
        probe(Method::POST, "/uploads/file", |ids| {
            ("/uploads/file".to_owned(), Some(Body::FileOf(ids.question)))
        }),
        probe(Method::POST, "/uploads/resumable", |ids| {
            ("/uploads/resumable".to_owned(), Some(Body::UploadOf(ids.question)))
        }),
        probe(Method::HEAD, "/uploads/resumable/{upload_id}", |ids| {
            (format!("/uploads/resumable/{}", ids.upload), Some(Body::Part))
        }),
        probe(Method::PATCH, "/uploads/resumable/{upload_id}", |ids| {
            (format!("/uploads/resumable/{}", ids.upload), Some(Body::Part))
        }),
        probe(Method::DELETE, "/uploads/resumable/{upload_id}", |ids| {
            (format!("/uploads/resumable/{}", ids.upload), Some(Body::Part))
        }),
        probe(Method::GET, "/uploads/{upload_id}", |ids| {
            (format!("/uploads/{}", ids.file), None)
        }),
        probe(Method::DELETE, "/uploads/{upload_id}", |ids| {
            (format!("/uploads/{}", ids.file), None)
        }),
    ]
}

#[tokio::test]
async fn another_users_id_is_answered_byte_for_byte_like_an_id_that_does_not_exist() {
    let provider = ScriptedProvider::answering(&["Hello", " there"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.client().register("ann@example.com").await;
    let sent = ann.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    let session = ann.get("/auth/sessions").await.body["items"][0]["id"].as_i64().unwrap();
    let phone = json!({ "fcm_token": "anns", "platform": "android" });
    let device = ann.post("/devices/register", &phone).await.body;
    let id = |value: &Value| value.as_i64().unwrap();
    let file = ann.upload(picture()).await.body;
    let file = ann.until_scanned(&file["id"]).await;
    let begin = ann
        .request(Method::POST, "/uploads/resumable")
        .header("Tus-Resumable", "1.0.0");
    let begun = ann.send(begin.header("Upload-Length", "1000")).await;
    let upload = begun.header("location").unwrap().rsplit('/').next().unwrap();
    let anns = Ids {
        upload: upload.parse().unwrap(),
        conversation: id(&sent["conversation_id"]),
        question: id(&sent["user_message"]["id"]),
        answer: id(&sent["assistant_message"]["id"]),
        session,
        device: id(&device["id"]),
        file: id(&file["id"]),
    };
    let nobodys = Ids {
        conversation: NOBODYS,
        question: NOBODYS,
        answer: NOBODYS,
        session: NOBODYS,
        device: NOBODYS,
        file: NOBODYS,
        upload: NOBODYS,
    };
    let bob = cura.client().register("bob@example.com").await;
    let before = ann
        .get(&format!("/conversations/{}/messages", anns.conversation))
        .await
        .body;
    for probe in probes() {
        let ask = async |ids: Ids| {
            let (path, body) = (probe.with)(ids);
            let request = bob.request(probe.method.clone(), &path);
            let request = match body {
                Some(Body::Json(body)) => request.json(&body),
                Some(Body::FileOf(message)) => bob.upload_request(picture().field("message_id", message)),
                Some(Body::UploadOf(message)) => {
                    let metadata = format!("message_id {}", BASE64_STANDARD.encode(message.to_string()));
                    let request = request.header("Tus-Resumable", "1.0.0").header("Upload-Length", "1000");
                    request.header("Upload-Metadata", metadata)
                }
                Some(Body::Part) => {
                    let request = request.header("Tus-Resumable", "1.0.0").header("Upload-Offset", "0");
                    request.header("content-type", PART).body("bytes")
                }
                None => request,
            };
            answer(request).await
        };
        let (theirs, nobodys) = (ask(anns).await, ask(nobodys).await);
        assert_eq!(theirs.0, 404, "{} {}: {theirs:?}", probe.method, probe.template);
        assert_eq!(theirs, nobodys, "{} {}", probe.method, probe.template);
    }
    let after = ann
        .get(&format!("/conversations/{}/messages", anns.conversation))
        .await
        .body;
    assert_eq!(before, after, "nothing was changed");
    let left = ann.get("/uploads").await.body;
    let shown = |file: &Value| [file["id"].clone(), file["sha256"].clone(), file["status"].clone()];
    assert_eq!(
        left["items"].as_array().unwrap().iter().map(shown).collect::<Vec<_>>(),
        [shown(&file)],
        "nor deleted"
    );
    assert_eq!(ann.get("/users/me").await.status, 200, "still signed in");
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn every_operation_that_names_something_is_probed() {
    let cura = Cura::without_workers().await;
    let mut named = BTreeSet::new();
    for operation in operations(&cura).await {
        let schema = &operation.described["requestBody"]["content"];
        let schema = schema.to_string();
        let names_in_body = ["SendMessageRequest", "RegisterDeviceRequest", "\"message_id\""]
            .iter()
            .any(|name| schema.contains(name));
        let names_in_header = operation.described["parameters"]
            .to_string()
            .contains("Upload-Metadata");
        let template = operation.template;
        // A socket closes with the same code for both: see sockets.rs. A link opens what it was signed for, whoever has it: see links.rs.
        let is_elsewhere = ["/chat/ws", "/files/"].iter().any(|path| template.starts_with(path));
        if (template.contains('{') || names_in_body || names_in_header) && !is_elsewhere {
            named.insert((operation.method.to_string(), template));
        }
    }
    let probed: BTreeSet<(String, String)> = probes()
        .into_iter()
        .map(|probe| (probe.method.to_string(), probe.template.to_owned()))
        .collect();
    assert_eq!(named, probed, "an operation names something and is not probed");
}

#[tokio::test]
async fn a_cursor_of_another_user_shows_only_own_items() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    for _ in 0..3 {
        ann.post("/conversations", &json!({ "title": "Ann's" })).await;
        bob.post("/conversations", &json!({ "title": "Bob's" })).await;
    }
    let page = ann.get("/conversations?limit=2").await;
    let cursor = page.body["next_cursor"].as_str().unwrap().to_owned();
    let bobs = bob.get(&format!("/conversations?cursor={cursor}")).await.body;
    assert!(
        bobs["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["title"] == "Bob's"),
        "{bobs}"
    );
    for n in 0..3 {
        ann.upload(picture()).await;
        bob.upload(picture().field("note", n)).await;
    }
    let page = ann.get("/uploads?limit=2").await;
    let bobs_page = bob.get("/uploads").await.body;
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let there = bob.get(&format!("/uploads?cursor={cursor}")).await.body;
    let bobs_files = bobs_page["items"].as_array().unwrap();
    assert!(
        there["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|file| bobs_files.contains(file)),
        "{there}"
    );
    let key = async |client: &Client| {
        let request = client
            .request(Method::POST, "/chat/send")
            .header("Idempotency-Key", "same");
        let request = request.header("Prefer", "wait=0").json(&json!({ "content": "Hi" }));
        client.send(request).await
    };
    let (anns, bobs) = (key(&ann).await, key(&bob).await);
    assert_ne!(anns.body["conversation_id"], bobs.body["conversation_id"]);
    assert!(bobs.header("idempotent-replayed").is_none());
}

#[tokio::test]
async fn every_route_that_needs_a_token_says_so_before_anything_else() {
    let cura = Cura::without_workers().await;
    let mut closed = 0;
    for operation in operations(&cura).await {
        let path = operation.path("1");
        if operation.is_open() {
            // A socket says in its closing who is not signed in: a browser shows its page no status. A link is signed instead.
            let open = ["/auth", "/health", "/chat/ws", "/files/"];
            // A question of TUS, what is supported, is the same for everybody.
            let is_question = operation.method == Method::OPTIONS;
            assert!(
                is_question || open.iter().any(|open| path.starts_with(open)),
                "{path} is open"
            );
            continue;
        }
        closed += 1;
        // The answer to HEAD has no body.
        let is_head = operation.method == Method::HEAD;
        let request = cura.client().request(operation.method, &path);
        let reply = cura.client().send(request.body("garbage")).await;
        if is_head {
            assert_eq!(reply.status, 401, "{path}");
        } else {
            assert_problem(&reply, 401, &path);
        }
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    assert!(closed >= 9, "{closed}");
}
