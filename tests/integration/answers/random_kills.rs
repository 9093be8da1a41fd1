//! Workers and servers are killed at random moments: every question has exactly one answer, and no phone is told twice of one.

use std::collections::HashSet;
use std::time::Duration;

use cura_tests::client::text_after;
use cura_tests::provider::{Step, chunk, finish, words};
use cura_tests::{Client, Cura, Event, FcmServer, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};

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

/// Lets the last looks come, which are 90 s after each end, and waits until all is pushed.
async fn until_pushed(cura: &Cura) {
    let pool = cura.database.pool();
    for moved in [
        "UPDATE messages SET updated_at = updated_at - interval '90 s' WHERE role = 'assistant'",
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push' AND status = 'Pending'",
    ] {
        sqlx::query(moved).execute(pool).await.unwrap();
    }
    eventually("all is pushed", async || {
        let left = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push' AND status IN ('Pending', 'Running')";
        (cura.database.count(left).await == 0).then_some(())
    })
    .await;
}

/// `CURA_CHAOS_ROUNDS` (20 unless said otherwise) times: something is killed at a random moment while an answer is asked
/// for, begins, comes or ends, and is replaced. The last rounds are the proof: exactly one answer to each question, and one decision
/// whether it is pushed.
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
    let fcm = FcmServer::start().await;
    let mut cura = Cura::builder()
        .servers(2)
        .workers(2)
        .with_provider(&provider)
        .with_fcm(&fcm)
        .start()
        .await;
    let user = cura.user().await;
    let phone = json!({ "fcm_token": "phone", "platform": "android" });
    assert_eq!(user.post("/devices/register", &phone).await.status, 201);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for round in 0..rounds {
        let bases: Vec<String> = cura.servers.iter().map(|server| server.base.clone()).collect();
        let key = format!("round {round}").replace(' ', "-");
        let asking = ask_until_answered(&bases, &user, &key);
        let killing = async {
            tokio::time::sleep(Duration::from_millis(dice.below(450))).await;
            // A worker three times as often as a server; now and then both workers, so that none is left.
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
    until_pushed(&cura).await;
    let sends = fcm.sends();
    let told: HashSet<&str> = sends
        .iter()
        .map(|send| send.message["data"]["message_id"].as_str().unwrap())
        .collect();
    assert_eq!(told.len(), sends.len(), "a phone was told twice");
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
        ("SELECT count(*) FROM pushes WHERE kind = 'answer'", asked),
        // Claimed once; a worker that died right after it has perhaps not sent it, and nobody else does.
        (
            "SELECT count(*) FROM pushes WHERE decision = 'pushed' AND id NOT IN (SELECT push_id FROM push_sends)",
            0,
        ),
        ("SELECT count(*) FROM push_sends WHERE attempts > 1", 0),
    ] {
        assert_eq!(cura.database.count(what).await, count, "{what}");
    }
}
