//! What Cura asks a model on its own behalf: a reply that is no title is none, a reply that is no whole summary is asked for once
//! more, and never again without new text.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cura_tests::provider::{Step, answer, chunk, event};
use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::{Value, json};

const TITLE: &str = "Give the conversation below a title";
const SUMMARY: &str = "Summarise the conversation";

/// A reply with this end. What begins with "refusal: " comes where models say that they decline.
fn ended(text: &str, reason: &str) -> Vec<Step> {
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
    let text = match text.strip_prefix("refusal: ") {
        Some(refusal) => event(&json!({ "choices": [{ "index": 0, "delta": { "refusal": refusal } }] })),
        None => chunk(text),
    };
    vec![
        Step::Head,
        Step::Write(text + &event(&end) + "data: [DONE]\n\n"),
        Step::End,
    ]
}

async fn wait_for_jobs(cura: &Cura, queue: &str, times: i64) {
    eventually(&format!("{times} jobs of {queue} are done"), async || {
        let count = "SELECT count(*) FROM apalis.jobs WHERE job_type = $1 AND status = 'Done'";
        let count = sqlx::query_scalar::<_, i64>(count).bind(queue);
        (count.fetch_one(cura.database.pool()).await.unwrap() == times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_title_is_what_the_model_meant_or_stays_an_excerpt() {
    const FOUND: &str = "Trouble sleeping";
    // What is asked, the reply, how it ends, and the title.
    let cases = [
        ("one", "<think>Hm.</think>\n\nTrouble sleeping", "stop", FOUND),
        ("two", "{\"title\": \"Trouble sleeping\"}", "stop", FOUND),
        (
            "three",
            "```json\n{\"title\": \"Trouble sleeping\"}\n```",
            "stop",
            FOUND,
        ),
        ("four", "Sure! Here is a title:\n\n**Trouble sleeping**", "stop", FOUND),
        (
            "five",
            "I'm sorry, but I can't assist with that.",
            "stop",
            "question five",
        ),
        ("six", "Trouble sleeping", "content_filter", "question six"),
        ("seven", "Trouble sle", "length", "question seven"),
        ("eight", "Trouble sleeping\nI chose this bec", "length", FOUND),
        ("nine", "😴", "stop", "question nine"),
        ("ten", "{\"title\": \"Trouble", "length", "question ten"),
        (
            "eleven",
            "refusal: That is not for me to name.",
            "stop",
            "question eleven",
        ),
    ];
    let provider = ScriptedProvider::start(move |_, asked| {
        let body = asked.body.to_string();
        let case = cases
            .iter()
            .find(|(asked, ..)| body.contains(&format!("question {asked}")));
        match case {
            Some((_, reply, end, _)) if body.contains(TITLE) => ended(reply, end),
            _ => answer(&["That is hard."], Duration::ZERO),
        }
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "true")
        .start()
        .await;
    let user = cura.user().await;
    let mut conversations = Vec::new();
    for (asked, ..) in cases {
        let sent = user.send_message(&Value::Null, &format!("question {asked}")).await;
        conversations.push(sent["conversation_id"].clone());
    }
    wait_for_jobs(&cura, "title-conversation", i64::try_from(cases.len()).unwrap()).await;
    for ((asked, reply, _, expected), conversation) in cases.iter().zip(&conversations) {
        let title = user.get(&format!("/conversations/{conversation}")).await.body["title"].clone();
        assert_eq!(title, *expected, "{asked}: {reply}");
    }
    let titles = provider
        .requests()
        .iter()
        .filter(|asked| asked.body.to_string().contains(TITLE))
        .count();
    assert_eq!(titles, cases.len(), "none is asked for twice");
    cura.check_invariants().await;
}

/// The summaries that are stored, and how often one was asked for, when the model gives these replies.
async fn summaries(replies: &'static [(&'static str, &'static str)]) -> (Vec<String>, usize) {
    let tries = AtomicUsize::new(0);
    let provider = ScriptedProvider::start(move |_, asked| {
        if !asked.body.to_string().contains(SUMMARY) {
            return answer(&["x".repeat(2400)], Duration::ZERO);
        }
        let number = tries.fetch_add(1, Ordering::SeqCst);
        let (reply, end) = replies[number.min(replies.len() - 1)];
        ended(reply, end)
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_MODEL_PROVIDER", "custom")
        .with("AI_CONTEXT_TOKENS", "1200")
        .start()
        .await;
    let user = cura.user().await;
    let mut conversation = Value::Null;
    for _ in 0..3 {
        conversation = user.send_message(&conversation, "I cannot sleep").await["conversation_id"].clone();
    }
    wait_for_jobs(&cura, "summarize-conversation", 1).await;
    let stored = sqlx::query_scalar("SELECT content FROM summaries ORDER BY message_id");
    let stored = stored.fetch_all(cura.database.pool()).await.unwrap();
    let asked = provider.requests();
    let asked = asked
        .iter()
        .filter(|asked| asked.body.to_string().contains(SUMMARY))
        .count();
    cura.check_invariants().await;
    (stored, asked)
}

#[tokio::test]
async fn a_summary_that_is_not_whole_is_asked_for_once_more() {
    for bad in [
        &[("Ann slee", "length"), ("Ann sleeps badly.", "stop")],
        &[
            ("Ann sleeps", "content_filter"),
            ("```\nAnn sleeps badly.\n```", "stop"),
        ],
        &[(" \n", "stop"), ("{\"summary\": \"Ann sleeps badly.\"}", "stop")],
        &[
            ("I'm sorry, but I can't help with that.", "stop"),
            ("**Summary:**\nAnn sleeps badly.", "stop"),
        ],
        &[("Got it.", "stop"), ("Ann sleeps badly.", "stop")],
        &[
            ("refusal: Ann's words are not for me to repeat.", "stop"),
            ("Ann sleeps badly.", "stop"),
        ],
    ] {
        let (stored, asked) = summaries(bad).await;
        assert!(!stored.is_empty(), "{bad:?}");
        assert_eq!(asked, stored.len() + 1, "one more than there are parts: {bad:?}");
        assert!(
            stored.iter().all(|summary| summary == "Ann sleeps badly."),
            "{stored:?}"
        );
    }
}

#[tokio::test]
async fn a_summary_that_is_not_whole_again_is_left_out() {
    for bad in [
        &[("Ann slee", "length")],
        &[("Done.", "stop")],
        &[("refusal: Ann's words are not for me to repeat.", "stop")],
        // Nothing but white space is asked for once more at once; that is the one further call.
        &[(" \n", "stop"), ("I'm sorry, but I can't help with that.", "stop")][..],
    ] {
        let (stored, asked) = summaries(bad).await;
        assert_eq!((stored, asked), (Vec::<String>::new(), 2), "{bad:?}");
    }
}
