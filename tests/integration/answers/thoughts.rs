//! Thoughts of the model inside the text of its answer: nobody reads them, nothing keeps them, and the model does not get them
//! again.

use std::time::Duration;

use cura_tests::client::{names, text_after};
use cura_tests::provider::{Latch, Step, answer, chunk, finish};
use cura_tests::{Cura, ScriptedProvider, eventually, interrupted_answer};
use serde_json::{Value, json};

const THOUGHT: &str = "The person seems sad. I should be kind.";

/// The steps of an answer that comes letter by letter, then in one piece.
fn letters(text: &str) -> Vec<Step> {
    let letters: Vec<String> = text.chars().map(String::from).collect();
    answer(&letters, Duration::ZERO)
}

#[tokio::test]
async fn a_whole_thought_is_never_shown_stored_or_told_again() {
    let text = format!("<think>\n{THOUGHT}\n</think>\n\nHello **you**, use `</think>` with care");
    let whole = vec![text.clone()];
    let provider = ScriptedProvider::start(move |number, _| match number {
        0 => letters(&text),
        _ => answer(&whole, Duration::ZERO),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let seen = user.stream("Hi").await.rest().await;
    assert!(!names(&seen).contains(&"reset"), "{seen:?}");
    let shown = text_after("", &seen);
    assert_eq!(shown, "Hello **you**, use `</think>` with care");
    let message = &seen.last().unwrap().data["message"];
    assert_eq!(message["content"], shown);
    let thoughts = i64::try_from(THOUGHT.len() / 4).unwrap();
    let reasoning = message["metadata"]["reasoning_tokens"].as_i64().unwrap();
    assert!((thoughts..thoughts + 3).contains(&reasoning), "{reasoning}");
    let again = user.send_message(&message["conversation_id"], "And now?").await;
    assert_eq!(again["assistant_message"]["content"], shown);
    let second = provider.requests()[1].body.to_string();
    assert!(
        second.contains("Hello **you**") && !second.contains("seems sad"),
        "{second}"
    );
    let everything = "SELECT count(*) FROM messages WHERE content LIKE '%seems sad%'";
    assert_eq!(cura.database.count(everything).await, 0);
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_without_thoughts_says_nothing_of_them() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let sent = cura.user().await.send_message(&Value::Null, "Hi").await;
    assert_eq!(sent["assistant_message"]["metadata"].get("reasoning_tokens"), None);
}

/// A provider whose template opens the thought in the prompt: the text begins inside it. The rest comes when the latch opens.
async fn thinking_aloud(latch: &Latch, rest: &str) -> ScriptedProvider {
    let mut steps = vec![Step::Head, Step::Write(chunk(THOUGHT)), Step::Wait(latch.clone())];
    steps.push(Step::Write(chunk("\n</th")));
    steps.push(Step::Write(chunk("ink>\n")));
    steps.push(Step::Write(chunk(&format!("\n{rest}"))));
    steps.extend(finish(9));
    ScriptedProvider::start(move |_, _| steps.clone()).await
}

#[tokio::test]
async fn what_turns_out_to_be_a_thought_is_taken_back_from_every_reader() {
    let latch = Latch::default();
    let provider = thinking_aloud(&latch, "Hello").await;
    let mut answer = interrupted_answer().by(provider).servers(2).start().await;
    let id = answer.id().as_i64().unwrap();
    // Others read along, at another server, over the events of the user, and come back in the middle of the thought.
    let there = answer.user.at(&answer.cura.servers[1].base);
    let mut late = there.resume(id, None).await;
    let mut seen_late = late.until("chunk").await;
    let cursor = answer.last().id.clone();
    answer.until_checkpointed().await;
    latch.open();
    answer.read_rest().await;
    seen_late.extend(late.rest().await);
    let of_cursor = there.resume(id, Some(&cursor)).await.rest().await;
    for seen in [&answer.seen, &seen_late] {
        let reset = seen.iter().find(|event| event.name == "reset").expect("taken back");
        assert_eq!(reset.data["offset"], 0);
        assert_eq!(text_after("", seen), "Hello");
    }
    assert_eq!(text_after(THOUGHT, &of_cursor), "Hello", "{of_cursor:?}");
    assert_eq!(text_after("", &there.resume(id, None).await.rest().await), "Hello");
    let message = &answer.last().data["message"];
    assert_eq!(message["content"], "Hello");
    let metadata = &message["metadata"];
    assert!(metadata["reasoning_tokens"].as_i64().unwrap() >= 9, "{metadata}");
    assert!(metadata["ttft_ms"].as_i64().unwrap() <= metadata["latency_ms"].as_i64().unwrap());
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_killed_after_a_take_back_does_not_bring_it_back() {
    let latch = Latch::default();
    let opened = latch.clone();
    let provider = ScriptedProvider::start(move |number, _| match number {
        0 => vec![
            Step::Head,
            Step::Write(chunk(THOUGHT)),
            Step::Wait(opened.clone()),
            Step::Write(chunk("</think>Hel")),
            Step::Hang,
        ],
        _ => answer(&["lo"], Duration::ZERO),
    })
    .await;
    let mut answer = interrupted_answer().by(provider).start().await;
    answer.until_checkpointed().await;
    latch.open();
    answer.read_until("reset").await;
    answer.cura.add_worker().await;
    answer.cura.workers[0].kill();
    answer.read_rest().await;
    let text = answer.text_seen();
    // The three letters may have been on their way.
    assert!(["Hello", "lo"].contains(&text.as_str()), "{text:?}");
    let message = &answer.last().data["message"];
    assert_eq!(message["content"], text);
    let second = answer.provider.requests()[1].body.to_string();
    assert!(!second.contains("seems sad"), "{second}");
    answer.cura.check_invariants().await;
}

/// What a person sees whose answer is cut after the first text and goes on with the second.
async fn continued(first: Vec<Step>, second: &[&str]) -> (String, Option<u64>) {
    let second: Vec<String> = second.iter().map(|&part| part.to_owned()).collect();
    let provider = ScriptedProvider::start(move |number, _| match number {
        0 => first.clone(),
        _ => answer(&second, Duration::from_millis(20)),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let seen = user.stream("Hi").await.rest().await;
    let shown = text_after("", &seen);
    assert_eq!(seen.last().unwrap().data["message"]["content"], shown, "{seen:?}");
    cura.check_invariants().await;
    let reset = seen.iter().rfind(|event| event.name == "reset");
    (shown, reset.and_then(|reset| reset.data["offset"].as_u64()))
}

fn cut_after(parts: &[&str]) -> Vec<Step> {
    let mut steps = vec![Step::Head];
    steps.extend(parts.iter().map(|part| Step::Write(chunk(part))));
    steps.push(Step::Cut);
    steps
}

#[tokio::test]
async fn a_thought_that_an_interruption_cut_is_taken_back_from_its_beginning() {
    for second in [
        &["So I answer.", "\n</think>\n\n", "Hello"][..],
        &["So I answer.\n</think>\n\nHello"],
        &["</think>\n\nHello"],
    ] {
        let shown = continued(cut_after(&["I secretly think they lie. "]), second).await;
        assert_eq!(shown, ("Hello".to_owned(), Some(0)), "{second:?}");
    }
}

#[tokio::test]
async fn an_answer_whose_thoughts_had_ended_stays_when_its_continuation_thinks() {
    for first in [&[THOUGHT, "\n</think>\n\nHel"][..], &["<think>a", "</think>Hel"]] {
        let (shown, reset) = continued(cut_after(first), &[THOUGHT, "\n</think>\n\n", "lo"]).await;
        assert_eq!((shown.as_str(), reset), ("Hello", Some(3)), "{first:?}");
    }
}

#[tokio::test]
async fn a_thought_of_a_worker_that_died_is_taken_back_from_its_beginning() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => vec![
            Step::Head,
            Step::Write(chunk("I secretly think they lie. ")),
            Step::Hang,
        ],
        _ => answer(&["So I answer.", "\n</think>\n\n", "Hello"], Duration::from_millis(20)),
    })
    .await;
    let mut answer = interrupted_answer().by(provider).start().await;
    answer.until_checkpointed().await;
    answer.cura.add_worker().await;
    answer.cura.workers[0].kill();
    answer.read_rest().await;
    assert_eq!(answer.text_seen(), "Hello");
    assert_eq!(answer.last().data["message"]["content"], "Hello");
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn titles_and_summaries_hold_no_thoughts_either() {
    let provider = ScriptedProvider::start(|_, asked| {
        let body = asked.body.to_string();
        if body.contains("Give the conversation below a title") {
            answer(&["<think>", THOUGHT, "</think>", "Trouble sleeping"], Duration::ZERO)
        } else if body.contains("Summarise the conversation") {
            answer(&[THOUGHT, "\n</think>\n\n", "Ann sleeps badly."], Duration::ZERO)
        } else {
            answer(&["x".repeat(2400)], Duration::ZERO)
        }
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "true")
        .with("AI_MODEL_PROVIDER", "custom")
        .with("AI_CONTEXT_TOKENS", "1200")
        .start()
        .await;
    let user = cura.user().await;
    let mut conversation = Value::Null;
    for _ in 0..3 {
        conversation = user.send_message(&conversation, "I cannot sleep").await["conversation_id"].clone();
    }
    eventually("there is a summary without thoughts", async || {
        let summaries = "SELECT count(*) FROM summaries WHERE content = 'Ann sleeps badly.'";
        (cura.database.count(summaries).await > 0).then_some(())
    })
    .await;
    eventually("there is a title", async || {
        let title = user.get(&format!("/conversations/{conversation}")).await.body["title"].clone();
        (title == json!("Trouble sleeping")).then_some(())
    })
    .await;
    let with_thoughts = "SELECT count(*) FROM summaries WHERE content LIKE '%seems sad%'";
    assert_eq!(cura.database.count(with_thoughts).await, 0);
}
