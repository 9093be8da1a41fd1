//! Messages with files beside messages without.

use std::time::{Duration, Instant};

use cura_tests::Client;
use cura_tests::photo::taken;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{builder, scanned};
use crate::answers::{TOKEN_EVERY, provider};
use crate::measure::{at, ms, row};

/// Who sends a message at the same time.
const PEOPLE: usize = 50;
/// How often they do so, of each kind: in turn, so that a machine that gets slower or faster does so for both.
const ROUNDS: usize = 6;
/// Messages of a page, half of them questions.
const PAGE: usize = 50;
/// How often each page is read, in turn.
const READS: usize = 400;
/// Between two rounds: what follows an answer is done then.
const SETTLED: Duration = Duration::from_secs(1);

/// How many messages a second are answered, with a photo each and without.
pub async fn with_files_and_without() {
    let provider = provider(3, TOKEN_EVERY).await;
    let cura = builder()
        .with_provider(&provider)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "100")
        .start()
        .await;
    let photo = taken(1_200, 900, 22);
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let client = cura.client().register(&format!("person{n}@example.com")).await;
        // A photo for each round, scanned long before it is sent.
        let mut photos = Vec::new();
        for _ in 0..=ROUNDS {
            let file = scanned(&client, "photo.jpg", &photo).await;
            assert_eq!(file["status"], "clean", "{file}");
            photos.push(file["id"].clone());
        }
        people.push(Person { client, photos });
    }
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let sides = if round % 2 == 0 { [false, true] } else { [true, false] };
        for with_photo in sides {
            tokio::time::sleep(SETTLED).await;
            let took = one_round(&people, with_photo.then_some(round)).await;
            // The first ones open connections.
            if round > 0 {
                times[usize::from(with_photo)].push(took);
            }
        }
    }
    report(times);
}

/// How many pages of messages a second are read, with a photo in each question and without.
pub async fn pages_with_files_and_without() {
    let provider = provider(3, TOKEN_EVERY).await;
    let cura = builder().with_provider(&provider).start().await;
    let person = cura.client().register("person@example.com").await;
    let photo = taken(1_200, 900, 22);
    let mut pages = Vec::new();
    for with_photos in [false, true] {
        let conversation = person.post("/conversations", &json!({})).await.body["id"].clone();
        for _ in 0..PAGE / 2 {
            let mut attachments = Vec::new();
            if with_photos {
                attachments.push(scanned(&person, "photo.jpg", &photo).await["id"].clone());
            }
            let body =
                json!({ "conversation_id": conversation, "content": "What is this?", "attachments": attachments });
            let sent = person.post("/chat/send", &body).await;
            assert_eq!(sent.status, 200, "{}", sent.body);
        }
        pages.push(format!("/conversations/{conversation}/messages?limit={PAGE}"));
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..READS {
        for (page, times) in pages.iter().zip(&mut times) {
            let begun = Instant::now();
            let read = person.get(page).await;
            times.push(begun.elapsed());
            assert_eq!(read.body["items"].as_array().map(Vec::len), Some(PAGE), "{}", read.body);
        }
    }
    let [without, with] = times.map(|mut times| {
        times.sort();
        at(&times, 50)
    });
    let share = 100.0 * without.as_secs_f64() / with.as_secs_f64();
    let measured = format!("{} without, {} with: {share:.0} %", ms(without), ms(with));
    let what = format!("a page of {PAGE} messages, without files and with a photo in each question, median of {READS}");
    row(&what, "with ≥ 80 % of without", &measured);
}

/// Who sends messages, and the ids of the photos that are sent with them.
struct Person {
    client: Client,
    photos: Vec<Value>,
}

/// Everybody sends a message, with this one of their photos, and waits for its answer; gives how long that takes in all.
async fn one_round(people: &[Person], photo: Option<usize>) -> Duration {
    let begun = Instant::now();
    let sent = people.iter().map(|person| {
        let attachments: Vec<&Value> = photo.map(|photo| &person.photos[photo]).into_iter().collect();
        let body = json!({ "content": "What is this?", "attachments": attachments });
        async move { person.client.post("/chat/send", &body).await }
    });
    for reply in join_all(sent).await {
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.body["assistant_message"]["status"], "sent", "{}", reply.body);
    }
    begun.elapsed()
}

fn report(mut times: [Vec<Duration>; 2]) {
    for times in &mut times {
        times.sort();
    }
    let [without, with] = times.map(|times| at(&times, 50));
    let rate = |time: Duration| PEOPLE as f64 / time.as_secs_f64();
    let measured = format!(
        "{:.0} a second without ({}), {:.0} a second with ({}): {:.0} %",
        rate(without),
        ms(without),
        rate(with),
        ms(with),
        100.0 * rate(with) / rate(without)
    );
    let what = format!(
        "{PEOPLE} messages at once until all are answered, without a file and with a photo each, median of {ROUNDS}"
    );
    row(&what, "with ≥ 80 % of without", &measured);
}
