//! Invalid fields: every one of a request in one answer, whichever layer finds it, and none twice.

use cura_tests::problem::assert_problem;
use cura_tests::{Client, Cura, Reply};
use reqwest::Method;
use serde_json::{Value, json};

/// What a refusal names, in its order.
fn named(refused: &Reply) -> Vec<(&str, &str)> {
    assert_problem(refused, 422, "invalid fields");
    let errors = refused.body["errors"].as_array().unwrap();
    let word = |error: &'_ Value, name: &str| -> &'static str { error[name].as_str().unwrap().to_owned().leak() };
    errors
        .iter()
        .map(|error| (word(error, "pointer"), word(error, "code")))
        .collect()
}

async fn call(client: &Client, method: Method, path: &str, body: &Value) -> Reply {
    client.send(client.request(method, path).json(body)).await
}

#[tokio::test]
async fn every_invalid_field_of_a_body_is_named_at_once() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let made = ann.post("/conversations", &json!({})).await.body["id"].clone();
    let stream = format!("/chat/stream/{made}");
    let long = "x".repeat(256);
    for (method, path, body, expected) in [
        (
            Method::POST,
            "/auth/register",
            json!({ "email": "nope", "password": "x" }),
            vec![("/email", "invalid_format"), ("/password", "too_short")],
        ),
        (
            Method::POST,
            "/auth/register",
            json!({ "email": "nope", "password": "password", "name": "a\nb", "role": "admin" }),
            vec![
                ("/email", "invalid_format"),
                ("/name", "invalid_format"),
                ("/password", "weak_password"),
                ("/role", "not_allowed"),
            ],
        ),
        (
            Method::POST,
            "/auth/register",
            json!({ "email": format!("{}@example.org", "ह".repeat(30)), "name": 7 }),
            vec![
                ("/email", "too_long"),
                ("/name", "invalid_type"),
                ("/password", "required"),
            ],
        ),
        (
            Method::POST,
            "/auth/login",
            json!({ "email": "nope", "password": 7, "device_name": long }),
            vec![
                ("/device_name", "too_long"),
                ("/email", "invalid_format"),
                ("/password", "invalid_type"),
            ],
        ),
        (
            Method::POST,
            "/auth/password",
            json!({ "new_password": "iloveyou" }),
            vec![("/current_password", "required"), ("/new_password", "weak_password")],
        ),
        (
            Method::POST,
            "/chat/send",
            json!({ "content": " ", "on_busy": 3, "attachments": (1..12).collect::<Vec<i64>>() }),
            vec![("/attachments", "too_many"), ("/on_busy", "invalid_type")],
        ),
        (
            Method::POST,
            "/chat/send",
            json!({ "content": " ", "on_busy": 3, "attachments": [] }),
            vec![("/content", "invalid_content"), ("/on_busy", "invalid_type")],
        ),
        (
            Method::POST,
            &stream,
            json!({ "conversation_id": made.as_i64().unwrap() + 1, "content": "", "on_busy": "perhaps" }),
            vec![
                ("/content", "too_short"),
                ("/conversation_id", "mismatch"),
                ("/on_busy", "invalid_choice"),
            ],
        ),
        (
            Method::PATCH,
            &format!("/conversations/{made}"),
            json!({ "title": "a\u{0}b", "status": "gone" }),
            vec![("/status", "invalid_choice"), ("/title", "invalid_character")],
        ),
        (
            Method::PATCH,
            "/users/me",
            json!({ "timezone": "Mars/Olympus", "language": 7, "avatar_url": "x",
                "preferences": { "theme": 1, "notifications": { "push": "yes", "quiet_hours": { "start": "25:00" } } } }),
            vec![
                ("/avatar_url", "not_allowed"),
                ("/language", "invalid_type"),
                ("/preferences/notifications/push", "invalid_preferences"),
                ("/preferences/notifications/quiet_hours/start", "invalid_preferences"),
                ("/preferences/theme", "invalid_preferences"),
                ("/timezone", "unknown_timezone"),
            ],
        ),
        // What only the stored preferences make wrong: the other end of the quiet hours is missing.
        (
            Method::PATCH,
            "/users/me",
            json!({ "name": "a\nb", "preferences": { "notifications": { "quiet_hours": { "start": "22:00" } } } }),
            vec![
                ("/name", "invalid_format"),
                ("/preferences/notifications/quiet_hours/end", "invalid_preferences"),
            ],
        ),
    ] {
        let refused = call(&ann, method, path, &body).await;
        assert_eq!(named(&refused), expected, "{path} {body}");
    }
    assert_eq!(
        ann.get("/users/me").await.body["preferences"],
        json!({}),
        "nothing was changed"
    );
}

#[tokio::test]
async fn every_invalid_parameter_of_a_query_is_named_at_once() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let made = ann.post("/conversations", &json!({})).await.body["id"].clone();
    for (path, expected) in [
        ("/conversations?limit=0".to_owned(), vec![("?limit", "too_small")]),
        (
            "/conversations?limit=101&status=gone&cursor=x".to_owned(),
            vec![("?limit", "too_large"), ("?status", "invalid_choice")],
        ),
        (
            format!("/conversations/{made}/messages?order=up&limit=many"),
            vec![("?limit", "invalid_type"), ("?order", "invalid_choice")],
        ),
        ("/users/me/usage?days=".to_owned(), vec![("?days", "invalid_type")]),
    ] {
        assert_eq!(named(&ann.get(&path).await), expected, "{path}");
    }
    // What is invalid is told before what is malformed: the fields can be repaired at once.
    let malformed = ann.get("/conversations?limit=1&cursor=x").await;
    assert_eq!((malformed.status.as_u16(), malformed.code()), (400, "invalid_cursor"));
    let refused = cura.client().get("/conversations?limit=0").await;
    assert_eq!(refused.status, 401, "who is not signed in learns nothing of this");
}

/// Parameters of the query are judged before the body is read. Where an operation has both, what is wrong with the body would be missing.
#[tokio::test]
async fn no_operation_has_both_a_query_and_a_body() {
    let cura = Cura::without_workers().await;
    let document = cura.client().get("/openapi.json").await.body;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let queries = parameters.filter(|parameter| parameter["in"] == "query").count();
            assert!(
                queries == 0 || operation.get("requestBody").is_none(),
                "{method} {path}: let JsonBody check its query, too"
            );
        }
    }
}
