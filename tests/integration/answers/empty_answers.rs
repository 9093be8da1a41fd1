//! An answer without text is no answer: it is asked for again, by the fallback if need be, and is never shown as an empty bubble.

use std::time::Duration;

use cura_tests::provider::{Request, answer, chunk, event, finish};
use cura_tests::{Cura, ScriptedProvider, Step};
use serde_json::{Value, json};

use super::provider_recovers::cut_after;

fn delta(delta: &Value, end: Option<&str>) -> Step {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": end });
    Step::Write(event(&json!({ "model": "scripted", "choices": [choice] })))
}

fn done() -> [Step; 2] {
    [Step::Write("data: [DONE]\n\n".to_owned()), Step::End]
}

/// All that a provider may call an answer without writing one.
fn empty_answers() -> Vec<(&'static str, Vec<Step>)> {
    let of = |events: Vec<Step>| [vec![Step::Head], events, done().to_vec()].concat();
    let thoughts = || delta(&json!({ "reasoning_content": "Hm." }), None);
    let call = json!({ "tool_calls": [{ "index": 0, "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } }] });
    let text = |text: &str| delta(&json!({ "content": text }), None);
    let end = |word| delta(&json!({}), Some(word));
    vec![
        ("thoughts", of(vec![thoughts(), end("length")])),
        ("thoughts that end well", of(vec![thoughts(), end("stop")])),
        ("a tool call", of(vec![delta(&call, None), end("tool_calls")])),
        ("white space", of(vec![text(" \n"), text("\n\n"), end("stop")])),
        ("what nobody can see", of(vec![text("\u{200b}\u{feff}"), end("stop")])),
        ("empty text", of(vec![text(""), end("stop")])),
        ("a filter", of(vec![end("content_filter")])),
        ("an end word alone", of(vec![end("stop")])),
        ("nothing at all", of(vec![])),
    ]
}

/// A provider that gives the empty answer of which the question has the number.
async fn empty() -> ScriptedProvider {
    ScriptedProvider::start(|_, asked| {
        let messages = asked.body["messages"].as_array().cloned().unwrap_or_default();
        let question = messages
            .last()
            .map(|message| message["content"].to_string())
            .unwrap_or_default();
        let number = question.trim_matches('"').parse::<usize>();
        let steps = number.ok().and_then(|number| empty_answers().into_iter().nth(number));
        steps.map_or_else(|| answer(&["Well"], Duration::ZERO), |(_, steps)| steps)
    })
    .await
}

fn requests_of(provider: &ScriptedProvider, number: usize) -> usize {
    let question = json!(number.to_string());
    let asks = |asked: &Request| {
        asked.body["messages"]
            .as_array()
            .and_then(|messages| messages.last())
            .map(|last| last["content"].clone())
    };
    provider
        .requests()
        .iter()
        .filter(|asked| asks(asked).as_ref() == Some(&question))
        .count()
}

#[tokio::test]
async fn an_empty_answer_of_any_kind_is_asked_for_once_more_and_then_an_error() {
    let provider = empty().await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    for (number, (name, _)) in empty_answers().into_iter().enumerate() {
        let seen = user.stream(&number.to_string()).await.rest().await;
        let last = seen.last().unwrap();
        assert_eq!(
            (last.name.as_str(), &last.data["code"], &last.data["retryable"]),
            ("error", &json!("empty_answer"), &json!(true)),
            "{name}: {seen:?}"
        );
        assert!(seen.iter().all(|event| event.name != "chunk"), "{name}: {seen:?}");
        let message = user
            .get(&format!("/chat/messages/{}", seen[0].data["message_id"]))
            .await
            .body;
        assert_eq!(
            (&message["status"], &message["content"]),
            (&json!("error"), &json!("")),
            "{name}"
        );
        assert!(
            message["metadata"]["usage"]["input_tokens"].as_i64() > Some(100),
            "both were paid for: {message}"
        );
        assert_eq!(requests_of(&provider, number), 2, "{name}");
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn the_fallback_answers_where_the_first_provider_stays_empty() {
    let first = empty().await;
    let fallback = ScriptedProvider::answering(&["All ", "is ", "well"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&first)
        .with("AI_FALLBACK_URL", fallback.url())
        .with("AI_FALLBACK_PROVIDER", "custom")
        .start()
        .await;
    let user = cura.user().await;
    for (number, (name, _)) in empty_answers().into_iter().enumerate() {
        let sent = user
            .post("/chat/send", &json!({ "content": number.to_string() }))
            .await
            .body;
        let message = &sent["assistant_message"];
        assert_eq!(message["content"], "All is well", "{name}: {message}");
        assert_eq!(
            (requests_of(&first, number), requests_of(&fallback, number)),
            (2, 1),
            "{name}"
        );
        assert_eq!(message["metadata"]["attempts"], 1, "{name}");
        let usage = &message["metadata"]["usage"];
        assert!(
            usage["input_tokens"].as_i64() > Some(107),
            "what brought nothing was paid for, too: {usage}"
        );
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn where_all_stay_empty_the_answer_is_an_error() {
    let (first, fallback) = (empty().await, empty().await);
    let cura = Cura::builder()
        .with_provider(&first)
        .with("AI_FALLBACK_URL", fallback.url())
        .with("AI_FALLBACK_PROVIDER", "custom")
        .start()
        .await;
    let user = cura.user().await;
    let sent = user.post("/chat/send", &json!({ "content": "0" })).await.body;
    assert_eq!(sent["assistant_message"]["metadata"]["error"], "empty_answer", "{sent}");
    assert_eq!((requests_of(&first, 0), requests_of(&fallback, 0)), (2, 1));
    let sent = user.post("/chat/send", &json!({ "content": "and now?" })).await.body;
    assert_eq!(sent["assistant_message"]["content"], "Well", "one can go on");
    cura.check_invariants().await;
}

#[tokio::test]
async fn white_space_before_the_text_is_part_of_it() {
    let provider = ScriptedProvider::answering(&["\n", " ", "All ", "\n", "well"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let sent = cura
        .user()
        .await
        .post("/chat/send", &json!({ "content": "Hi" }))
        .await
        .body;
    assert_eq!(sent["assistant_message"]["content"], "\n All \nwell");
    assert_eq!(provider.requests().len(), 1);
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_has_text_may_be_continued_by_nothing() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => [cut_after(&["All is well"]), vec![Step::Cut]].concat(),
        _ => [vec![Step::Head], finish(0)].concat(),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let sent = cura
        .user()
        .await
        .post("/chat/send", &json!({ "content": "Hi" }))
        .await
        .body;
    let message = &sent["assistant_message"];
    assert_eq!(
        (&message["status"], &message["content"]),
        (&json!("sent"), &json!("All is well"))
    );
    assert_eq!(provider.requests().len(), 2);
    cura.check_invariants().await;
}

#[tokio::test]
async fn half_a_sentence_is_not_whole_because_its_continuation_brings_nothing() {
    let bare = |(name, _): &(&str, Vec<Step>)| *name != "an end word alone" && *name != "empty text";
    let calls = json!({ "tool_calls": [{ "index": 0, "id": "1", "function": { "name": "f", "arguments": "{}" } }] });
    let called = [vec![Step::Head, delta(&calls, Some("stop"))], done().to_vec()].concat();
    let mut kinds: Vec<_> = empty_answers().into_iter().filter(bare).collect();
    kinds.retain(|(name, _)| !["white space", "what nobody can see"].contains(name));
    kinds.push(("a tool call that ends well", called));
    let blank = [
        vec![Step::Head, delta(&json!({ "content": " " }), None)],
        done().to_vec(),
    ]
    .concat();
    kinds.push(("white space without an end word", blank));
    let kinds = std::sync::Arc::new(kinds);
    let provider = {
        let kinds = std::sync::Arc::clone(&kinds);
        ScriptedProvider::start(move |_, asked| {
            let messages = asked.body["messages"].to_string();
            if asked.is_trial() {
                return answer(&["Yes"], Duration::ZERO);
            }
            if !messages.contains("you should never") {
                return [cut_after(&["you should never"]), vec![Step::Cut]].concat();
            }
            let of_this = (0..kinds.len()).find(|number| messages.contains(&format!("kind {number}.")));
            kinds[of_this.expect("a kind")].1.clone()
        })
        .await
    };
    let cura = Cura::with_provider(&provider).await;
    for (number, (name, _)) in kinds.iter().enumerate() {
        let user = cura.client().register(&format!("user{number}@example.com")).await;
        let before = provider.requests().len();
        let question = json!({ "content": format!("kind {number}.") });
        let message = user.post("/chat/send", &question).await.body["assistant_message"].clone();
        assert_eq!(
            (&message["status"], &message["content"], &message["metadata"]["error"]),
            (&json!("error"), &json!("you should never"), &json!("empty_answer")),
            "{name}: {message}"
        );
        assert_eq!(provider.requests().len() - before, 3, "{name}");
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn white_space_and_a_broken_connection_are_nothing_too() {
    let first = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Write(chunk(" ")), Step::Cut]).await;
    let fallback = ScriptedProvider::answering(&["All ", "is ", "well"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&first)
        .with("AI_FALLBACK_URL", fallback.url())
        .with("AI_FALLBACK_PROVIDER", "custom")
        .start()
        .await;
    let sent = cura
        .user()
        .await
        .post("/chat/send", &json!({ "content": "Hi" }))
        .await
        .body;
    assert_eq!(sent["assistant_message"]["content"], "All is well", "{sent}");
    assert_eq!((first.requests().len(), fallback.requests().len()), (1, 1));
    cura.check_invariants().await;
}
