//! Models that take no pictures, and operators who give them none.

use std::time::Duration;

use cura_tests::provider::{Request, answer, event, refusal};
use cura_tests::{Cura, ScriptedProvider, Step};
use serde_json::{Value, json};

use super::{answers, ask, text, texts, upload, used};
use crate::files::samples;

fn has_picture(request: &Request) -> bool {
    request.body.to_string().contains("image_url")
}

/// A provider that refuses every request with a picture in this way.
async fn refusing(status: &'static str, body: Value) -> ScriptedProvider {
    ScriptedProvider::start(move |_, request| {
        if has_picture(request) {
            refusal(status, "", &body)
        } else {
            answer(&["I see."], Duration::ZERO)
        }
    })
    .await
}

async fn cura_with(provider: &ScriptedProvider, vision: &str) -> Cura {
    Cura::builder()
        .with_provider(provider)
        .with("AI_VISION", vision)
        .with("AI_TITLES", "false")
        .start()
        .await
}

#[tokio::test]
async fn a_model_that_takes_no_pictures_is_asked_again_without_and_not_again_with_them() {
    for (status, body) in [
        (
            "400 Bad Request",
            json!({ "error": { "message": "this-model is not a multimodal model", "code": 400 } }),
        ),
        (
            "500 Internal Server Error",
            json!({ "error": { "code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj" } }),
        ),
    ] {
        let provider = refusing(status, body).await;
        let cura = cura_with(&provider, "auto").await;
        let user = cura.user().await;
        let file = upload(&user, "p.png", samples::PNG).await;
        let sent = ask(&user, None, "What is it?", &[&file]).await;
        let answer = &sent["assistant_message"];
        assert_eq!(
            (&answer["status"], &answer["metadata"]["attempts"]),
            (&json!("sent"), &json!(1)),
            "{answer}"
        );
        assert_eq!(used(&sent), [(file, "left_out".to_owned())]);
        let asked = answers(&provider);
        assert_eq!(
            asked.iter().map(has_picture).collect::<Vec<_>>(),
            [true, false],
            "{status}"
        );
        assert!(texts(&asked[1]).contains("you cannot see pictures, so its content is not given to you"));
        assert!(
            asked[1].body["messages"]
                .as_array()
                .unwrap()
                .iter()
                .all(|message| message["content"].is_string())
        );
        // It is remembered, for others, too; and the provider is as healthy as before.
        let other = cura.client().register("other@example.com").await;
        let theirs = upload(&other, "q.png", samples::png_number(1)).await;
        for _ in 0..3 {
            ask(&other, None, "And this?", &[&theirs]).await;
        }
        assert!(!answers(&provider)[2..].iter().any(has_picture));
        assert_eq!(provider.trials(), 0, "{status}: no failure at the gate");
        let health = cura.client().get("/health").await.body;
        assert_eq!(health["ai_service"]["status"], "up", "{health}");
    }
}

#[tokio::test]
async fn a_refusal_that_says_nothing_is_tried_without_pictures_and_forgotten() {
    let provider = refusing("400 Bad Request", json!({ "error": { "message": "Bad Request" } })).await;
    let cura = cura_with(&provider, "auto").await;
    let user = cura.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    for _ in 0..2 {
        let sent = ask(&user, None, "What is it?", &[&file]).await;
        assert_eq!(used(&sent), [(file.clone(), "left_out".to_owned())]);
    }
    let asked: Vec<bool> = answers(&provider).iter().map(has_picture).collect();
    assert_eq!(asked, [true, false, true, false]);
}

#[tokio::test]
async fn operators_say_whether_pictures_are_given() {
    let no = json!({ "error": { "message": "image input is not supported" } });
    let provider = refusing("400 Bad Request", no.clone()).await;
    let off = cura_with(&provider, "off").await;
    let user = off.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    let sent = ask(&user, None, "What is it?", &[&file]).await;
    assert_eq!(used(&sent), [(file, "left_out".to_owned())]);
    assert!(!answers(&provider).iter().any(has_picture));
    let provider = refusing("400 Bad Request", no).await;
    let on = cura_with(&provider, "on").await;
    let user = on.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    for _ in 0..2 {
        let sent = ask(&user, None, "What is it?", &[&file]).await;
        assert_eq!(
            used(&sent),
            [(file.clone(), "left_out".to_owned())],
            "the person has an answer all the same"
        );
    }
    let asked: Vec<bool> = answers(&provider).iter().map(has_picture).collect();
    assert_eq!(asked, [true, false, true, false], "it is tried each time");
}

#[tokio::test]
async fn a_fallback_that_takes_no_pictures_answers_without() {
    let first = ScriptedProvider::start(|_, _| refusal("503 Service Unavailable", "", &json!({}))).await;
    let second = refusing(
        "400 Bad Request",
        json!({ "error": { "message": "image input is not supported" } }),
    )
    .await;
    let cura = Cura::builder()
        .with_provider(&first)
        .with("AI_FALLBACK_URL", second.url())
        .with("AI_FALLBACK_PROVIDER", "custom")
        .with("AI_TITLES", "false")
        .start()
        .await;
    let user = cura.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    let sent = ask(&user, None, "What is it?", &[&file]).await;
    assert_eq!(sent["assistant_message"]["metadata"]["provider"], "custom");
    assert_eq!(
        used(&sent),
        [(file, "left_out".to_owned())],
        "what the model had that answered"
    );
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_sent_with_less_of_its_documents() {
    let provider = ScriptedProvider::start(|_, request| {
        if texts(request).len() > 10_000 {
            let body = json!({ "error": { "message": "too long", "code": "context_length_exceeded" } });
            refusal("400 Bad Request", "", &body)
        } else {
            answer(&["I see."], Duration::ZERO)
        }
    })
    .await;
    let cura = cura_with(&provider, "auto").await;
    let user = cura.user().await;
    let letter = upload(
        &user,
        "letter.pdf",
        super::pdf_of(30, "Dear Ann, the results are good."),
    )
    .await;
    let sent = ask(&user, None, "What does it say?", &[&letter]).await;
    assert_eq!(sent["assistant_message"]["status"], "sent", "{sent}");
    assert_eq!(used(&sent), [(letter, "cut".to_owned())]);
    let last = answers(&provider).last().unwrap().clone();
    let question = text(last.body["messages"].as_array().unwrap().last().unwrap());
    assert!(
        question.starts_with("<document name=\"letter.pdf\" part=\"pages 1-")
            && question.ends_with("What does it say?")
    );
}

#[tokio::test]
async fn pictures_that_make_a_body_too_large_shorten_nobodys_words() {
    let provider = refusing("413 Payload Too Large", json!("too large")).await;
    let cura = cura_with(&provider, "auto").await;
    let user = cura.user().await;
    let story = "I could not sleep. ".repeat(400);
    let first = ask(&user, None, &story, &[]).await;
    let file = upload(&user, "p.png", samples::PNG).await;
    let sent = ask(&user, Some(&first["conversation_id"]), "What is it?", &[&file]).await;
    assert_eq!(used(&sent), [(file, "left_out".to_owned())]);
    let other = cura.client().register("other@example.com").await;
    let begun = ask(&other, None, &story, &[]).await;
    ask(&other, Some(&begun["conversation_id"]), "And now?", &[]).await;
    let asked = answers(&provider);
    assert_eq!(
        asked.iter().map(has_picture).collect::<Vec<_>>(),
        [false, true, false, false, false]
    );
    for request in &asked[1..3] {
        assert!(texts(request).contains(&story), "with what was said before");
    }
    assert!(texts(&asked[4]).contains(&story), "others' words are as long as before");
}

#[tokio::test]
async fn a_refusal_within_an_answer_is_one_of_pictures_too() {
    let provider = ScriptedProvider::start(|_, request| {
        if has_picture(request) {
            let error = json!({ "error": { "message": "image input is not supported", "code": 500 } });
            vec![Step::Head, Step::Write(event(&error)), Step::End]
        } else {
            answer(&["I see."], Duration::ZERO)
        }
    })
    .await;
    let cura = cura_with(&provider, "auto").await;
    let user = cura.user().await;
    let file = upload(&user, "p.png", samples::PNG).await;
    let sent = ask(&user, None, "What is it?", &[&file]).await;
    assert_eq!(sent["assistant_message"]["status"], "sent");
    assert_eq!(used(&sent), [(file, "left_out".to_owned())]);
    assert_eq!(answers(&provider).len(), 2);
}
