//! The file store is away, the file is gone, the worker dies.

use std::time::Duration;

use cura_tests::provider::{Latch, answer};
use cura_tests::{Cura, ScriptedProvider, Step, eventually};
use reqwest::Method;
use serde_json::json;

use super::{answering, answers, ask, number, text, upload, used};
use crate::files::{execute, samples};

/// Takes the file store away: the folder has another name until it is put back.
struct StoreAway {
    folder: std::path::PathBuf,
    elsewhere: std::path::PathBuf,
}

impl StoreAway {
    fn begin(cura: &Cura) -> Self {
        let folder = cura.data.path().join("files");
        let elsewhere = cura.data.path().join("elsewhere");
        std::fs::rename(&folder, &elsewhere).unwrap();
        // What is no folder can neither be read nor made one.
        std::fs::write(&folder, b"").unwrap();
        Self { folder, elsewhere }
    }

    fn end(self) {
        std::fs::remove_file(&self.folder).unwrap();
        std::fs::rename(&self.elsewhere, &self.folder).unwrap();
    }
}

#[tokio::test]
async fn an_answer_waits_for_a_store_that_is_away_and_spends_no_attempt() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    let away = StoreAway::begin(&cura);
    let body = json!({ "content": "What is it?", "attachments": [file] });
    let answer = user.send_without_waiting(&body).await.body["assistant_message"]["id"].clone();
    eventually("the answer waits for the store", async || {
        let waits = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'generate-answer' AND status = 'Pending' AND run_at > now()
                     AND attempts <= 1";
        (cura.database.count(waits).await == 1).then_some(())
    })
    .await;
    assert!(provider.requests().is_empty(), "nothing is asked without the picture");
    away.end();
    let message = user.until_final(&answer).await;
    assert_eq!(message["status"], "sent");
    assert_eq!(message["metadata"]["files"], json!([{ "id": file, "used": "whole" }]));
    cura.check_invariants().await;
}

#[tokio::test]
async fn after_a_minute_an_answer_goes_on_without_the_picture_and_says_so() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    let away = StoreAway::begin(&cura);
    let body = json!({ "content": "What is it?", "attachments": [file] });
    let answer = user.send_without_waiting(&body).await.body["assistant_message"]["id"].clone();
    eventually("the answer has begun to wait", async || {
        let begun = format!("SELECT id FROM messages WHERE id = {answer} AND started_at IS NOT NULL");
        number(&cura, begun).await
    })
    .await;
    execute(
        &cura,
        &format!("UPDATE messages SET started_at = started_at - interval '61 seconds' WHERE id = {answer}"),
    )
    .await;
    let message = user.until_final(&answer).await;
    assert_eq!(
        message["metadata"]["files"],
        json!([{ "id": file, "used": "left_out" }]),
        "{message}"
    );
    let asked = answers(&provider);
    assert!(text(&asked[0].body["messages"][1]).contains("\"p.png\": it could not be opened"));
    away.end();
}

#[tokio::test]
async fn an_object_that_is_gone_is_a_line_at_once() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    let key: String = sqlx::query_scalar("SELECT object_key FROM file_pictures WHERE variant = 'model'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    std::fs::remove_file(cura.data.path().join("files").join(key)).unwrap();
    let sent = ask(&user, None, "What is it?", &[&file]).await;
    assert_eq!(used(&sent), [(file, "left_out".to_owned())]);
    assert!(text(&answers(&provider)[0].body["messages"][1]).contains("could not be opened"));
}

#[tokio::test]
async fn a_deleted_file_is_given_to_no_later_question() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let (picture, letter) = (
        upload(&user, "p.png", samples::PNG).await,
        upload(&user, "l.pdf", super::pdf_of(1, "A secret.")).await,
    );
    let first = ask(&user, None, "Look", &[&picture, &letter]).await;
    for file in [&picture, &letter] {
        let deleted = user
            .send(user.request(Method::DELETE, &format!("/uploads/{file}")))
            .await;
        assert_eq!(deleted.status, 204);
    }
    let second = ask(&user, Some(&first["conversation_id"]), "And now?", &[]).await;
    assert_eq!(second["assistant_message"]["metadata"].get("files"), None);
    let last = answers(&provider).last().unwrap().body.to_string();
    assert!(
        !last.contains("A secret") && !last.contains("image_url") && !last.contains("p.png"),
        "{last}"
    );
}

#[tokio::test]
async fn a_lost_attempt_costs_its_pictures_too() {
    let latch = Latch::default();
    let held = latch.clone();
    let provider = ScriptedProvider::start(move |nth, _| {
        let mut steps = answer(&["I ", "see."], Duration::ZERO);
        if nth == 0 {
            steps.insert(3, Step::Wait(held.clone()));
        }
        steps
    })
    .await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "false")
        .start()
        .await;
    let user = cura.user().await;
    let file = upload(&user, "me.jpg", crate::scan::pictures::photo(800, 600)).await;
    let body = json!({ "content": "What is it?", "attachments": [file] });
    let answer = user.send_without_waiting(&body).await.body["assistant_message"]["id"].clone();
    eventually("its text is saved", async || {
        let saved = format!("SELECT id FROM messages WHERE id = {answer} AND content <> '' AND files_used IS NOT NULL");
        number(&cura, saved).await
    })
    .await;
    cura.workers[0].kill();
    cura.add_worker().await;
    let message = user.until_final(&answer).await;
    assert_eq!(
        message["metadata"]["files"],
        json!([{ "id": file, "used": "whole" }]),
        "{message}"
    );
    let lost = format!("SELECT input_tokens FROM answer_attempts WHERE message_id = {answer} AND outcome = 'lost'");
    let tokens = number(&cura, lost).await.unwrap();
    assert!((25_500..27_000).contains(&tokens), "{tokens}");
    latch.open();
}
