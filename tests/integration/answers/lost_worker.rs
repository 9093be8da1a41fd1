//! Answers whose workers and servers are killed, frozen and replaced: none is lost, doubled or stuck, and no reader sees a
//! wrong word.

use std::time::{Duration, Instant};

use cura_tests::client::{names, text_after};
use cura_tests::provider::{Gate, Step, answer, chunk, finish, words};
use cura_tests::{Client, Cura, Event, ScriptedProvider};
use reqwest::Method;
use serde_json::{Value, json};

use super::lost_postgres::until_word;

#[tokio::test]
async fn after_a_kill_the_answer_goes_on_where_readers_saw_it_end() {
    let words = words(60);
    // It knows nothing of going on with an answer: asked to, it begins again.
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(20), &gate).await;
    let mut cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[18]).await;
    cura.add_worker().await;
    cura.workers[0].kill();
    gate.open();
    let killed = Instant::now();
    seen.extend(stream.until("start").await);
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    seen.extend(stream.rest().await);
    assert!(!names(&seen).contains(&"reset"), "{:?}", names(&seen));
    assert_eq!(text_after("", &seen), words.concat());
    let asked = provider.asked();
    let told = asked[1].body["messages"].as_array().unwrap();
    let written = told[told.len() - 2]["content"].as_str().unwrap();
    assert_eq!(
        told[told.len() - 2]["role"],
        "assistant",
        "the model is shown what it has said"
    );
    assert!(words.concat().starts_with(written) && !written.is_empty(), "{written}");
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_shutdown_hands_over_at_a_chunk_and_spends_no_attempt() {
    let words = words(150);
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(40), &gate).await;
    let mut cura = Cura::builder()
        .answering(&provider)
        .with("SHUTDOWN_GRACE_SECONDS", "2")
        .start()
        .await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[8]).await;
    cura.add_worker().await;
    cura.workers[0].signal("TERM");
    assert_eq!(cura.workers[0].ended().await, Some(0));
    gate.open();
    seen.extend(stream.rest().await);
    assert!(!names(&seen).contains(&"reset"), "{:?}", names(&seen));
    assert_eq!(text_after("", &seen), words.concat());
    let spent = cura
        .database
        .count("SELECT attempts::bigint FROM apalis.jobs WHERE job_type = 'generate-answer'")
        .await;
    assert_eq!(spent, 1);
    let handed = "SELECT count(*) FROM answer_attempts WHERE outcome = 'handed_over'";
    assert_eq!(
        cura.database.count(handed).await,
        1,
        "what it cost until then is written down"
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_that_is_frozen_and_woken_writes_nothing_and_counts_nothing() {
    let words = words(80);
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(30), &gate).await;
    let mut cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[18]).await;
    cura.workers[0].signal("STOP");
    cura.add_worker().await;
    seen.extend(stream.until("start").await);
    cura.workers[0].signal("CONT");
    gate.open();
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), words.concat());
    cura.check_invariants().await;
    let answers = cura
        .database
        .count("SELECT sum(messages)::bigint FROM usage_days")
        .await;
    assert_eq!(answers, 1);
}

#[tokio::test]
async fn a_poisoned_answer_fails_in_the_end_and_the_others_keep_their_pace() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body.to_string().contains("poison") {
            vec![Step::Head, Step::Write(chunk("gulp")), Step::Hang]
        } else {
            answer(&["fine"], Duration::ZERO)
        }
    })
    .await;
    let mut cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    let mut poisoned = somebody.stream("poison").await;
    let mut seen = Vec::new();
    // Whoever works on it dies.
    for attempt in 1..=4 {
        loop {
            let event = poisoned.next().await.unwrap();
            let begun = event.name == "start" && event.data["attempt"] == attempt;
            seen.push(event);
            if begun {
                break;
            }
        }
        cura.add_worker().await;
        let last = cura.workers.len() - 2;
        cura.workers[last].kill();
        let begun = Instant::now();
        let sent = somebody.post("/chat/send", &json!({ "content": "Hi" })).await;
        assert_eq!(sent.body["assistant_message"]["content"], "fine");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    seen.extend(poisoned.rest().await);
    let last = seen.last().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("generation_failed"))
    );
    let message = somebody
        .get(&format!("/chat/messages/{}", seen[0].data["message_id"]))
        .await
        .body;
    assert_eq!(
        (&message["status"], &message["metadata"]["error"]),
        (&json!("error"), &json!("generation_failed"))
    );
    assert_eq!(text_after("", &seen), message["content"].as_str().unwrap());
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_lost_its_job_is_closed() {
    let cura = Cura::without_workers().await;
    let somebody = cura.somebody().await;
    let sent = somebody.send_without_waiting(&json!({ "content": "Hi" })).await;
    for lost in [
        "DELETE FROM apalis.jobs WHERE job_type = 'generate-answer'",
        "UPDATE messages SET updated_at = now() - interval '1 hour'",
    ] {
        sqlx::query(lost).execute(cura.database.pool()).await.unwrap();
    }
    let mut cura = cura;
    cura.add_worker().await;
    let closed = somebody.until_final(&sent.body["assistant_message"]["id"]).await;
    assert_eq!(closed["status"], "error");
    cura.check_invariants().await;
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Asks until it is answered, as an app would: with one key, wherever there is a server, reading on from what it has.
async fn ask_until_answered(cura: &[String], client: &Client, key: &str) -> (Value, String) {
    let mut seen: Vec<Event> = Vec::new();
    let mut text = String::new();
    for base in cura.iter().cycle() {
        let here = client.at(base);
        let request = match seen.first() {
            None => here
                .request(Method::POST, "/chat/stream")
                .header("Idempotency-Key", key)
                .json(&json!({ "content": key })),
            Some(ack) => here
                .request(
                    Method::GET,
                    &format!("/chat/messages/{}/stream", ack.data["message_id"]),
                )
                .header("Last-Event-ID", &seen.last().unwrap().id),
        };
        let Some(Ok(mut stream)) = here.try_events(request).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while let Some(event) = stream.next().await {
            text = text_after(&text, std::slice::from_ref(&event));
            seen.push(event);
            let last = seen.last().unwrap();
            if last.name == "complete" {
                return (last.data["message"].clone(), text);
            }
            assert_ne!(last.name, "error", "{last:?}");
        }
    }
    unreachable!("it asks for ever")
}

/// `CURA_CHAOS_ROUNDS` (20 unless said otherwise) times: something is killed at a random moment while an answer is asked
/// for, begins, comes or ends, and is replaced. The last rounds are the proof: exactly one answer to each question.
#[tokio::test]
async fn whatever_is_killed_whenever_every_question_has_exactly_one_answer() {
    #[expect(clippy::disallowed_methods, reason = "`make chaos` says how many")]
    let rounds: usize = std::env::var("CURA_CHAOS_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let words = words(30);
    let text = words.concat();
    let provider = ScriptedProvider::start(move |_, _| {
        let mut steps = vec![Step::Pause(Duration::from_millis(30)), Step::Head];
        for word in &words {
            steps.extend([Step::Write(chunk(word)), Step::Pause(Duration::from_millis(10))]);
        }
        steps.extend(finish(words.len()));
        steps
    })
    .await;
    let mut cura = Cura::builder().servers(2).workers(2).answering(&provider).start().await;
    let somebody = cura.somebody().await;
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for round in 0..rounds {
        let bases: Vec<String> = cura.servers.iter().map(|server| server.base.clone()).collect();
        let key = format!("round {round}").replace(' ', "-");
        let asking = ask_until_answered(&bases, &somebody, &key);
        let killing = async {
            tokio::time::sleep(Duration::from_millis(dice.below(450))).await;
            // A worker three times as often as a server; now and then both workers, so that nobody is left.
            match dice.below(8) {
                0 | 1 => {
                    cura.servers.remove(0).program.kill();
                    cura.add_server().await;
                }
                2 => {
                    for _ in 0..2 {
                        cura.workers.remove(0).kill();
                    }
                    cura.add_worker().await;
                    cura.add_worker().await;
                }
                3 => {
                    cura.workers[0].signal("TERM");
                    cura.add_worker().await;
                    cura.workers.remove(0);
                }
                _ => {
                    cura.workers.remove(0).kill();
                    cura.add_worker().await;
                }
            }
        };
        let (message, streamed) = {
            let limit = Duration::from_secs(60);
            let both = async { tokio::join!(asking, killing).0 };
            tokio::time::timeout(limit, both)
                .await
                .unwrap_or_else(|_| panic!("round {round} is not answered"))
        };
        assert_eq!(streamed, text, "round {round}");
        assert_eq!(message["content"], text, "round {round}");
        assert_eq!(message["status"], "sent");
    }
    cura.check_invariants().await;
    let asked = i64::try_from(rounds).unwrap();
    for (what, count) in [
        ("SELECT count(*) FROM messages WHERE role = 'user'", asked),
        (
            "SELECT count(*) FROM messages WHERE role = 'assistant' AND status = 'sent'",
            asked,
        ),
        ("SELECT count(*) FROM messages WHERE role = 'assistant'", asked),
        ("SELECT sum(messages)::bigint FROM usage_days", asked),
    ] {
        assert_eq!(cura.database.count(what).await, count, "{what}");
    }
}
