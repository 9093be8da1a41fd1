//! Reading and listing files.

use cura_tests::{Cura, Form};
use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_code, samples};

#[tokio::test]
async fn files_are_listed_newest_first_page_by_page() {
    let cura = Cura::without_workers().await;
    let user = cura.client().register("ann@example.com").await;
    let other = cura.client().register("bob@example.com").await;
    let mut made: Vec<Value> = Vec::new();
    for n in 0..5 {
        let reply = user.upload(Form::of(&format!("{n}.png"), samples::png_number(n))).await;
        made.insert(0, reply.body);
        other.upload(Form::of("other.png", samples::PNG)).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/uploads?limit=2".to_owned());
    loop {
        let page = user.get(&path).await;
        assert_eq!(
            (page.status.as_u16(), page.header("x-total-count")),
            (200, Some("5")),
            "{}",
            page.body
        );
        seen.extend(page.body["items"].as_array().unwrap().clone());
        assert_eq!(page.body["has_more"], page.body["next_cursor"].is_string());
        let Some(cursor) = page.body["next_cursor"].as_str() else {
            assert_eq!(page.header("link"), None);
            break;
        };
        path = format!("/uploads?cursor={cursor}&limit=2");
        assert_eq!(page.header("link"), Some(format!("<{path}>; rel=\"next\"").as_str()));
    }
    assert_eq!(seen, made);
    let all = user.get("/uploads").await.body;
    assert_eq!(all, json!({ "items": made, "next_cursor": null, "has_more": false }));
    assert_code(
        &user.get("/uploads?cursor=bTc").await,
        400,
        "invalid_cursor",
        "a cursor of messages",
    );
    assert_code(
        &user.get("/uploads?limit=101").await,
        422,
        "validation_failed",
        "a long page",
    );
}

#[tokio::test]
async fn what_is_being_stored_is_shown_to_nobody() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let id = user.upload(Form::of("a.png", samples::PNG)).await.body["id"].clone();
    super::execute(&cura, "UPDATE files SET status = 'storing'").await;
    let path = format!("/uploads/{id}");
    assert_code(&user.get(&path).await, 404, "file_not_found", "read");
    let deleted = user.send(user.request(Method::DELETE, &path)).await;
    assert_code(&deleted, 404, "file_not_found", "deleted");
    let list = user.get("/uploads").await;
    assert_eq!(
        (
            list.body["items"].as_array().unwrap().len(),
            list.header("x-total-count")
        ),
        (0, Some("0"))
    );
}

#[tokio::test]
async fn what_is_known_of_a_file_is_shown() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let id = user.upload(Form::of("a.pdf", samples::PDF)).await.body["id"].clone();
    for (change, status, reason, findings) in [
        (
            "status = 'clean', findings = '{pdf_javascript,macros}'",
            "clean",
            Value::Null,
            json!(["pdf_javascript", "macros"]),
        ),
        (
            "status = 'infected', reason_code = 'malware', reason_signature = 'Eicar', findings = '{}'",
            "infected",
            json!({ "code": "malware", "signature": "Eicar" }),
            json!([]),
        ),
        (
            "status = 'failed', reason_code = 'limits_exceeded', reason_signature = NULL",
            "failed",
            json!({ "code": "limits_exceeded", "signature": null }),
            json!([]),
        ),
    ] {
        super::execute(&cura, &format!("UPDATE files SET {change}")).await;
        let shown = user.get(&format!("/uploads/{id}")).await.body;
        assert_eq!(
            (&shown["status"], &shown["reason"], &shown["findings"]),
            (&json!(status), &reason, &findings)
        );
    }
}
