//! The OpenAPI document: served with its pages, and true of the events that are sent.

use std::time::Duration;

use cura_tests::problem::assert_problem;
use cura_tests::{Cura, ScriptedProvider};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_document_and_its_pages_are_served_and_load_nothing_from_elsewhere() {
    let cura = Cura::without_workers().await;
    let document = cura.client().get("/openapi.json").await;
    assert_eq!(document.status, 200);
    assert_eq!(document.body["openapi"], "3.0.0");
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(30));
    let http = http.build().unwrap();
    let base = &cura.servers[0].base;
    let docs = http.get(format!("{base}/docs")).send().await.unwrap();
    assert_eq!(
        (docs.status().as_u16(), docs.headers()["location"].to_str().unwrap()),
        (308, "/docs/")
    );
    for path in ["/docs/", "/docs/swagger-initializer.js", "/redoc"] {
        let page = http.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        assert!(
            page.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("'self'")
        );
        let text = page.text().await.unwrap();
        assert!(
            !text.contains("fonts.googleapis.com") && !text.contains("validator.swagger.io"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_pages_of_the_document_say_which_methods_they_have() {
    let cura = Cura::without_workers().await;
    for path in ["/openapi.json", "/docs/", "/redoc"] {
        let reply = cura.client().post(path, &json!({})).await;
        assert_problem(&reply, 405, path);
        assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{path}");
    }
}

#[tokio::test]
async fn every_event_is_as_the_document_says() {
    let provider = ScriptedProvider::answering(&["One ", "two ", "three ", "four"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut document = user.get("/openapi.json").await.body;
    as_json_schema(&mut document);
    let schema = json!({ "$ref": "#/components/schemas/Event", "components": document["components"] });
    let event = jsonschema::validator_for(&schema).unwrap();
    let mut stream = user.watch(None).await;
    let sent = user
        .post("/chat/send", &json!({ "content": "I want to kill myself" }))
        .await;
    let mut seen = stream.until("complete").await;
    let delete = user.request(
        Method::DELETE,
        &format!("/conversations/{}", sent.body["conversation_id"]),
    );
    user.send(delete).await;
    seen.extend(stream.until("conversation").await);
    let mut lost = user.watch(Some("99")).await;
    seen.push(lost.next().await.unwrap());
    user.post("/auth/logout-all", &Value::Null).await;
    seen.extend(lost.rest().await);
    for received in seen {
        let wrong: Vec<String> = event
            .iter_errors(&received.data)
            .map(|error| error.to_string())
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", received.data);
    }
}

/// OpenAPI 3.0 says `nullable` where JSON Schema has another type.
fn as_json_schema(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.remove("nullable").is_some()
                && let Some(kind) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([kind, "null"]));
            }
            fields.values_mut().for_each(as_json_schema);
        }
        Value::Array(items) => items.iter_mut().for_each(as_json_schema),
        _ => {}
    }
}
