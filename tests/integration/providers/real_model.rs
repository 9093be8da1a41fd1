//! A real model, SmolLM2 behind llama.cpp, in both dialects. It is small and says odd things, so these tests are about how, not
//! what, it answers. `make test-model` downloads and runs it.

use cura_tests::client::{names, text_after};
use cura_tests::{Client, Cura, CuraBuilder, ModelServer, eventually};
use serde_json::{Value, json};

/// The model's window, so small that conversations outgrow it soon.
const WINDOW_TOKENS: u32 = 512;
/// What it answers at length.
const LONG: &str = "Write a long story about a lighthouse keeper and his dog.";

/// One Cura for each dialect, with the model behind it.
async fn in_both_dialects(test: impl AsyncFn(ModelServer, CuraBuilder, &'static str)) {
    for dialect in ["custom", "anthropic"] {
        let model = ModelServer::start(WINDOW_TOKENS).await;
        let cura = Cura::builder()
            .with("AI_MODEL_URL", model.url())
            .with("AI_MODEL_PROVIDER", dialect)
            .with("AI_MODEL_NAME", "smollm2")
            .with("AI_PERSONA_FILE", persona())
            .with("AI_MAX_OUTPUT_TOKENS", "200");
        test(model, cura, dialect).await;
    }
}

/// A persona that such a small model can follow.
fn persona() -> String {
    let path = std::env::temp_dir().join(format!("cura-test-persona-{}", std::process::id()));
    std::fs::write(&path, "You are a friendly assistant.").expect("it can be written");
    path.display().to_string()
}

#[tokio::test]
#[ignore = "needs a real model: make test-model"]
async fn a_real_model_streams() {
    in_both_dialects(async |_model, cura, dialect| {
        let cura = cura.start().await;
        let user = cura.user().await;
        let seen = user.stream(LONG).await.rest().await;
        let last = seen.last().unwrap();
        assert_eq!(last.name, "complete", "{dialect}: {last:?}");
        let message = &last.data["message"];
        assert_eq!(message["content"], text_after("", &seen), "{dialect}");
        let chunks = names(&seen).iter().filter(|name| **name == "chunk").count();
        assert!(chunks > 3, "{dialect}: {chunks} chunks");
        let metadata = &message["metadata"];
        assert_eq!(metadata["usage"]["estimated"], false, "{dialect}: {metadata}");
        let model = metadata["model"].as_str().unwrap();
        assert!(!model.contains('/') && !model.ends_with(".gguf"), "{dialect}: {model}");
        cura.check_invariants().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a real model: make test-model"]
async fn a_cancelled_answer_stops_the_real_model() {
    in_both_dialects(async |model, cura, dialect| {
        let cura = cura.start().await;
        let user = cura.user().await;
        let mut stream = user.stream(LONG).await;
        let begun = stream.until("chunk").await;
        assert_eq!(model.generating().await, 1, "{dialect}");
        let cancelled = user.cancel(&begun[0].data["message_id"]).await.body;
        assert_eq!(
            cancelled["metadata"]["finish_reason"], "cancelled",
            "{dialect}: {cancelled}"
        );
        eventually("the model stops", async || {
            (model.generating().await == 0).then_some(())
        })
        .await;
        cura.check_invariants().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a real model: make test-model"]
async fn an_answer_goes_on_when_the_real_model_was_killed() {
    in_both_dialects(async |mut model, cura, dialect| {
        let cura = cura.start().await;
        let user = cura.user().await;
        let mut stream = user.stream(LONG).await;
        let mut seen = stream.until("chunk").await;
        model.kill();
        model.restart().await;
        seen.extend(stream.rest().await);
        let last = seen.last().unwrap();
        assert_eq!(last.name, "complete", "{dialect}: {last:?}");
        assert_eq!(last.data["message"]["content"], text_after("", &seen), "{dialect}");
        cura.check_invariants().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a real model: make test-model"]
async fn a_conversation_that_outgrows_the_real_models_window_ten_times_goes_on() {
    in_both_dialects(async |_model, cura, dialect| {
        let cura = cura.with("AI_MAX_OUTPUT_TOKENS", "30").start().await;
        let user = cura.user().await;
        // About half a window each.
        let long = "The sea was calm that day, and the gulls sat on the wall. ".repeat(16);
        let mut conversation = Value::Null;
        for number in 0..20 {
            let asked = format!("Part {number} of my story: {long} What do you think of it?");
            let which = format!("{dialect}, message {number}");
            conversation = answered(&user, &conversation, &asked, &which).await;
        }
        answered(
            &user,
            &conversation,
            "Thank you! What is your name?",
            &format!("{dialect}, a short message"),
        )
        .await;
        cura.check_invariants().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a real model: make test-model"]
async fn the_real_models_titles_and_summaries_are_texts() {
    in_both_dialects(async |_model, cura, dialect| {
        let cura = cura
            .with("AI_TITLES", "true")
            .with("AI_CONTEXT_TOKENS", "500")
            .with("AI_MAX_OUTPUT_TOKENS", "30")
            .start()
            .await;
        let user = cura.user().await;
        let long = "I walk by the sea each morning with my dog, whose name is Bob. ".repeat(10);
        let mut conversation = Value::Null;
        for number in 0..6 {
            let which = format!("{dialect}, day {number}");
            conversation = answered(&user, &conversation, &format!("Day {number}. {long}"), &which).await;
        }
        eventually("titles and summaries are made, or given up", async || {
            let open =
                "SELECT count(*) FROM apalis.jobs WHERE job_type IN ('title-conversation', 'summarize-conversation')
                AND status NOT IN ('Done', 'Killed')";
            (cura.database.count(open).await == 0).then_some(())
        })
        .await;
        let title = user.get(&format!("/conversations/{conversation}")).await.body["title"].clone();
        let title = title.as_str().unwrap().to_owned();
        assert!(
            !title.trim().is_empty() && title.chars().count() <= 255,
            "{dialect}: {title:?}"
        );
        assert!(!title.contains(['\n', '{', '<', '`']), "{dialect}: {title:?}");
        let summaries = cura
            .database
            .count("SELECT count(*) FROM summaries WHERE trim(content) <> ''")
            .await;
        // It often talks until it is cut off, and half a summary is none.
        let is_left_out = cura.logs().contains("the model gave no whole summary");
        assert!(summaries > 0 || is_left_out, "{dialect}: no summary");
        println!("{dialect}: title {title:?}, {summaries} summaries");
        cura.check_invariants().await;
    })
    .await;
}

/// Sends a message and waits for the answer; returns the conversation. Such a small model may end without a word, which is told
/// as such; nothing else may go wrong.
async fn answered(user: &Client, conversation: &Value, content: &str, which: &str) -> Value {
    let body = json!({ "conversation_id": conversation, "content": content });
    let sent = user.send_without_waiting(&body).await.body;
    let message = user.until_final(&sent["assistant_message"]["id"]).await;
    let is_blank = message["status"] == "error" && message["metadata"]["error"] == "empty_answer";
    assert!(message["status"] == "sent" || is_blank, "{which}: {message}");
    sent["conversation_id"].clone()
}
