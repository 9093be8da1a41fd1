//! Many connections: what they cost when nothing happens, how late they hear, and how they come back.

use std::time::{Duration, Instant};

use cura_tests::{Client, Cura};
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answers::{between, lateness, provider};
use crate::light_client::{Kind, Watching, kind_of, raise_file_limit};
use crate::measure::{at, memory, ms, row, transactions};
use crate::processor_time::of_process;

/// Connections that do nothing.
const IDLE: usize = 5000;
/// Connections that come back.
const COMING_BACK: usize = 1000;
/// Whose they are.
const PEOPLE: usize = 500;
/// Answers that are watched, each by another user.
pub const ANSWERS: usize = 200;
/// Tokens of each.
pub const TOKENS: usize = 250;
/// As fast as a fast AI service.
pub const TOKEN_EVERY: Duration = Duration::from_millis(20);
/// What is done at a time to prepare a measurement.
const AT_A_TIME: usize = 32;
/// Postgres' counters are no older than ten seconds.
const COUNTED: Duration = Duration::from_secs(12);

/// A user with a conversation.
#[derive(Clone)]
pub struct Person(pub Client, pub Value);

/// Users with a conversation each.
pub async fn people(cura: &Cura, count: usize) -> Vec<Person> {
    let anonymous = cura.client();
    let made = (0..count).map(|n| {
        let anonymous = anonymous.clone();
        async move {
            let client = anonymous.register(&format!("person{n}@example.com")).await;
            let conversation = client.post("/conversations", &json!({})).await.body["id"].clone();
            Person(client, conversation)
        }
    });
    stream::iter(made).buffer_unordered(AT_A_TIME).collect().await
}

async fn connections(kind: Kind, people: &[Person], count: usize) -> Vec<Watching> {
    let opened = (0..count).map(|n| {
        let Person(client, conversation) = &people[n % people.len()];
        Watching::open(kind, client, conversation, "")
    });
    stream::iter(opened).buffer_unordered(AT_A_TIME).collect().await
}

/// What connections on which nothing happens cost.
pub async fn idle(kind: Kind) {
    const SECONDS: u32 = 20;
    raise_file_limit();
    let cura = Cura::builder()
        .workers(0)
        .with("LOG_LEVEL", "warn,cura_bin=info")
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .start()
        .await;
    let people = people(&cura, PEOPLE).await;
    let pid = cura.servers[0].program.pid();
    // What the first ones cost, they cost once.
    drop(connections(kind, &people, 100).await);
    tokio::time::sleep(COUNTED).await;
    let before = memory(pid, "VmRSS");
    let open = connections(kind, &people, IDLE).await;
    tokio::time::sleep(COUNTED).await;
    let (used, queries) = (of_process(pid), transactions(&cura.database).await);
    tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
    let (used, queries) = (
        of_process(pid).saturating_sub(used),
        transactions(&cura.database).await - queries,
    );
    let after = memory(pid, "VmRSS");
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(files >= open.len(), "only {files} are open");
    let measured = format!(
        "{:.1} KiB each (server {} → {} MiB); {:.1} % of a core, {:.1} queries a second",
        (after - before) as f64 / open.len() as f64,
        before / 1024,
        after / 1024,
        100.0 * used.as_secs_f64() / f64::from(SECONDS),
        queries as f64 / f64::from(SECONDS),
    );
    let what = format!("{IDLE} idle {} of {PEOPLE} users, memory", kind.name());
    row(&what, "≤ 20 KiB each", &measured);
}

/// The delay of the texts of many answers at their readers.
pub async fn latency(kind: Kind) {
    let provider = provider(TOKENS, TOKEN_EVERY).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "warn,cura_bin=info")
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "300")
        .with("DATABASE_POOL_SIZE", "10")
        .start()
        .await;
    let people = people(&cura, ANSWERS).await;
    // The first answers open connections to Postgres and to the provider.
    let first = people.iter().map(|Person(client, conversation)| async move {
        let mut watching = Watching::open(kind, client, conversation, &Watching::cursor(client).await).await;
        ask(&Person(client.clone(), conversation.clone())).await;
        while kind_of(&watching.next().await) != "complete" {}
    });
    futures_util::future::join_all(first).await;
    let pids = [cura.servers[0].program.pid(), cura.workers[0].pid(), std::process::id()];
    let begun = Instant::now();
    let before = pids.map(of_process);
    let (wrong, mut late, _) = read_answers(kind, &people).await;
    let took = begun.elapsed();
    late.sort();
    let after = pids.map(of_process);
    let share = |n: usize| 100.0 * after[n].saturating_sub(before[n]).as_secs_f64() / took.as_secs_f64();
    let measured = format!(
        "{wrong} wrong; p50 {}, p95 {}, p99 {}; share of a core server {:.0} %, worker {:.0} %, clients and AI service {:.0} %",
        ms(at(&late, 50)),
        ms(at(&late, 95)),
        ms(at(&late, 99)),
        share(0),
        share(1),
        share(2),
    );
    let what = format!(
        "{ANSWERS} answers of {TOKENS} tokens, {} ms apart, on {ANSWERS} {}, added latency",
        TOKEN_EVERY.as_millis(),
        kind.name()
    );
    row(&what, "0 wrong, p99 ≤ 20 ms", &measured);
}

/// Everybody asks, within a second, and reads the answer. How many read it wrongly, how late each token was, and the
/// connections, which are still open.
pub async fn read_answers(kind: Kind, people: &[Person]) -> (usize, Vec<Duration>, Vec<Watching>) {
    let runs = people.iter().enumerate().map(|(n, person)| async move {
        let Person(client, conversation) = person;
        let mut watching = Watching::open(kind, client, conversation, &Watching::cursor(client).await).await;
        // Within a second, a fifth of what an answer lasts.
        let nth = Duration::from_secs(1) * u32::try_from(n).unwrap() / u32::try_from(people.len()).unwrap();
        tokio::time::sleep(nth).await;
        ask(person).await;
        let (mut text, mut late) = (String::new(), Vec::with_capacity(TOKENS));
        loop {
            let event = watching.next().await;
            match kind_of(&event) {
                "chunk" => {
                    let content = between(&event, "\"content\":\"", "\"");
                    late.extend(lateness(content));
                    text.push_str(content);
                }
                "complete" => {
                    let right = late.len() == TOKENS && between(&event, "\"content\":\"", "\"") == text;
                    return (right, late, watching);
                }
                _ => {}
            }
        }
    });
    let (mut wrong, mut all_late, mut open) = (0, Vec::new(), Vec::new());
    for (right, late, watching) in futures_util::future::join_all(runs).await {
        wrong += usize::from(!right);
        all_late.extend(late);
        open.push(watching);
    }
    (wrong, all_late, open)
}

/// Asks, and does not wait for the answer.
pub async fn ask(Person(client, conversation): &Person) {
    let body = json!({ "content": "Hi", "conversation_id": conversation });
    let request = client.request(Method::POST, "/chat/send").header("Prefer", "wait=0");
    let sent = client.send(request.json(&body)).await;
    assert!(sent.status.is_success(), "{}", sent.body);
}

/// Everybody comes back at once, having missed an answer.
pub async fn reconnect(kind: Kind) {
    raise_file_limit();
    let provider = provider(20, Duration::from_millis(1)).await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "warn,cura_bin=info")
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
        .with("DATABASE_POOL_SIZE", "10")
        .start()
        .await;
    let people = people(&cura, PEOPLE).await;
    let missing = people.iter().map(|Person(client, conversation)| async move {
        let cursor = Watching::cursor(client).await;
        let body = json!({ "content": "Hi", "conversation_id": conversation });
        assert_eq!(client.post("/chat/send", &body).await.status, 200);
        cursor
    });
    let cursors: Vec<String> = stream::iter(missing).buffered(AT_A_TIME).collect().await;
    // What is counted is what the server asks.
    cura.workers.clear();
    tokio::time::sleep(COUNTED).await;
    let (queries, used) = (
        transactions(&cura.database).await,
        of_process(cura.servers[0].program.pid()),
    );
    let begun = Instant::now();
    let back = (0..COMING_BACK).map(|n| {
        let (Person(client, conversation), cursor) = (&people[n % PEOPLE], &cursors[n % PEOPLE]);
        async move {
            let mut watching = Watching::open(kind, client, conversation, cursor).await;
            while kind_of(&watching.next().await) != "complete" {}
            (begun.elapsed(), watching)
        }
    });
    let (mut times, open): (Vec<Duration>, Vec<Watching>) =
        futures_util::future::join_all(back).await.into_iter().unzip();
    let took = begun.elapsed();
    let used = of_process(cura.servers[0].program.pid()).saturating_sub(used);
    tokio::time::sleep(COUNTED).await;
    let queries = transactions(&cura.database).await - queries;
    times.sort();
    let measured = format!(
        "all caught up after {}, half of them after {}; {:.1} queries each; processor time server {} ms",
        ms(took),
        ms(at(&times, 50)),
        queries as f64 / open.len() as f64,
        used.as_millis(),
    );
    let what = format!("{COMING_BACK} {} come back at once, an answer behind", kind.name());
    row(&what, "bounded queries", &measured);
}
