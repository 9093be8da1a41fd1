//! Everything an AI service can do wrong, seen by a person: a word that is right, or an error that says so, and never a
//! message that stays unfinished.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cura_tests::client::text_after;
use cura_tests::provider::{Step, answer, chunk, event, refusal};
use cura_tests::{Cura, ScriptedProvider, eventually};
use serde_json::{Value, json};

/// What becomes of a question when the service does this the first time, and then what it should.
async fn after(first: Vec<Step>) -> (Value, String, usize) {
    // Whoever does not hang is not given up on a busy machine.
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

async fn outcome(provider: ScriptedProvider, settings: &[(&'static str, &str)]) -> (Value, String, usize) {
    let mut builder = Cura::builder().answering(&provider);
    for (name, value) in settings {
        builder = builder.with(name, *value);
    }
    let cura = builder.start().await;
    let somebody = cura.somebody().await;
    let seen = somebody.stream("Hi").await.rest().await;
    let path = format!("/chat/messages/{}", seen[0].data["message_id"]);
    let message = somebody.get(&path).await.body;
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
    (message, text, provider.asked().len())
}

async fn recovers(first: Vec<Step>) -> usize {
    let (message, text, asked) = after(first).await;
    assert_eq!((&message["status"], text.as_str()), (&json!("sent"), "All is well"));
    asked
}

fn cut_after(words: &[&str]) -> Vec<Step> {
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
async fn the_first_word_is_the_first_attempts_whoever_goes_on() {
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
async fn what_does_not_pass_is_an_error_at_once_and_says_nothing_of_the_provider() {
    for (steps, code) in [
        (
            refusal(
                "401 Unauthorized",
                "",
                &json!({ "error": { "message": "sk-secret is wrong" } }),
            ),
            "provider_unauthorized",
        ),
        (
            refusal("400 Bad Request", "", &json!({ "error": { "message": "a secret" } })),
            "provider_refused",
        ),
        (
            refusal(
                "400 Bad Request",
                "",
                &json!({ "error": { "code": "context_length_exceeded" } }),
            ),
            "context_too_long",
        ),
        (
            refusal("302 Found", "Location: http://127.0.0.1:1/\r\n", &json!({})),
            "provider_misconfigured",
        ),
    ] {
        let provider = ScriptedProvider::start(move |_, _| steps.clone()).await;
        let (message, _, asked) = outcome(provider, &[]).await;
        assert_eq!(message["metadata"]["error"], code);
        assert!(!message.to_string().contains("secret"), "{message}");
        assert!(asked <= 2, "{code}: {asked}");
    }
}

#[tokio::test]
async fn a_service_that_never_comes_back_is_an_error_with_what_was_said() {
    let provider = ScriptedProvider::start(|_, _| {
        let mut steps = cut_after(&["All ", "is "]);
        steps.push(Step::Cut);
        steps
    })
    .await;
    let (message, text, asked) = outcome(provider, &[]).await;
    assert_eq!((&message["status"], text.as_str()), (&json!("error"), "All is "));
    assert_eq!(asked, 4);
}

#[tokio::test]
async fn another_service_answers_unnoticed_and_is_named() {
    let refusing = ScriptedProvider::start(|_, _| refusal("503 Service Unavailable", "", &json!({}))).await;
    let second = ScriptedProvider::saying(&["All ", "is ", "well"], Duration::ZERO).await;
    let settings = [
        ("AI_FALLBACK_URL", second.url()),
        ("AI_FALLBACK_PROVIDER", "custom".to_owned()),
        ("AI_FALLBACK_NAME", "second".to_owned()),
    ];
    let settings: Vec<(&'static str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (message, text, asked) = outcome(refusing, &settings).await;
    assert_eq!((text.as_str(), asked, second.asked().len()), ("All is well", 1, 1));
    assert_eq!(
        (&message["metadata"]["provider"], &message["metadata"]["attempts"]),
        (&json!("custom"), &json!(1))
    );
    assert_eq!(second.asked()[0].body["model"], "second");
    assert_eq!(message["metadata"]["usage"]["estimated"], false);
}

#[tokio::test]
async fn messages_that_always_fail_hold_nobody_else_up() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body["messages"].to_string().contains("poison") {
            return vec![Step::Head, Step::Write("data: rubbish\n\n".to_owned()), Step::End];
        }
        answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    let poison = async |n: usize| {
        let poisoned = cura.client().register(&format!("poison{n}@example.com")).await;
        let sent = poisoned.post("/chat/send", &json!({ "content": "poison" })).await;
        assert_eq!(sent.body["assistant_message"]["metadata"]["error"], "provider_protocol");
    };
    let healthy = async {
        for failed in [6, 9] {
            eventually("they failed more often than opens the gate", async || {
                let asked = provider.asked().into_iter();
                let poison = asked.filter(|asked| asked.body["messages"].to_string().contains("poison"));
                (poison.count() >= failed).then_some(())
            })
            .await;
            let begun = Instant::now();
            let sent = somebody.post("/chat/send", &json!({ "content": "Hi" })).await.body;
            assert_eq!(sent["assistant_message"]["content"], "All is well", "{sent}");
            assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        }
    };
    tokio::join!(poison(0), poison(1), poison(2), healthy);
    assert!(!cura.said().contains("left alone"), "{}", cura.said());
    cura.check_invariants().await;
}

#[tokio::test]
async fn waiting_for_a_provider_is_no_attempt_also_when_it_comes_back() {
    let works = Arc::new(AtomicBool::new(false));
    let provider = {
        let works = Arc::clone(&works);
        ScriptedProvider::start(move |_, _| {
            if !works.load(Ordering::SeqCst) {
                return refusal("500 Internal Server Error", "", &json!({}));
            }
            let mut steps = vec![Step::Head, Step::Pause(Duration::from_millis(300))];
            steps.extend(answer(&["All ", "is ", "well"], Duration::ZERO).split_off(1));
            steps
        })
        .await
    };
    let cura = Cura::builder()
        .answering(&provider)
        .with("USER_RUNNING_ANSWERS", "0")
        .start()
        .await;
    let mut asking = Vec::new();
    for n in 0..12 {
        if n == 5 {
            eventually("the provider is left alone", async || {
                cura.said().contains("left alone").then_some(())
            })
            .await;
            works.store(true, Ordering::SeqCst);
        }
        let somebody = cura.client().register(&format!("somebody{n}@example.com")).await;
        let sent = somebody.send_without_waiting(&json!({ "content": "Hi" })).await;
        asking.push((somebody, sent.body["assistant_message"]["id"].clone()));
    }
    for (n, (somebody, answer)) in asking.iter().enumerate() {
        let message = somebody.until_final(answer).await;
        assert_eq!(message["content"], "All is well");
        if n >= 5 {
            assert_eq!(message["metadata"]["attempts"], 1, "it was asked for once: {message}");
        }
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_message_that_is_forbidden_is_refused_and_nobody_elses() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body["messages"].to_string().contains("flag me") {
            let flagged = json!({ "error": { "code": 403, "message": "Your input was flagged" } });
            return refusal("403 Forbidden", "", &flagged);
        }
        answer(&["All ", "is ", "well"], Duration::ZERO)
    })
    .await;
    let cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    let sent = somebody.post("/chat/send", &json!({ "content": "flag me" })).await.body;
    assert_eq!(sent["assistant_message"]["metadata"]["error"], "provider_refused");
    let other = cura.client().register("other@example.com").await;
    let sent = other.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    assert_eq!(sent["assistant_message"]["content"], "All is well", "{sent}");
    assert!(
        !cura.said().contains("ERROR"),
        "nobody has to do anything: {}",
        cura.said()
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_key_that_is_refused_is_an_alert_once_and_errors_at_once() {
    let provider = ScriptedProvider::start(|_, _| refusal("401 Unauthorized", "", &json!({}))).await;
    let cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    for _ in 0..5 {
        let begun = Instant::now();
        let sent = somebody.post("/chat/send", &json!({ "content": "Hi" })).await.body;
        assert_eq!(sent["assistant_message"]["metadata"]["error"], "provider_unauthorized");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    cura.workers[0].says("ERROR").await;
    let alerts = cura.said().lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(alerts, 1, "{}", cura.said());
    assert_eq!(provider.asked().len(), 1, "nobody goes on asking with a wrong key");
    cura.check_invariants().await;
}
