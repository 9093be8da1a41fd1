//! Failures of an AI provider that pass: they are retried, and the text is right in the end.

use std::time::{Duration, Instant};

use cura_tests::client::text_after;
use cura_tests::provider::{Step, answer, chunk, event, finish, refusal};
use cura_tests::{Cura, ScriptedProvider};
use serde_json::{Value, json};

/// What becomes of a question when the service does this the first time, and then what it should.
async fn after(first: Vec<Step>) -> (Value, String, usize) {
    // A provider that does not hang must not time out on a busy machine.
    let hangs = first.iter().any(|step| matches!(step, Step::Hang));
    let settings: &[_] = if hangs { &IMPATIENT } else { &[] };
    let provider = ScriptedProvider::start(move |number, _| {
        if number == 0 {
            first.clone()
        } else {
            answer(&["All ", "is ", "well"], Duration::ZERO)
        }
    })
    .await;
    outcome(provider, settings).await
}

/// For a service that hangs.
const IMPATIENT: [(&str, &str); 2] = [("AI_FIRST_BYTE_TIMEOUT_SECONDS", "3"), ("AI_IDLE_TIMEOUT_SECONDS", "3")];

pub(super) async fn outcome(provider: ScriptedProvider, settings: &[(&'static str, &str)]) -> (Value, String, usize) {
    let mut builder = Cura::builder().with_provider(&provider);
    for (name, value) in settings {
        builder = builder.with(name, *value);
    }
    let cura = builder.start().await;
    let user = cura.user().await;
    let seen = user.stream("Hi").await.rest().await;
    let path = format!("/chat/messages/{}", seen[0].data["message_id"]);
    let message = user.get(&path).await.body;
    let text = text_after("", &seen);
    assert_eq!(
        message["content"], text,
        "what was streamed is what is stored: {seen:?}"
    );
    let last = seen.last().unwrap();
    match message["status"].as_str() {
        Some("sent") => assert_eq!((last.name.as_str(), &last.data["message"]), ("complete", &message)),
        Some("error") => assert_eq!(
            (last.name.as_str(), &last.data["code"]),
            ("error", &message["metadata"]["error"])
        ),
        other => panic!("{other:?}"),
    }
    cura.check_invariants().await;
    (message, text, provider.requests().len())
}

async fn recovers(first: Vec<Step>) -> usize {
    let (message, text, asked) = after(first).await;
    assert_eq!((&message["status"], text.as_str()), (&json!("sent"), "All is well"));
    asked
}

pub(super) fn cut_after(words: &[&str]) -> Vec<Step> {
    let mut steps = vec![Step::Head];
    steps.extend(words.iter().map(|word| Step::Write(chunk(word))));
    steps
}

#[tokio::test]
async fn a_reset_and_a_hang_before_the_first_byte_are_tried_again() {
    assert_eq!(recovers(vec![Step::Cut]).await, 2);
    assert_eq!(recovers(vec![Step::Hang]).await, 2);
    assert_eq!(recovers(vec![Step::Head, Step::Hang]).await, 2);
}

#[tokio::test]
async fn statuses_that_pass_are_tried_again_and_retry_after_is_obeyed() {
    for status in [
        "500 Internal Server Error",
        "529 Overloaded",
        "429 Too Many Requests",
        "503 Service Unavailable",
    ] {
        assert_eq!(recovers(refusal(status, "", &json!({}))).await, 2, "{status}");
    }
    let begun = Instant::now();
    assert_eq!(
        recovers(refusal("429 Too Many Requests", "Retry-After: 2\r\n", &json!({}))).await,
        2
    );
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_answer_that_stalls_breaks_off_or_turns_into_rubbish_goes_on_where_it_was() {
    for end in [
        vec![Step::Hang],
        vec![Step::Cut],
        vec![Step::End],
        vec![Step::Write("data: {\"choices\": [rubbish\n\n".to_owned()), Step::End],
        vec![
            Step::Write(event(
                &json!({ "error": { "type": "server_error", "message": "a secret" } }),
            )),
            Step::End,
        ],
    ] {
        let mut first = cut_after(&["All ", "is "]);
        first.extend(end);
        assert_eq!(recovers(first).await, 2);
    }
}

#[tokio::test]
async fn the_time_to_the_first_word_is_that_of_the_first_attempt() {
    let pause = Duration::from_millis(700);
    let provider = ScriptedProvider::start(move |number, _| {
        let mut steps = if number == 0 {
            cut_after(&["All ", "is "])
        } else {
            vec![Step::Head, Step::Pause(pause)]
        };
        match number {
            0 => steps.push(Step::Cut),
            _ => steps.extend(answer(&["All ", "is ", "well"], Duration::ZERO).split_off(1)),
        }
        steps
    })
    .await;
    let (message, text, asked) = outcome(provider, &[]).await;
    assert_eq!((text.as_str(), asked), ("All is well", 2));
    let time = |field: &str| message["metadata"][field].as_i64().unwrap();
    assert!(time("ttft_ms") + 700 <= time("latency_ms"), "{message}");
}

#[tokio::test]
async fn a_line_without_an_end_is_not_kept_in_memory() {
    let mut first = cut_after(&["All "]);
    first.push(Step::Write(format!("data: {}", "x".repeat(10 * 1024 * 1024))));
    assert_eq!(recovers(first).await, 2);
}

#[tokio::test]
async fn a_provider_that_dies_once_is_tried_again_without_a_wrong_word() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => vec![
            Step::Head,
            Step::Write(chunk("I was ")),
            Step::Write(chunk("goi")),
            Step::Cut,
        ],
        1 => refusal("503 Service Unavailable", "Retry-After: 1\r\n", &json!({})),
        _ => {
            let mut steps = vec![Step::Head, Step::Write(chunk("All ")), Step::Write(chunk("is well"))];
            steps.extend(finish(2));
            steps
        }
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_CONTINUATION", "off")
        .start()
        .await;
    let seen = cura.user().await.stream("Hi").await.rest().await;
    let last = seen.last().unwrap();
    assert_eq!(last.name, "complete", "{seen:?}");
    assert_eq!(text_after("", &seen), last.data["message"]["content"].as_str().unwrap());
    assert_eq!(text_after("", &seen), "All is well");
    cura.check_invariants().await;
}

#[tokio::test]
async fn another_service_answers_unnoticed_and_is_named() {
    let refusing = ScriptedProvider::start(|_, _| refusal("503 Service Unavailable", "", &json!({}))).await;
    let second = ScriptedProvider::answering(&["All ", "is ", "well"], Duration::ZERO).await;
    let settings = [
        ("AI_FALLBACK_URL", second.url()),
        ("AI_FALLBACK_PROVIDER", "custom".to_owned()),
        ("AI_FALLBACK_NAME", "second".to_owned()),
    ];
    let settings: Vec<(&'static str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (message, text, asked) = outcome(refusing, &settings).await;
    assert_eq!((text.as_str(), asked, second.requests().len()), ("All is well", 1, 1));
    assert_eq!(
        (&message["metadata"]["provider"], &message["metadata"]["attempts"]),
        (&json!("custom"), &json!(1))
    );
    assert_eq!(second.requests()[0].body["model"], "second");
    assert_eq!(message["metadata"]["usage"]["estimated"], false);
}
