//! Cursors that were not issued and malformed idempotency keys are refused before anything happens.

use cura_tests::Cura;
use cura_tests::problem::assert_problem;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_cursor_that_was_not_issued_is_refused() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    // c-8000000000000000000.1, c.1, m1 (of another list), and no base64 at all.
    for bad in ["Yy04MDAwMDAwMDAwMDAwMDAwMDAwLjE", "Yy4x", "bTE", "%2F%2F", "Y"] {
        assert_problem(&user.get(&format!("/conversations?cursor={bad}")).await, 400, bad);
    }
}

#[tokio::test]
async fn a_bad_cursor_is_refused_before_the_stream_opens() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await.body;
    let answer = &sent["assistant_message"]["id"];
    for bad in ["x", "1.-1", "1.2.3", "99999999999.0"] {
        let path = format!("/chat/messages/{answer}/stream?after={bad}");
        assert_problem(&user.get(&path).await, 400, bad);
    }
}

#[tokio::test]
async fn a_bad_idempotency_key_is_refused() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for bad in ["", "with space", &"x".repeat(300)] {
        let request = user.request(Method::POST, "/chat/send").header("Idempotency-Key", bad);
        let reply = user.send(request.json(&json!({ "content": "Hi" }))).await;
        assert_problem(&reply, 400, bad);
    }
}
