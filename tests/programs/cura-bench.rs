//! `make bench`: how fast Cura is on this machine, against an AI service with a fixed script. Prints Markdown.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has failed; its output is its result"
)]

use std::time::{Duration, Instant};

use cura_queue::{Enqueued, Job, Workers, WorkersConfig};
use cura_tests::provider::{self, Step, finish};
use cura_tests::{Client, Cura, Program, ScriptedProvider, TestDatabase, eventually};
use futures_util::StreamExt;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

const TOKEN_EVERY: Duration = Duration::from_millis(5);
/// How many people ask.
const PEOPLE: usize = 50;
/// How long it takes until everybody has asked.
const ALL_WITHIN: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() {
    // `cura-bench streams` runs what has `streams` in its name; without an argument, everything.
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let wants = |name: &str| name.contains(&wanted);
    println!("| what | target | measured |");
    println!("| --- | --- | --- |");
    if wants("first-token") {
        first_token_across_processes().await;
        first_token_all_in_one().await;
    }
    if wants("streams-200") {
        many_streams(200).await;
    }
    if wants("streams-1000") {
        many_streams(1000).await;
    }
    if wants("calls") {
        mixed_calls().await;
        sign_in_times().await;
    }
    if wants("queue") {
        enqueue_to_start().await;
        idle_worker().await;
    }
}

/// Processor time a process has used so far.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // A tick is 10 ms (USER_HZ is 100).
    Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
}

fn row(what: &str, target: &str, measured: &str) {
    println!("| {what} | {target} | {measured} |");
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Says `count` tokens, each of which says when it was sent.
async fn provider(count: usize) -> ScriptedProvider {
    let token = [Step::Stamp, Step::Pause(TOKEN_EVERY)];
    let mut steps = vec![Step::Head];
    steps.extend(token.iter().cycle().take(token.len() * count).cloned());
    steps.extend(finish(count));
    ScriptedProvider::start(move |_, _| steps.clone()).await
}

/// What stands between two marks of a frame, which holds nothing that JSON would escape.
fn between<'a>(frame: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = frame.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

/// How late each token of `text` is at this moment.
fn lateness(text: &str) -> impl Iterator<Item = Duration> {
    let now = provider::now();
    text.split_whitespace()
        .map(move |sent| now.saturating_sub(Duration::from_micros(sent.parse().unwrap())))
}

/// From the request to the first chunk, one stream at a time. The provider says its first token at once, and the time it
/// takes to do so is in it.
async fn first_tokens(client: &Client) -> Vec<Duration> {
    let mut all = Vec::new();
    for n in 0..220 {
        let begun = Instant::now();
        let mut stream = client.stream("Hi").await;
        stream.until("chunk").await;
        // The first ones warm caches and connections.
        if n >= 20 {
            all.push(begun.elapsed());
        }
        stream.rest().await;
    }
    all.sort();
    all
}

async fn first_token_across_processes() {
    let provider = provider(3).await;
    let cura = Cura::builder().with("AI_MODEL_URL", provider.url()).start().await;
    let all = first_tokens(&cura.somebody().await).await;
    let measured = format!("{} (p99 {})", ms(at(&all, 50)), ms(at(&all, 99)));
    row(
        "time to first token, server + worker + Redis, one stream, median",
        "≤ 10 ms",
        &measured,
    );
}

async fn first_token_all_in_one() {
    let provider = provider(3).await;
    let data = format!("/tmp/cura-bench-{}", std::process::id());
    let variables = [
        ("DATA_DIR", data.clone()),
        ("PORT", "0".to_owned()),
        ("AI_MODEL_URL", provider.url()),
        ("LOG_LEVEL", "warn".to_owned()),
        ("RATE_LIMIT_CHAT", "0".to_owned()),
        ("RATE_LIMIT_DEFAULT", "0".to_owned()),
    ];
    let mut dev = Program::start("cura-server", &["dev"], &variables);
    let base = format!("http://{}", dev.says("API      http://").await.trim());
    let client = Client::new(&base).register("bench@example.com").await;
    let all = first_tokens(&client).await;
    let measured = format!("{} (p99 {})", ms(at(&all, 50)), ms(at(&all, 99)));
    row(
        "time to first token, all in one process, one stream, median",
        "≤ 6 ms",
        &measured,
    );
    dev.signal("TERM");
    dev.ended().await;
    let _ = std::fs::remove_dir_all(data);
}

async fn many_streams(streams: usize) {
    let count = 100;
    let provider = provider(count).await;
    let mut builder = Cura::builder()
        .with("AI_MODEL_URL", provider.url())
        .with("LOG_LEVEL", "warn,cura_server=info,cura_worker=info");
    builder = builder
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1100")
        .with("DATABASE_POOL_SIZE", "10");
    let cura = builder.start().await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(cura.client().register(&format!("person{n}@example.com")).await);
    }
    // The first ones open connections to Postgres and to the provider.
    let warm = people
        .iter()
        .map(|person| async { person.stream("Hi").await.rest().await });
    futures_util::future::join_all(warm).await;
    let begun = Instant::now();
    let runs = (0..streams).map(|n| {
        let client = people[n % PEOPLE].clone();
        async move {
            // People do not all press the key in the same millisecond; within half a second, which is how long the
            // provider speaks, so that at its end all of them are being answered.
            tokio::time::sleep(ALL_WITHIN * u32::try_from(n).unwrap() / u32::try_from(streams).unwrap()).await;
            let mut stream = client.stream("Hi").await;
            let (mut text, mut late) = (String::new(), Vec::with_capacity(count));
            let mut right = false;
            while let Some(frame) = stream.next_frame().await {
                // The load shares the cores with what it measures: it reads no more than it must.
                if frame.starts_with("event: chunk") {
                    let content = between(&frame, "\"content\":\"", "\"");
                    let offset: usize = between(&frame, "\"offset\":", ",").parse().unwrap();
                    assert_eq!(offset, text.len(), "a gap or a repetition");
                    late.extend(lateness(content));
                    text.push_str(content);
                } else if frame.starts_with("event: complete") {
                    right = late.len() == count && between(&frame, "\"content\":\"", "\"") == text;
                }
            }
            (right, late)
        }
    });
    let done = futures_util::future::join_all(runs).await;
    let took = begun.elapsed();
    let wrong = done.iter().filter(|(right, _)| !right).count();
    if wrong > 0 {
        println!(
            "{} asked, {} open\n{}",
            provider.asked().len(),
            provider.open_connections(),
            cura.said()
        );
    }
    let mut late: Vec<Duration> = done.into_iter().flat_map(|(_, late)| late).collect();
    late.sort();
    let rss = |program: &Program| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap()
            .to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let used = [cura.servers[0].program.pid(), cura.workers[0].pid(), std::process::id()].map(cpu);
    let [server, worker, bench] = used.map(|used| used.as_millis());
    let measured = format!(
        "{wrong} wrong; added latency p50 {}, p95 {}, p99 {}; {:.1} s in all; peak memory server {} MiB, worker {} MiB; \
         processor time server {server} ms, worker {worker} ms, clients and AI service {bench} ms",
        ms(at(&late, 50)),
        ms(at(&late, 95)),
        ms(at(&late, 99)),
        took.as_secs_f64(),
        rss(&cura.servers[0].program),
        rss(&cura.workers[0]),
    );
    let target = if streams == 200 {
        "0 wrong, p95 ≤ 50 ms"
    } else {
        "0 wrong"
    };
    row(
        &format!("{streams} streams of {count} tokens, 5 ms apart"),
        target,
        &measured,
    );
}

/// 10,000 calls in a minute, on mixed routes, by 20 people.
async fn mixed_calls() {
    const CALLS: u32 = 10_000;
    let provider = provider(1).await;
    let cura = Cura::builder()
        .with("AI_MODEL_URL", provider.url())
        .with("LOG_LEVEL", "warn,cura_server=info,cura_worker=info")
        .with("DATABASE_POOL_SIZE", "10")
        .start()
        .await;
    let mut people = Vec::new();
    for n in 0..20 {
        let person = cura.client().register(&format!("person{n}@example.com")).await;
        let sent = person.post("/chat/send", &json!({ "content": "Hi" })).await.body;
        people.push((
            person,
            sent["conversation_id"].clone(),
            sent["assistant_message"]["id"].clone(),
        ));
    }
    let begun = Instant::now();
    let calls = (0..CALLS).map(|n| {
        let (person, conversation, message) = people[n as usize % people.len()].clone();
        async move {
            tokio::time::sleep_until((begun + Duration::from_secs(60) * n / CALLS).into()).await;
            let get = |path: String| person.request(Method::GET, &path);
            let patch = |path: String, body: serde_json::Value| person.request(Method::PATCH, &path).json(&body);
            let request = match n % 10 {
                0 | 1 => get("/users/me".to_owned()),
                2 => get("/conversations?limit=20".to_owned()),
                3 => get(format!("/conversations/{conversation}")),
                4 => get(format!("/conversations/{conversation}/messages")),
                5 => get(format!("/chat/messages/{message}")),
                6 => patch("/users/me".to_owned(), json!({ "preferences": { "n": n } })),
                7 => patch(
                    format!("/conversations/{conversation}"),
                    json!({ "title": format!("Title {n}") }),
                ),
                8 => person.request(Method::POST, "/conversations").json(&json!({})),
                _ => person
                    .request(Method::POST, "/chat/send")
                    .header("Prefer", "wait=0")
                    .json(&json!({ "content": "Hi" })),
            };
            let sent = Instant::now();
            let status = person.send(request).await.status;
            (status.is_success(), sent.elapsed())
        }
    });
    let done: Vec<_> = futures_util::stream::iter(calls)
        .buffer_unordered(10_000)
        .collect()
        .await;
    let wrong = done.iter().filter(|(right, _)| !right).count();
    let mut times: Vec<Duration> = done.into_iter().map(|(_, time)| time).collect();
    times.sort();
    let measured = format!(
        "{wrong} errors; p50 {}, p95 {}, p99 {}; {:.1} s in all",
        ms(at(&times, 50)),
        ms(at(&times, 95)),
        ms(at(&times, 99)),
        begun.elapsed().as_secs_f64()
    );
    row("10,000 calls a minute, mixed", "0 errors, p95 < 20 ms", &measured);
}

/// What a wrong password and an unknown address cost, at the default cost of a hash.
async fn sign_in_times() {
    let cura = Cura::builder()
        .workers(0)
        .with("PASSWORD_HASH_MEMORY_KIB", "19456")
        .with("PASSWORD_HASH_PASSES", "2")
        .start()
        .await;
    cura.client().register("known@example.com").await;
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..60 {
        for (email, times) in ["known@example.com", "unknown@example.com"].iter().zip(&mut times) {
            let begun = Instant::now();
            let body = json!({ "email": email, "password": format!("wrong password {n}") });
            assert_eq!(cura.client().post("/auth/login", &body).await.status, 401);
            times.push(begun.elapsed());
        }
    }
    for times in &mut times {
        times.sort();
    }
    let [known, unknown] = times.map(|times| ms(at(&times, 50)));
    row(
        "signing in with a wrong password / an unknown address, median",
        "the same",
        &format!("{known} / {unknown}"),
    );
}

#[derive(Serialize, Deserialize)]
struct Ping {
    id: u32,
}

impl Job for Ping {
    const QUEUE: &'static str = "bench-ping";
    const MAX_ATTEMPTS: u32 = 1;
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn key(&self) -> String {
        self.id.to_string()
    }
}

async fn enqueue_to_start() {
    let database = TestDatabase::create().await;
    let (started, mut starts) = mpsc::channel(16);
    let workers = Workers::builder(database.pool(), WorkersConfig::default())
        .queue(8, move |_: Ping, _| {
            let started = started.clone();
            async move {
                let _ = started.send(Instant::now()).await;
                Ok(())
            }
        })
        .start();
    let mut all = Vec::new();
    for n in 0..520 {
        let mut transaction = database.pool().begin().await.unwrap();
        let enqueued = cura_queue::enqueue(&mut transaction, &Ping { id: n }).await.unwrap();
        assert!(matches!(enqueued, Enqueued::New(_)));
        let begun = Instant::now();
        transaction.commit().await.unwrap();
        let started = starts.recv().await.unwrap();
        if n >= 20 {
            all.push(started.saturating_duration_since(begun));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    workers.shutdown(Duration::from_secs(5)).await;
    all.sort();
    let measured = format!("p50 {}, p99 {}", ms(at(&all, 50)), ms(at(&all, 99)));
    row(
        "commit → start in the worker, idle",
        "p50 ≤ 5 ms, p99 ≤ 25 ms",
        &measured,
    );
}

async fn idle_worker() {
    const SECONDS: u32 = 20;
    let cura = Cura::builder().servers(0).start().await;
    let used = || cpu(cura.workers[0].pid());
    let transactions = async || {
        let mut connection = sqlx::PgConnection::connect_with(&cura.database.pool().connect_options())
            .await
            .unwrap();
        let count: i64 = sqlx::query_scalar(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        sqlx::Connection::close(connection).await.unwrap();
        count
    };
    use sqlx::Connection as _;
    eventually("the worker is there", async || (!used().is_zero()).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, queries) = (used(), transactions().await);
    tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
    let (busy, queries) = (used() - before, transactions().await - queries);
    let measured = format!(
        "{:.2} % of a core, {:.1} queries a second",
        100.0 * busy.as_secs_f64() / f64::from(SECONDS),
        queries as f64 / f64::from(SECONDS),
    );
    row("an idle worker", "< 1 % of a core, ≤ 10 queries a second", &measured);
}
