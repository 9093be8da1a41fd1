//! What the model is given of files, and what the person is told of it.

mod documents;
mod failures;
mod pictures;
mod refused;

use std::time::Duration;

use cura_tests::bombs::pdf;
use cura_tests::provider::Request;
use cura_tests::{Client, Cura, Form, ScriptedProvider};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

async fn answering() -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    (Cura::with_provider(&provider).await, provider)
}

/// Uploads a file, waits until it is clean, and returns its id.
async fn upload(user: &Client, name: &str, bytes: impl AsRef<[u8]>) -> Value {
    let kept = user.upload(Form::of(name, bytes)).await;
    assert_eq!(kept.status, 201, "{}", kept.body);
    let file = user.until_scanned(&kept.body["id"]).await;
    assert_eq!(file["status"], "clean", "{file}");
    file["id"].clone()
}

/// Asks with these files, in this conversation or a new one, and returns the reply once it is final.
async fn ask(user: &Client, conversation: Option<&Value>, content: &str, files: &[&Value]) -> Value {
    let mut body = json!({ "content": content, "attachments": files });
    if let Some(conversation) = conversation {
        body["conversation_id"] = conversation.clone();
    }
    let sent = user.post("/chat/send", &body).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    sent.body
}

/// The only number that this query finds, once there is one.
async fn number(cura: &Cura, sql: String) -> Option<i64> {
    let row = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(cura.database.pool());
    row.await.unwrap()
}

/// What the answer says of the files: the ids and uses.
fn used(sent: &Value) -> Vec<(Value, String)> {
    let files = sent["assistant_message"]["metadata"]["files"].as_array();
    let uses = files.into_iter().flatten();
    uses.map(|file| (file["id"].clone(), file["used"].as_str().unwrap().to_owned()))
        .collect()
}

/// The requests for answers, titles aside.
fn answers(provider: &ScriptedProvider) -> Vec<Request> {
    let requests = provider.requests().into_iter();
    requests
        .filter(|request| request.body["max_completion_tokens"].is_null() && request.body["max_tokens"].is_null())
        .collect()
}

/// The text of a message of a request.
pub(super) fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        parts => parts.as_array().unwrap().last().unwrap()["text"]
            .as_str()
            .unwrap()
            .to_owned(),
    }
}

/// The text of all messages of a request.
fn texts(request: &Request) -> String {
    let messages = request.body["messages"].as_array().unwrap();
    messages.iter().map(text).collect::<Vec<_>>().join("\n---\n")
}

/// A PDF of so many pages, each with this text and its number.
fn pdf_of(pages: usize, says: &str) -> Vec<u8> {
    let numbers: Vec<String> = (0..pages).map(|n| format!("{} 0 R", 4 + n * 2)).collect();
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!(
            "<< /Type /Pages /Kids [ {} ] /Count {pages} /MediaBox [0 0 595 842] >>",
            numbers.join(" ")
        )
        .into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec(),
    ];
    for n in 0..pages {
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /Contents {} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
            5 + n * 2
        );
        let lines: String = (0..20)
            .map(|line| {
                format!(
                    "BT /F1 12 Tf 1 0 0 1 72 {} Tm ({says} Page {}, line {line}.) Tj ET\n",
                    700 - line * 20,
                    n + 1
                )
            })
            .collect();
        objects.push(page.into_bytes());
        objects.push(format!("<< /Length {} >>\nstream\n{lines}\nendstream", lines.len()).into_bytes());
    }
    pdf(&objects)
}
