//! `make bench`: how fast Cura is on this machine, against an AI service with a fixed script. Prints Markdown.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has failed; its output is its result"
)]

use std::time::{Duration, Instant};

use cura_queue::{Enqueued, Job, Workers, WorkersConfig};
use cura_tests::client::text_after;
use cura_tests::provider::answer;
use cura_tests::{Client, Cura, Program, ScriptedProvider, TestDatabase, eventually};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

const TOKEN_EVERY: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() {
    println!("| what | target | measured |");
    println!("| --- | --- | --- |");
    first_token_across_processes().await;
    first_token_all_in_one().await;
    many_streams(200).await;
    many_streams(1000).await;
    enqueue_to_start().await;
    idle_worker().await;
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

fn tokens(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("token{n} ")).collect()
}

async fn provider(count: usize) -> ScriptedProvider {
    let tokens = tokens(count);
    let steps = answer(&tokens.iter().map(String::as_str).collect::<Vec<_>>(), TOKEN_EVERY);
    ScriptedProvider::start(move |_, _| steps.clone()).await
}

/// From the request to the first chunk, one stream at a time. The provider says its first token at once.
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
    let text = tokens(count).concat();
    let provider = provider(count).await;
    let mut builder = Cura::builder()
        .with("AI_MODEL_URL", provider.url())
        .with("LOG_LEVEL", "warn,cura_server=info,cura_worker=info");
    builder = builder
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1100")
        .with("DATABASE_POOL_SIZE", "10");
    let cura = builder.start().await;
    let client = cura.somebody().await;
    let begun = Instant::now();
    let runs = (0..streams).map(|n| {
        let client = client.clone();
        let text = text.clone();
        async move {
            // People do not all press the key in the same millisecond.
            tokio::time::sleep(Duration::from_millis((n % 500) as u64)).await;
            let mut stream = client.stream("Hi").await;
            let mut seen = Vec::new();
            let (mut first, mut late) = (None, Vec::new());
            while let Some(event) = stream.next().await {
                if event.name == "chunk" {
                    let now = Instant::now();
                    let first = *first.get_or_insert(now);
                    // When the token at this offset was due, had the first one been on time.
                    let offset = usize::try_from(event.data["offset"].as_u64().unwrap()).unwrap();
                    let number = text[..offset].matches(' ').count();
                    let due = first + TOKEN_EVERY * u32::try_from(number).unwrap();
                    late.push(now.saturating_duration_since(due));
                }
                seen.push(event);
            }
            let right = text_after("", &seen) == text && seen.last().is_some_and(|event| event.name == "complete");
            (right, late)
        }
    });
    let done = futures_util::future::join_all(runs).await;
    let took = begun.elapsed();
    let wrong = done.iter().filter(|(right, _)| !right).count();
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
    let measured = format!(
        "{wrong} wrong; added latency p50 {}, p95 {}, p99 {}; {:.1} s in all; peak memory server {} MiB, worker {} MiB",
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
        let enqueued = cura_queue::enqueue(&mut transaction, &Ping { id: n }, None)
            .await
            .unwrap();
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
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", cura.workers[0].pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
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
    eventually("the worker is there", async || (ticks() > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (cpu, queries) = (ticks(), transactions().await);
    tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
    let (cpu, queries) = (ticks() - cpu, transactions().await - queries);
    let measured = format!(
        "{:.2} % of a core, {:.1} queries a second",
        // A tick is 10 ms (USER_HZ is 100).
        cpu as f64 / f64::from(SECONDS),
        queries as f64 / f64::from(SECONDS),
    );
    row("an idle worker", "< 1 % of a core, ≤ 10 queries a second", &measured);
}
