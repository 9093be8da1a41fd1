//! Pictures beside the text: made anew, upright, without a place, the newest ones.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cura_tests::{Cura, ScriptedProvider, provider};
use serde_json::{Value, json};

use super::{answering, answers, ask, text, upload, used};
use crate::files::samples;
use crate::scan::pictures::{PLACE, photo};

/// The pictures of a message of OpenAI's protocol, decoded.
fn pictures(message: &Value) -> Vec<Vec<u8>> {
    let parts = message["content"].as_array().into_iter().flatten();
    let urls = parts.filter(|part| part["type"] == "image_url");
    let data = urls.map(|part| {
        let url = part["image_url"]["url"].as_str().unwrap();
        let (head, data) = url.split_once(',').unwrap();
        assert!(
            head == "data:image/jpeg;base64" || head == "data:image/png;base64",
            "{head}"
        );
        STANDARD.decode(data).unwrap()
    });
    data.collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_photo_reaches_the_model_upright_and_without_its_place() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let photo = photo(2_000, 1_500);
    assert!(holds(&photo, PLACE));
    let file = upload(&user, "me.jpg", &photo).await;
    let sent = ask(&user, None, "What is it?", &[&file]).await;
    assert_eq!(used(&sent), [(file.clone(), "whole".to_owned())]);
    let request = answers(&provider)[0].clone();
    let question = request.body["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        question["content"][0]["type"], "image_url",
        "pictures come before the text"
    );
    assert!(text(&question).starts_with("What is it?\n\n[The person has attached the picture \"me.jpg\".]"));
    let given = pictures(&question);
    assert_eq!(given.len(), 1);
    let picture = image::load_from_memory(&given[0]).unwrap().to_rgb8();
    assert_eq!((picture.width(), picture.height()), (1_176, 1_568));
    let [red, _, blue] = picture.get_pixel(588, 3).0;
    assert!(red > blue, "red is above");
    for trace in [PLACE, b"Exif"] {
        assert!(!holds(&given[0], trace));
    }
    let body = request.body.to_string();
    assert!(!holds(body.as_bytes(), PLACE) && !body.contains("48 deg"));
    // The same after a while, whoever reads it.
    let read = user
        .get(&format!("/chat/messages/{}", sent["assistant_message"]["id"]))
        .await
        .body;
    assert_eq!(read["metadata"]["files"], json!([{ "id": file, "used": "whole" }]));
    assert_eq!(sent["user_message"]["metadata"].get("files"), None);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_message_without_a_picture_stays_a_plain_text() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    assert!(
        answers(&provider)[0].body["messages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|message| message["content"].is_string())
    );
    assert_eq!(sent["assistant_message"]["metadata"].get("files"), None);
}

#[tokio::test]
async fn a_picture_is_given_again_with_later_questions_and_older_ones_than_eight_are_a_line() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(upload(&user, &format!("{n}.png"), samples::png_number(n)).await);
    }
    let first = ask(&user, None, "These", &ids[..6].iter().collect::<Vec<_>>()).await;
    let conversation = &first["conversation_id"];
    let second = ask(
        &user,
        Some(conversation),
        "And those",
        &ids[6..].iter().collect::<Vec<_>>(),
    )
    .await;
    let whole = |sent: &Value| used(sent).iter().filter(|file| file.1 == "whole").count();
    assert_eq!((whole(&first), whole(&second)), (6, 8));
    let request = answers(&provider).last().unwrap().clone();
    let messages = request.body["messages"].as_array().unwrap();
    let given: Vec<usize> = messages.iter().map(|message| pictures(message).len()).collect();
    assert_eq!(given, [0, 4, 0, 4], "newest first, with their own messages");
    assert!(text(&messages[1]).contains("\"5.png\": there is no room for its content here"));
    // The newest come first in what the person is told.
    assert_eq!(used(&second)[0].0, ids[6]);
    assert_eq!(used(&second).len(), 10);
}

#[tokio::test]
async fn anthropic_is_given_pictures_and_pdfs_as_blocks() {
    let steps = provider::anthropic::answer(&["I see."], Duration::ZERO);
    let provider = ScriptedProvider::start(move |_, _| steps.clone()).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_MODEL_PROVIDER", "anthropic")
        .with("AI_TITLES", "false")
        .start()
        .await;
    let user = cura.user().await;
    let picture = upload(&user, "p.png", samples::PNG).await;
    // Pages without text.
    let scan = upload(&user, "scan.pdf", samples::PDF).await;
    let sent = ask(&user, None, "Read", &[&scan, &picture]).await;
    assert_eq!(
        sent["assistant_message"]["metadata"]["files"],
        json!([{ "id": scan, "used": "whole", "pages": 1, "page_count": 1 }, { "id": picture, "used": "whole" }])
    );
    let request = provider.requests()[0].clone();
    let question = &request.body["messages"][0]["content"];
    assert_eq!(
        (&question[0]["type"], &question[1]["type"]),
        (&json!("document"), &json!("image"))
    );
    let source = &question[0]["source"];
    assert_eq!(
        (&source["type"], &source["media_type"]),
        (&json!("base64"), &json!("application/pdf"))
    );
    assert_eq!(STANDARD.decode(source["data"].as_str().unwrap()).unwrap(), samples::PDF);
    assert_eq!(question[1]["source"]["media_type"], "image/jpeg", "it is made anew");
    assert!(question[2]["text"].as_str().unwrap().starts_with("Read\n\n[The person"));
}

#[tokio::test]
async fn a_pdf_without_text_is_a_line_where_the_provider_takes_none() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_MODEL_PROVIDER", "custom")
        .start()
        .await;
    let user = cura.user().await;
    let scan = upload(&user, "scan.pdf", samples::PDF).await;
    let sent = ask(&user, None, "Read", &[&scan]).await;
    assert_eq!(used(&sent), [(scan, "left_out".to_owned())]);
    let question = answers(&provider)[0].body["messages"][1].clone();
    assert!(
        text(&question).contains("\"scan.pdf\": no text was found in it"),
        "{question}"
    );
}
